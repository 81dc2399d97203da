"""The replies of a phase in the server's journal, so that a resumed run does not ask again for replies that it has.

Replies are on disk and read when needed, so the server's memory does not grow with the number of clients.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lada.federation.checkpoints import files
from lada.federation.parts import Parts, to_files, write_pieces

if TYPE_CHECKING:
    from lada.federation.journal import Journal

PAYLOAD, MISSING = "payload", "missing.json"


class ReceivedReplies:
    """The entries of one phase."""

    def __init__(self, journal: Journal, phase: str) -> None:
        self._journal, self._phase = journal, phase

    def reply(self, name: str) -> Parts | None:
        """Return a client's reply; None if it is missing."""
        entry = self._journal.load(f"replies/{self._phase}/{name}")
        return Parts(entry / PAYLOAD) if entry else None

    def keep(self, name: str, payload: Mapping[str, bytes]) -> None:
        """Store a client's reply."""
        self._journal.save(f"replies/{self._phase}/{name}", files(to_files(payload, PAYLOAD)))

    def keep_pieces(self, name: str, kinds: Mapping[str, Iterable[bytes]]) -> None:
        """Store a reply whose kinds arrive in pieces."""

        def fill(folder: Path) -> None:
            write_pieces(folder / PAYLOAD, kinds)

        self._journal.save(f"replies/{self._phase}/{name}", fill)

    def missing(self, asked: Collection[str]) -> dict[str, str] | None:
        """Return the missing clients with the reasons; None while the phase is not over."""
        entry = self._journal.load(f"missing/{self._phase}")
        missing = json.loads((entry / MISSING).read_bytes()) if entry else None
        return missing if missing is not None and missing.keys() <= set(asked) else None

    def void(self) -> None:
        """Forget all replies, and that the phase is over."""
        self._journal.remove(f"replies/{self._phase}")
        self._journal.remove(f"missing/{self._phase}")

    def close(self, missing: Mapping[str, str]) -> None:
        """Record that the phase is over."""
        self._journal.save(f"missing/{self._phase}", files({MISSING: json.dumps(missing).encode()}))
