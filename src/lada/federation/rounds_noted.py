"""The server's records, one file per round: each is written once, and checkpoints hold only the digests.

So the cost of a round does not depend on how many came before it.
"""

import hashlib
import json
from pathlib import Path

from lada.core.results import PartyReport
from lada.core.sealed import write
from lada.rounds.noted import Noted

DIGESTS = "noted.json"
"""In the server's checkpoint: SHA-256 of each round's file, by round."""


class RoundsNoted:
    """The files of a run."""

    def __init__(self, folder: Path, digests: bytes = b"{}") -> None:
        """`digests` are those in a checkpoint; all other files in the folder are rewritten."""
        self._folder = folder
        self._digests: dict[str, str] = json.loads(digests)

    def write(self, round: int, new: PartyReport) -> bytes:
        """Write the records of a round, and return the digests of all files."""
        data = new.model_dump_json().encode()
        write(self._folder / f"{round}.json", data)
        self._digests[str(round)] = hashlib.sha256(data).hexdigest()
        return json.dumps(self._digests).encode()

    def read(self) -> tuple[Noted, tuple[str, ...]]:
        """Return the records, and a sentence for each file that is lost or altered."""
        noted, lost = Noted(), []
        for round, digest in self._digests.items():
            file = self._folder / f"{round}.json"
            data = file.read_bytes() if file.exists() else b""
            if hashlib.sha256(data).hexdigest() != digest:
                lost.append(
                    f"what the server noted in round {round} is left out: {str(file)!r} "
                    f"{'has changed since it was written' if data else 'is gone or empty'}; restore it from a copy "
                    "and resume the run"
                )
                continue
            report = PartyReport.model_validate_json(data)
            noted.add({name: getattr(report, name) for name in PartyReport.model_fields})
        noted.fresh()
        return noted, tuple(lost)
