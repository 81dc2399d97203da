"""A client teaches itself: with the gold rationale in view, it scores the answers that it gave without (SDFT).

The student samples an answer to the plain question. The teacher has the same weights, those before the study, and sees
the gold rationale as a demonstration too. Its likeliest tokens at each position of that answer are the soft targets.
Since the texts are the model's own, a study moves it less far from what it knows than gold texts would. Nothing of this
leaves the client.
"""

from collections.abc import Sequence

import numpy as np

from lada.core.plural import counted, plural
from lada.core.seeds import seed_of
from lada.core.terms import Lesson
from lada.models.base import Answer, Progress
from lada.models.objective import Objective
from lada.objectives.base import OBJECTIVES
from lada.rounds.options import SelfContext
from lada.rounds.party import Party
from lada.rounds.steps import answer_once, gold_lessons, sft

BEFORE_STUDY = ANSWER, SCORE = "-answer", "-score"
"""The phases before a study in which a client teaches itself: suffixes of that study's."""


def private_study(party: Party, round: int, phase: str) -> tuple[list[Lesson], Objective]:
    """Return the lessons of a client's study `phase` of its private samples, and the objective.

    By default, these are gold texts and plain fine-tuning. A client that teaches itself studies its own answers, and
    with a weight below 1 also the gold texts. Answers that are empty or cannot be scored are left out and counted.
    """
    gold, options = gold_lessons(party, party.private), party.self_context
    if options is None or not gold:
        return gold, sft()
    own = _taught(party, gold, _answers(party, gold, options, round, phase), options, round, phase)
    if lost := len(gold) - len(own):
        instead = "" if own else "; it studies the gold texts instead"
        party.note(
            notices=(
                f"round {round}: {lost} of {counted(len(gold), 'answer')} of {party.name} to private questions "
                f"{plural(lost, 'is', 'are')} left out, since {plural(lost, 'it is', 'they are')} empty or cannot be "
                f"scored{instead}",
            )
        )
    if not own:
        return gold, sft()
    labels = 1 - options.weight
    given = {"estimator": "jsd", "k": options.k, "beta": options.beta, "label_weight": labels}
    return own + gold if labels else own, OBJECTIVES.make("on_policy", given)


def _answers(party: Party, gold: Sequence[Lesson], options: SelfContext, round: int, phase: str) -> list[Answer]:
    """Return an answer to each private question alone, sampled."""
    purpose, questions = f"{phase}{ANSWER}", [lesson.question for lesson in gold]
    seed = seed_of(party.seed, round, purpose, party.name)

    def write(progress: Progress) -> list[list[Answer]]:
        found = party.learner.answer(questions, seed=seed, temperature=options.temperature, progress=progress)
        return [[answer] for answer in found]

    found = answer_once(party, round, purpose, write, given=[questions, seed, options.temperature])
    return [answer for (answer,) in found]


def _taught(
    party: Party,
    gold: Sequence[Lesson],
    answers: Sequence[Answer],
    options: SelfContext,
    round: int,
    phase: str,
) -> list[Lesson]:
    """Return lessons on the party's answers, with its scores of them after a look at the gold texts."""
    written = [(lesson, answer) for lesson, answer in zip(gold, answers, strict=True) if answer.text]
    pairs = [(options.shown(lesson.question, lesson.chosen), answer.text) for lesson, answer in written]
    k = min(options.k, len(party.learner.vocabulary().tokens))
    with party.phase(round, f"{phase}{SCORE}") as progress:
        scores = party.learner.log_probs(pairs, k, progress=progress)
    return [
        Lesson(lesson.sample_id, lesson.question, answer.text, soft=told.top, chosen_cut=answer.cut, own=True)
        for (lesson, answer), told in zip(written, scores, strict=True)
        if told is not None and np.isfinite(told.top.log_probs).all()
    ]
