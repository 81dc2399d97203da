"""Work that is done only once: by a resumed run, and by runs that do the same."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any, TypeVar

from lada.core.results import PhaseTime
from lada.models.base import Progress
from lada.rounds.party import Party, round_to_ms

T = TypeVar("T")
TIME, NOTICES = "time.json", "notices.json"
"""Files of a journal entry: its time and duration, and its notices."""


def cached_phase(
    party: Party,
    round: int,
    phase: str,
    do: Callable[[Progress], T],
    *,
    write: Callable[[FilePath, T], None],
    read: Callable[[FilePath], T],
    given: Any = None,
) -> T:
    """Return the result of `do`, timed as a phase. A result in the journal is read instead of computed.

    `write` stores a result in an empty folder; `read` restores it bit-for-bit. `given` is everything that the result
    depends on besides the learner, as JSON data. With it, a result is shared with other runs through `party.common`; an
    event `taken` reports a reused one. Without it, the result is this run's alone.
    """
    kept = party.journal.load(phase)
    if kept is not None:
        party.note(notices=_notices(kept), phases=(_time(kept),))
        return read(kept)
    common = None if given is None else party.common
    key = _key(party, round, phase, given) if common else None
    found = common.load(key) if common and key else None
    said = len(party.noted.rows["notices"])
    if found is None:
        with party.phase(round, phase) as progress:
            result = do(progress)
    else:
        time = _time(found).model_copy(update={"start": round_to_ms(party.clock())})
        party.note(notices=_notices(found), phases=(time,))
        result = read(found)

    notices = party.noted.rows["notices"][said:]

    def fill(folder: FilePath) -> None:
        write(folder, result)
        (folder / TIME).write_text(party.noted.rows["phases"][-1].model_dump_json(), encoding="utf-8")
        if notices:
            (folder / NOTICES).write_text(json.dumps(notices), encoding="utf-8")

    party.journal.save(phase, fill)
    if found is not None:
        seconds = party.noted.rows["phases"][-1].seconds
        party.emit({"kind": "taken", "party": party.name, "round": round, "phase": phase, "seconds": seconds})
    elif common and key:
        common.save(key, fill)
    return result


def _time(folder: FilePath) -> PhaseTime:
    return PhaseTime.model_validate_json((folder / TIME).read_bytes())


def _notices(folder: FilePath) -> tuple[str, ...]:
    file = folder / NOTICES
    return tuple(json.loads(file.read_bytes())) if file.exists() else ()


def _key(party: Party, round: int, phase: str, given: Any) -> str | None:
    """Return a key that is equal for the same work; None if it is unknown whether two learners are the same."""
    learner = party.learner.digest()
    if learner is None:
        return None
    return hashlib.sha256(json.dumps([party.name, round, phase, learner, given]).encode()).hexdigest()
