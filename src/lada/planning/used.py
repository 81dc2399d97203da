"""Compares the memory that the parties of a finished run used with the plan of its configuration."""

from dataclasses import dataclass
from pathlib import Path

from lada.core.errors import InputError
from lada.core.results import Results
from lada.planning.compose import plan, plan_without_data
from lada.planning.fit import RESIDENT


@dataclass(frozen=True, slots=True)
class Used:
    """One party's memory, bytes: `expected` for model and process, None if unknown; `used`, 0 if not measured.

    `phase` is the one with the peak.
    """

    party: str
    device: str
    expected: int | None
    used: int
    phase: str


def compare(folder: Path) -> tuple[Used, ...]:
    """Return the memory of each party of the run in a folder. Raises InputError for a folder without readable results.

    The expectation is for this machine, with assumed lengths if the data cannot be found from the working directory.
    """
    try:
        results = Results.model_validate_json((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"run: {str(folder)!r} has no readable results.json ({type(error).__name__}); expected the folder of a run"
        ) from None
    try:
        planned = plan(results.config)
    except InputError:  # paths of data may start at an unknown folder
        planned = plan_without_data(results.config)
    rows = []
    for party in planned.parties:
        phases = [phase for phase in results.wall_clock.phases if phase.party == party.name]
        most = max(phases, key=lambda phase: phase.peak_memory, default=None)
        rows.append(
            Used(
                party.name,
                party.device,
                None if party.memory is None else party.memory.peak + (RESIDENT if party.device == "cpu" else 0),
                most.peak_memory if most else 0,
                most.phase if most else "",
            )
        )
    return tuple(rows)
