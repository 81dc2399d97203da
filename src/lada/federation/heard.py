"""What the server heard in a phase, in its journal: so a resumed run asks nobody again for what it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lada.federation.checkpoints import files
from lada.federation.parts import from_files, to_files

if TYPE_CHECKING:
    from lada.federation.journal import Journal


class Heard:
    """What the server's journal holds of one phase: replies, and, when it is over, who was missing."""

    def __init__(self, journal: Journal | None, phase: str) -> None:
        self._journal, self._phase = journal, phase

    def reply(self, name: str) -> dict[str, bytes] | None:
        """Return a client's reply; None where it is not there."""
        entry = self._journal and self._journal.load(f"replies/{self._phase}/{name}")
        return from_files(entry / "payload") if entry else None

    def keep(self, name: str, payload: Mapping[str, bytes]) -> None:
        """Write a client's reply down."""
        if self._journal:
            self._journal.save(f"replies/{self._phase}/{name}", files(to_files(payload, "payload")))

    def missing(self) -> dict[str, str] | None:
        """Return who was missing and why; None while the phase is not over."""
        entry = self._journal and self._journal.load(f"missing/{self._phase}")
        return json.loads((entry / "missing.json").read_bytes()) if entry else None

    def close(self, missing: Mapping[str, str]) -> None:
        """Write down that the phase is over."""
        if self._journal:
            self._journal.save(f"missing/{self._phase}", files({"missing.json": json.dumps(missing).encode()}))
