"""The result of an audit as typed records, which `lada audit --json` prints."""

from typing import Literal

from pydantic import computed_field

from lada.core.results import Membership, Record

Verdict = Literal["clean", "found", "not searched"]


class Crossing(Record):
    """All parts of one kind that one client sent or received; `samples` is None if the kind has none."""

    kind: str
    messages: int
    samples: int | None
    bytes: int


class Found(Record):
    """Text that must not have left, in one message part; fields are None if the ledger has no row of that part."""

    what: str
    """The canary's or the private text's name, never the text."""
    form: str
    layer: str
    """How the bytes that contain it were obtained."""
    kind: str | None
    round: int | None
    phase: str | None
    digest: str
    """SHA-256 of the part; empty for names that are sent with it."""


class Searched(Record):
    """The search of everything that one client sent."""

    parts: int
    bytes: int
    uncovered: int
    """Rows of the ledger without a kept part of their digest; these were not searched."""
    beside: int
    """Kept parts without a row, such as those of a late reply; they were searched too."""
    unread: int
    """Parts in an unreadable form, such as token scores without a vocabulary; only their raw bytes were searched."""
    passages: int | None
    """The number of distinctive passages of private texts that were searched for; None if the texts are not on this
    machine."""
    found: tuple[Found, ...]


class ClientAudit(Record):
    """One client."""

    name: str
    sent: tuple[Crossing, ...]
    received: tuple[Crossing, ...]
    searched: Searched | None
    """None if the client kept no copies of what it sent."""
    pooled: int = 0
    """The number of private samples that it sent according to the ledger, because its host pools them."""
    notes: tuple[str, ...]
    memberships: tuple[Membership, ...] = ()

    @computed_field
    @property
    def verdict(self) -> Verdict:
        """`clean` means that every byte in the ledger was searched for private passages and nothing was found.

        Private samples in the ledger count as found, even if no copies of their bytes were kept. A client is `not
        searched` if it kept no complete copy, or sent parts that cannot be read.
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
        """The exit code of the command: 1 if something was found, 4 if something was not searched, else 0."""
        verdicts = {client.verdict for client in self.clients}
        return 1 if "found" in verdicts else 4 if "not searched" in verdicts else 0
