"""Work that a resumed run does not do again: its result lies in the party's journal until the next checkpoint."""

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import TypeVar

from lada.core.results import PhaseTime
from lada.hosts.party import Party
from lada.models.base import Progress

T = TypeVar("T")
TIME = "time.json"


def once(
    party: Party,
    round: int,
    phase: str,
    do: Callable[[Progress], T],
    *,
    write: Callable[[FilePath, T], None],
    read: Callable[[FilePath], T],
) -> T:
    """Return the result of `do`, timed as a phase; what the journal holds of it is read and not done.

    `write` puts a result into an empty folder, `read` brings it back to the bit.
    """
    kept = party.journal.load(phase)
    if kept is not None:
        party.note(phases=(PhaseTime.model_validate_json((kept / TIME).read_bytes()),))
        return read(kept)
    with party.phase(round, phase) as progress:
        result = do(progress)

    def fill(folder: FilePath) -> None:
        write(folder, result)
        (folder / TIME).write_text(party.report.phases[-1].model_dump_json(), encoding="utf-8")

    party.journal.save(phase, fill)
    return result
