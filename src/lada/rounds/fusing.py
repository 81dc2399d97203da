"""One offer for each public sample where several teachers have one, teacher by teacher: the best so far is all that is
held, so that memory follows the samples and not the teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lada.core.terms import Allocation, Choice, Knowledge, Lesson, Path, TokenScores, Vocabulary
from lada.fusers.base import Fuser
from lada.rounds.knowledge import Offer


@dataclass(frozen=True, slots=True)
class Won:
    """What a student learns of one teacher, in the order of its allocation; `known` are lessons that are made."""

    allocation: Allocation
    offer: Offer
    known: Sequence[Lesson] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """The best offer for a sample so far, and its place among its teacher's choices."""

    place: int
    choice: Choice
    path: Path
    scores: TokenScores | None
    known: Lesson | None


class Fusion:
    """Holds the offers of a round against each other as they come; the order in which they come does not matter.

    That is so for a fuser which takes of all paths the one that it takes of any two of them.
    """

    def __init__(self, fuser: Fuser, student: str, round: int) -> None:
        self._fuser, self._student, self._round = fuser, student, round
        self._held: dict[str, _Held] = {}
        self._words: dict[str, Vocabulary | None] = {}
        self._alike: dict[Vocabulary, Vocabulary] = {}

    def add(self, offer: Offer, allocation: Allocation, known: Sequence[Lesson] = ()) -> None:
        """Hold what was chosen of a teacher's paths against what is held. `known` are lessons on its texts.

        Raises KeyError, with nothing changed, for a choice of which the teacher offers no path.
        """
        paths, made = offer.knowledge.by_id(), {lesson.sample_id: lesson for lesson in known}
        chosen = [(place, choice) for place, choice in enumerate(allocation.choices) if choice.source == "teacher"]
        offered = [
            _Held(
                place, choice, paths[choice.sample_id], offer.scores.get(choice.sample_id), made.get(choice.sample_id)
            )
            for place, choice in chosen
        ]
        self._words[allocation.teacher] = offer.vocabulary and self._alike.setdefault(
            offer.vocabulary, offer.vocabulary
        )
        for new in offered:
            self._hold(new)

    def _hold(self, new: _Held) -> None:
        sample, held = new.path.sample_id, self._held.get(new.path.sample_id)
        proposals = {each.path.writer: each.path for each in (held, new) if each is not None}
        if self._fuser.fuse(proposals) == new.path.writer:
            self._held[sample] = new

    def won(self) -> Mapping[str, Won]:
        """Return what is learnt of each teacher that offered anything, by name, sorted; of some that is nothing."""
        of: dict[str, list[_Held]] = {teacher: [] for teacher in sorted(self._words)}
        for held in self._held.values():
            of[held.path.writer].append(held)
        return {teacher: self._won(teacher, sorted(each, key=lambda held: held.place)) for teacher, each in of.items()}

    def _won(self, teacher: str, held: Sequence[_Held]) -> Won:
        return Won(
            Allocation(teacher, self._student, self._round, tuple(each.choice for each in held)),
            Offer(
                Knowledge(teacher, self._round, tuple(each.path for each in held)),
                {each.path.sample_id: each.scores for each in held if each.scores is not None},
                self._words[teacher],
            ),
            [each.known for each in held if each.known is not None],
        )
