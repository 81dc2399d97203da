"""Where the contrast of a pair starts, in the student's own tokens (`Needs.start`)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lada.core.needs import Start
from lada.core.plural import counted
from lada.core.terms import Lesson, Sample, TokenizedText
from lada.rounds.party import Party
from lada.tasks.steps import where_it_goes_wrong, where_they_part


def with_starts(party: Party, lessons: Sequence[Lesson], round: int) -> list[Lesson]:
    """Return lessons whose pairs start where the party's objective wants its contrast to start.

    A pair without a step that is known to be wrong starts where its paths part. A pair that the party cannot trace in
    its own tokens stays whole. A notice counts both.
    """
    start, started = party.objective.needs.start, list(lessons)
    paired = [(i, each, each.rejected) for i, each in enumerate(lessons) if each.rejected is not None]
    if start in (None, "path") or not paired:
        return started
    samples = {sample.id: sample for sample in party.task.public}
    traced = party.learner.tokenize([text for _, lesson, other in paired for text in (lesson.chosen, other)])
    whole = unknown = 0
    for (i, lesson, other), chosen, rejected in zip(paired, traced[::2], traced[1::2], strict=True):
        if chosen is None or rejected is None:
            whole += 1
            continue
        first, second = where_they_part(lesson.chosen, other)
        wrong = _wrong(party, samples.get(lesson.sample_id), other) if start == "wrong_step" else None
        unknown += wrong is None
        started[i] = replace(
            lesson,
            chosen_start=_token(chosen, lesson.chosen[:first]),
            rejected_start=_token(rejected, other[: max(second, wrong or 0)]),
        )
    _count(party, start, round, len(paired), whole, unknown)
    return started


def _wrong(party: Party, sample: Sample | None, text: str) -> int | None:
    """Return the character at which a path first goes wrong, if the task can tell for its sample."""
    if party.task.steps is None or sample is None or sample.answer is None or sample.origin is not None:
        return None
    return where_it_goes_wrong(text, party.task.steps(sample, text))


def _token(text: TokenizedText, before: str) -> int:
    """Return the first token that goes beyond the beginning `before` of its text."""
    return int(np.searchsorted(text.offsets[:, 1], len(before.encode()), side="right"))


def _count(party: Party, start: Start | None, round: int, pairs: int, whole: int, unknown: int) -> None:
    told: list[str] = []
    if whole:
        told.append(f"{whole} as a whole, since their tokens cannot be traced")
    if unknown and start == "wrong_step":
        told.append(f"{unknown} from the first step that differs, since no step is known to be wrong")
    if told:
        notice = f"round {round}: of {counted(pairs, 'pair')}, {party.name} contrasts {' and '.join(told)}"
        party.note(notices=(notice,))
