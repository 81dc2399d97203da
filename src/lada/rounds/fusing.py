"""Selects one offer for each public sample if several teachers have one, teacher by teacher. For a fuser that compares
pairs, only the best offer so far is held, so memory grows with the samples, not with the teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lada.core.errors import InputError, of_method
from lada.core.needs import State
from lada.core.terms import Allocation, Knowledge, Lesson, Path, Selection, TokenLogProbs, TokenScores, Vocabulary
from lada.fusers.base import FUSERS, Fuser
from lada.rounds.knowledge import Offer


@dataclass(frozen=True, slots=True)
class Won:
    """What a student learns from one teacher, in the order of its allocation; `known` are lessons already made."""

    allocation: Allocation
    offer: Offer
    known: Sequence[Lesson] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    """The best offer for a sample so far, and its position among its teacher's choices."""

    place: int
    choice: Selection
    path: Path
    scores: TokenScores | None
    known: Lesson | None
    judgement: TokenScores | TokenLogProbs | None


class Fusion:
    """Compares the offers of a round. Their order does not matter."""

    def __init__(self, fuser: Fuser, state: State, student: str, round: int, own: Mapping[str, Path]) -> None:
        """`state` is the fuser's, and `own` are the student's own paths by sample."""
        self._fuser, self.state, self._student, self._round, self._own = fuser, state, student, round, own
        self._held: dict[str, dict[str, _Held]] = {}
        self._words: dict[str, Vocabulary | None] = {}
        self._alike: dict[Vocabulary, Vocabulary] = {}

    def add(self, offer: Offer, allocation: Allocation, known: Sequence[Lesson] = ()) -> None:
        """Compare the choice of a teacher's paths with the offers held so far. `known` are lessons on its texts.

        Raises KeyError, without any change, for a choice for which the teacher offers no path.
        """
        paths, made = offer.knowledge.by_id(), {lesson.sample_id: lesson for lesson in known}
        chosen = [(place, choice) for place, choice in enumerate(allocation.choices) if choice.source == "teacher"]
        offered = [
            _Held(
                place,
                choice,
                paths[choice.sample_id],
                offer.scores.get(choice.sample_id),
                made.get(choice.sample_id),
                offer.judgements.get(choice.sample_id),
            )
            for place, choice in chosen
        ]
        self._words[allocation.teacher] = offer.vocabulary and self._alike.setdefault(
            offer.vocabulary, offer.vocabulary
        )
        for new in offered:
            self._hold(new)

    def _hold(self, new: _Held) -> None:
        held = self._held.setdefault(new.path.sample_id, {})
        held[new.path.writer] = new
        if self._fuser.pairwise:
            self._held[new.path.sample_id] = self._best(new.path.sample_id)

    def _best(self, sample: str) -> dict[str, _Held]:
        """Return the offer for a sample that is learnt, by its writer; empty if there is none."""
        held = self._held[sample]
        offers = {writer: held[writer].path for writer in sorted(held)}
        name = type(self._fuser).__name__
        with of_method(FUSERS.kind, name):
            self.state, writer = self._fuser.fuse(self.state, self._student, offers, self._own.get(sample))
            if writer is not None and writer not in offers:
                raise InputError(f"fuser {name!r}: it chose a path of a party that offers none; fix the method")
        return {} if writer is None else {writer: held[writer]}

    def won(self) -> Mapping[str, Won]:
        """Return what is learnt from each teacher that made an offer, by name, sorted; possibly nothing.

        Call it once, after all offers. `state` is then the fuser's after this round.
        """
        of: dict[str, list[_Held]] = {teacher: [] for teacher in sorted(self._words)}
        for sample in sorted(self._held):
            best = self._held[sample] if self._fuser.pairwise else self._best(sample)
            for writer, held in best.items():
                of[writer].append(held)
        return {teacher: self._won(teacher, sorted(each, key=lambda held: held.place)) for teacher, each in of.items()}

    def _won(self, teacher: str, held: Sequence[_Held]) -> Won:
        return Won(
            Allocation(teacher, self._student, self._round, tuple(each.choice for each in held)),
            Offer(
                Knowledge(teacher, self._round, tuple(each.path for each in held)),
                {each.path.sample_id: each.scores for each in held if each.scores is not None},
                self._words[teacher],
                {each.path.sample_id: each.judgement for each in held if each.judgement is not None},
            ),
            [each.known for each in held if each.known is not None],
        )
