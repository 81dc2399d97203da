"""Rows of a growing report, compared with a slow and obvious one that builds the tuple again for each row."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lada.core.results import AllocationRecord, PartyReport, PhaseTime, StudyRecord
from lada.rounds.noted import Noted

NAMES, SMALL = st.sampled_from("abc"), st.integers(0, 2)
ALLOCATIONS = st.builds(
    AllocationRecord,
    teacher=NAMES,
    student=NAMES,
    round=SMALL,
    candidates=SMALL,
    chosen=SMALL,
    from_teacher=SMALL,
    right=st.none(),
    agreement=st.just(1.0),
    diagnostics=st.just({}),
)
STUDIES = st.builds(
    StudyRecord,
    party=NAMES,
    round=SMALL,
    phase=NAMES,
    **dict.fromkeys(("steps", "lessons", "pairs", "replayed", "tokens"), SMALL),
    first_loss=st.just(0.0),
    last_loss=st.just(0.0),
)
PHASES = st.builds(PhaseTime, party=NAMES, round=SMALL, phase=NAMES, start=st.just(0.0), seconds=st.just(0.0))
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "notices": st.lists(NAMES, max_size=3).map(tuple),
        "allocations": st.lists(ALLOCATIONS, max_size=2).map(tuple),
        "studies": st.lists(STUDIES, max_size=2).map(tuple),
        "phases": st.lists(PHASES, max_size=2).map(tuple),
    },
)


def alike(field: str, a: Any, b: Any) -> bool:
    """Return whether two rows of a field speak of the same."""
    if field == "notices":
        return a == b
    names = {"allocations": ("teacher", "student", "round"), "studies": ("party", "round", "phase")}
    return all(getattr(a, name) == getattr(b, name) for name in names.get(field, ("party", "round", "phase")))


@given(st.lists(st.tuples(RECORDS, st.booleans()), max_size=6))
def test_all_rows_the_fresh_ones_and_what_is_there_already(steps: list[tuple[dict[str, tuple[Any, ...]], bool]]):
    noted, slow, handed = Noted(), PartyReport(), PartyReport()
    for records, hands_on in steps:
        for field, rows in records.items():
            for row in rows:
                assert noted.has(field, row) == any(alike(field, row, other) for other in getattr(slow, field))
        noted.add(records)
        slow = slow.model_copy(update={name: (*getattr(slow, name), *rows) for name, rows in records.items()})
        assert noted.report() == slow
        assert noted.report() is noted.report()
        if hands_on:
            fresh = {name: getattr(slow, name)[len(getattr(handed, name)) :] for name in PartyReport.model_fields}
            assert noted.fresh() == PartyReport().model_copy(update=fresh)
            handed = slow
