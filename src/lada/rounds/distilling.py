"""A party studies what others offer, with a share of replay, so that it does not forget what it knows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lada.core.seeds import generator
from lada.core.terms import Allocation, Knowledge, Lesson
from lada.models.objective import lesson_on
from lada.rounds.judging import own_lessons, with_teachers_view
from lada.rounds.knowledge import Offer
from lada.rounds.lessons import ReplaySource, make_lessons, with_replay
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.soft import with_soft_targets
from lada.rounds.starts import with_starts
from lada.rounds.steps import gold_lessons, part_of, study

MOST_TRIED = 0.99
"""Maximum share of a study's budget for trials, so that at least one step remains."""


def lessons_of(
    party: Party, allocation: Allocation, offer: Offer, mine: Knowledge, known: Sequence[Lesson] = ()
) -> list[Lesson]:
    """Return the lessons from a party's choice of an offer, with soft targets if its objective needs them.

    Lessons on its own texts follow, if its objective asks for a teacher's scores of these. `known` are lessons on texts
    of the offer that already have their soft targets.
    """
    samples = {sample.id: sample for sample in party.task.public}
    lessons = make_lessons(allocation, samples, offer.knowledge.by_id(), mine.by_id(), party.objective)
    lessons = with_teachers_view(party, with_starts(party, lessons, offer.knowledge.round), offer)
    made = {(each.sample_id, each.chosen): each for each in known}
    rest = iter(
        with_soft_targets(party, [each for each in lessons if (each.sample_id, each.chosen) not in made], offer)
    )
    taught = [
        replace(each, soft=found.soft, chunks=found.chunks)
        if (found := made.get((each.sample_id, each.chosen)))
        else next(rest)
        for each in lessons
    ]
    return taught + own_lessons(party, allocation, offer, mine)


def and_labels(party: Party, lessons: list[Lesson]) -> list[Lesson]:
    """Return the lessons, followed by the gold texts of the public samples that are not among them.

    With labels as knowledge, these are the first term of a loss (L2 and L3 of FedMKT's paper). The lessons' soft
    targets are the second term.
    """
    chosen = {lesson.sample_id for lesson in lessons}
    return lessons + [rest for rest in gold_lessons(party, party.task.public) if rest.sample_id not in chosen]


def distil(
    party: Party, round: int, lessons: Sequence[Lesson], own: Knowledge, *, replay: Replay, teachers: str
) -> None:
    """Let a party study what `teachers` offer, with its replay. A notice reports if there is nothing.

    Earlier trials count towards the study.
    """
    rest, party.tried = part_of(party.studies.distil, min(party.tried, MOST_TRIED), 1.0), 0.0
    if not lessons:
        party.note(notices=(f"round {round}: {party.name} found nothing to learn from {teachers}",))
        if not replay.alone:
            return
    lessons, count = replayed(party, lessons, own, replay, round)
    if lessons:
        study(
            party,
            lessons,
            party.objective,
            rest,
            round=round,
            phase="distil",
            replayed=count,
            watch=party.allocator.needs.lesson_losses,
        )


def replayed(
    party: Party, lessons: Sequence[Lesson], own: Knowledge, replay: Replay, round: int
) -> tuple[list[Lesson], int]:
    """Return lessons followed by the party's replayed ones, and the number of the latter."""
    pools = [
        ReplaySource(gold_lessons(party, party.private), replay.private),
        ReplaySource(_trusted(party, own, {lesson.sample_id for lesson in lessons}), replay.paths),
        ReplaySource(gold_lessons(party, party.task.replay), replay.general),
    ]
    rng = generator(party.seed, round, "replay", party.name)
    return with_replay(lessons, pools, rng, least=replay.least, alone=replay.alone)


def _trusted(party: Party, own: Knowledge, taught: set[str]) -> list[Lesson]:
    """Return a party's own right paths, without those `taught`; if verdicts are unknown, the more confident half."""
    samples = {sample.id: sample for sample in party.task.public}
    middle = float(np.median([path.likelihood.mean for path in own.paths])) if own.paths else 0.0
    return [
        lesson_on(samples[path.sample_id], path)
        for path in own.paths
        if path.sample_id not in taught
        and path.answer is not None
        and (path.likelihood.mean > middle if path.right is None else path.right)
    ]
