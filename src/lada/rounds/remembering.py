"""Paths of earlier rounds with their teacher's likelihoods, as further paths of a question.

An objective that compares more than two paths (Needs.alternatives) gets the newest that a party and its teacher wrote
before. Nothing more is sent for that. Their likelihoods are those that the teacher gave when the paths were new.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from lada.core.terms import Alternative, Lesson
from lada.rounds.party import Party

EARLIER = "earlier paths of"
"""Prefix of the keys in a party's memory; the teacher's name follows."""


def with_alternatives(party: Party, lessons: Sequence[Lesson], teacher: str) -> list[Lesson]:
    """Return lessons whose pairs have earlier paths too, where their teacher's likelihoods are known.

    The party then remembers the paths of these pairs for the rounds to come.
    """
    most, key = party.objective.needs.alternatives, f"{EARLIER} {teacher}"
    if not most:
        return list(lessons)
    kept: dict[str, list[Alternative]] = {
        id: [Alternative(*each) for each in paths] for id, paths in json.loads(party.memory.get(key, b"{}")).items()
    }
    told: list[Lesson] = []
    for lesson in lessons:
        pair = _pair(lesson)
        earlier = kept.get(lesson.sample_id, [])
        new = [each for each in earlier if each.text not in {side.text for side in pair}]
        told.append(replace(lesson, alternatives=tuple(new[:most])) if pair else lesson)
        if pair:
            kept[lesson.sample_id] = [*pair, *new][: most + 2]  # two of them may be written again
    party.memory[key] = json.dumps(kept).encode()
    return told


def _pair(lesson: Lesson) -> list[Alternative]:
    """Return both paths of a lesson with the teacher's log-probs; nothing if it is no pair, or these are unknown."""
    if lesson.rejected is None or lesson.teacher_chosen is None or lesson.teacher_rejected is None:
        return []
    return [Alternative(lesson.chosen, lesson.teacher_chosen), Alternative(lesson.rejected, lesson.teacher_rejected)]
