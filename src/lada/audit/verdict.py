"""What an audit says, as typed records: `lada audit --json` prints them."""

from typing import Literal

from pydantic import computed_field

from lada.core.results import Membership, Record

Verdict = Literal["clean", "found", "not searched"]


class Crossing(Record):
    """All parts of one kind that one client sent or received; `samples` None where they are of none."""

    kind: str
    messages: int
    samples: int | None
    bytes: int


class Found(Record):
    """Something that must not have left, in one message part; None where the ledger has no row of that part."""

    what: str
    """The canary's or the private text's name, never the text."""
    form: str
    layer: str
    """How the bytes were come by in which it stands."""
    kind: str | None
    round: int | None
    phase: str | None
    digest: str
    """SHA-256 of the part; empty for the names that travel beside it."""


class Searched(Record):
    """The search of all that one client sent."""

    parts: int
    bytes: int
    uncovered: int
    """Rows of the ledger without a kept part of their digest: the search says nothing of these."""
    beside: int
    """Kept parts without a row, such as those of a reply that came too late; searched as well."""
    unread: int
    """Parts in a form that cannot be read, such as token scores without a vocabulary: searched as they are alone."""
    passages: int | None
    """Distinctive passages of private texts that were searched for; None where these are not on this machine."""
    found: tuple[Found, ...]


class ClientAudit(Record):
    """One client."""

    name: str
    sent: tuple[Crossing, ...]
    received: tuple[Crossing, ...]
    searched: Searched | None
    """None where the client did not keep what it sent."""
    pooled: int = 0
    """Samples that it sent as such by the ledger's account, which are private: its host pools them."""
    notes: tuple[str, ...]
    memberships: tuple[Membership, ...] = ()

    @computed_field
    @property
    def verdict(self) -> Verdict:
        """`clean` says that every byte in the ledger was searched for private passages and nothing was found.

        Private samples in the ledger are found, whether their bytes were kept to be searched or not. `not searched` is
        whoever kept no whole copy, or sent what cannot be read.
        """
        searched = self.searched
        if self.pooled or (searched and searched.found):
            return "found"
        if searched is None or searched.uncovered or searched.unread or searched.passages is None:
            return "not searched"
        return "clean"


class Exposure(Record):
    """How exposed a planted secret is in one party's final model."""

    party: str
    secret: str
    """Its place in the file, never the text."""
    rank: float
    candidates: int
    bits: float
    """log2 candidates - log2 rank."""


class Audit(Record):
    """One run."""

    run: str
    canaries: int
    clients: tuple[ClientAudit, ...]
    exposures: tuple[Exposure, ...] = ()
    """Measurements, which do not change the verdict."""

    @computed_field
    @property
    def passed(self) -> bool:
        """Whether every byte was searched and nothing was found."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """What the command ends with: 1 where something was found, 4 where something was not searched, else 0."""
        verdicts = {client.verdict for client in self.clients}
        return 1 if "found" in verdicts else 4 if "not searched" in verdicts else 0
