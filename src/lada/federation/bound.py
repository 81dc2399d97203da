"""Binds clients' names to nodes in a deployment, and checks that a reply is the client's own.

Without a binding, as with the engines of one machine, every reply counts as the client's own.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lada.core.errors import LadaError
from lada.core.plural import counted
from lada.core.sealed import is_sealed, seal, unseal
from lada.federation.failures import Failure, Reply
from lada.federation.messages import Code, Envelope
from lada.federation.seal import Seal

LOG = logging.getLogger("lada.federation")
DROPPED = "dropped.json"
"""In the run's folder: how many replies of each client's node were dropped."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The node and key that a client's name is bound to."""

    node: int
    """Flower's id of the node with the client's key."""
    seal: Seal


class Binding:
    """The clients of a deployment by name, and how many replies of each were dropped because they were not its own."""

    def __init__(self, bound: Mapping[str, Bound]) -> None:
        self._bound = bound
        self.names = {one.node: name for name, one in bound.items()}
        """The client of each node."""
        self.dropped: Counter[str] = Counter()
        self._file: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """Continue the counts in a run's folder, and write each count there, so that none is lost if the process is
        killed.

        Raises LadaError if the file was altered; the counts then restart.
        """
        self._file = folder / DROPPED
        if self._file.exists() or is_sealed(self._file):
            try:
                self.dropped.update({str(name): int(number) for name, number in json.loads(unseal(self._file)).items()})
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise LadaError(f"{str(self._file)!r} holds no counts ({type(error).__name__})") from error

    def drop(self, name: str) -> None:
        """Count a reply of a client's node that was dropped."""
        self.dropped[name] += 1
        if self._file:
            seal(self._file, json.dumps(self.dropped, sort_keys=True).encode())

    def seal(self, name: str) -> Seal:
        """Return the seal that the server shares with a client."""
        return self._bound[name].seal

    def notices(self) -> list[str]:
        """Return a text for each client with dropped replies."""
        return [
            f"{counted(number, 'reply', 'replies')} of the node of {name} dropped: under another name, or "
            f"not sealed by {name} in answer to the question"
            for name, number in sorted(self.dropped.items())
        ]


class Sealed:
    """The messages of one ask, sealed if clients are bound."""

    def __init__(self, binding: Binding | None) -> None:
        self._binding = binding
        self._asked: dict[str, str] = {}

    def ask(self, name: str, envelope: Envelope, payload: Mapping[str, bytes]) -> Envelope:
        """Return the envelope of a message to a client."""
        if self._binding is None:
            return envelope
        sealed = self._binding.seal(name).asking(envelope, payload)
        self._asked[name] = sealed.mac or ""
        return sealed

    def fault(self, name: str, reply: Reply) -> Failure | None:
        """Return why a reply is not from the client that was asked, and count it; None if it is."""
        if self._binding is None:
            return None
        envelope, payload = reply
        if envelope.sender != name:
            why = "it gives another name than its own"
        elif not self._binding.seal(name).is_answering(envelope, payload, self._asked.get(name, "")):
            why = (
                "it is not sealed in answer to this message, so it is a replay or from another sender; check that it "
                "has the identity.pub of this federation, that its name is that of its key, and who has client.key"
            )
        else:
            return None
        self._binding.drop(name)
        LOG.warning("dropped a reply from the node of client %r: %s", name, why)
        return Failure(Code.FORGED, why)
