"""A client rehearses general questions in its private studies, so that these cost it less general skill."""

from collections.abc import Sequence

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Lesson, Sample
from lada.rounds.lessons import ReplaySource, with_replay
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons


def rehearsed(party: Party, lessons: Sequence[Lesson], round: int, phase: str) -> tuple[list[Lesson], int]:
    """Return private lessons followed by general ones, and the number of the latter.

    The general ones are a share `rehearse` of all, as far as the task has that many. Each study draws its own.
    """
    general = ReplaySource(gold_lessons(party, party.task.replay), party.rehearse)
    return with_replay(lessons, [general], generator(party.seed, round, f"rehearse/{phase}", party.name))


def check_general(rehearse: float, replay: Sequence[Sample]) -> None:
    """Raise InputError if a client shall rehearse, and the task has nothing for it."""
    if rehearse and not replay:
        raise InputError(
            f"rehearse: {rehearse:g}, but the task has no general questions; give it some (key replay of the task), or "
            "set rehearse: 0"
        )
