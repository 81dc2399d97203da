"""A student tries out what a teacher offers: it studies some paths for a while, is examined, and forgets them again.

What it tries, it studies by plain fine-tuning, with the replay of the study that follows. All trials of a round share
their random numbers, so that their luck is the same.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory

import numpy as np

from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Path, Sample
from lada.models.objective import lesson_on
from lada.rounds.distilling import replayed
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.restoring import restorer
from lada.rounds.steps import part_of, sft
from lada.rounds.verdicts import Verdict, verdicts


class PartyTrials:
    """The trials of one party with one teacher in one round; see lada.allocators.base.Trials.

    It is a context, after which the party has the weights that it had, and `party.tried` says what it took.
    """

    def __init__(
        self,
        party: Party,
        round: int,
        samples: Sequence[Sample],
        paths: Sequence[Path],
        own: Knowledge,
        replay: Replay,
        share: float,
    ) -> None:
        """`paths` are the teacher's, one per sample; `share` is the part of the round's study that this teacher has."""
        self._party, self._round, self._samples, self._paths = party, round, samples, paths
        self._own, self._replay, self._share = own, replay, share
        self._seed = seed_of(party.seed, round, "try", party.name)
        self._stack = ExitStack()
        self._began: Callable[[], None] | None = None
        self._from: Callable[[], None] | None = None
        self._took = 0.0
        self.tokens = 0
        """Tokens that were studied on trial."""

    def warm_up(self, chosen: Sequence[int], share: float) -> None:
        """See Trials.warm_up."""
        self._study(chosen, share)
        self._from = self._restorer("warm")

    def trial(self, chosen: Sequence[int], share: float, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """See Trials.trial."""
        self._study(chosen, share)
        party, asked = self._party, [self._samples[i] for i in probes]
        questions = [sample.question for sample in asked]
        answers = party.learner.answer(questions, seed=self._seed, progress=self._progress)
        texts = [(sample, answer.text) for sample, answer in zip(asked, answers, strict=True)]
        passed = [self._as_taught(i, verdict) for i, verdict in zip(probes, self._judged(texts, gold), strict=True)]
        return np.array(passed, dtype=bool)

    def _judged(self, texts: Sequence[tuple[Sample, str]], gold: bool) -> Sequence[Verdict]:
        """Return what texts answer, and with `gold` whether that is right, as far as anybody knows."""
        if gold:
            return verdicts(self._party, texts, f"round {self._round}, try")
        return [(self._party.task.extract(text), None) for _, text in texts]

    def _as_taught(self, place: int, verdict: Verdict) -> bool:
        """Return whether an answer is right or the teacher's."""
        (said, right), taught = verdict, self._paths[place].answer
        return said is not None and (bool(right) or (taught is not None and self._party.task.same(said, taught)))

    def _study(self, chosen: Sequence[int], share: float) -> None:
        """Let the party study some paths from where trials begin."""
        party = self._party
        if self._began is None:
            self._progress = self._stack.enter_context(party.phase(self._round, "try"))
            party.folder.mkdir(parents=True, exist_ok=True)
            folder = TemporaryDirectory(dir=party.folder)  # a model may be too large for the system's own place
            self._folder = FilePath(self._stack.enter_context(folder))
            self._began = self._from = self._restorer("model")
        else:
            assert self._from is not None
            self._from()
        lessons = [lesson_on(self._samples[i], self._paths[i]) for i in chosen if self._paths[i].text]
        lessons, _ = replayed(party, lessons, self._own, self._replay, self._round)
        end = share * self._share
        options = part_of(party.studies.distil, 0.0, end)
        if lessons:
            report = party.learner.study(lessons, sft(), options, seed=self._seed, progress=self._progress)
            self.tokens += report.tokens
        self._took += end

    def _restorer(self, name: str) -> Callable[[], None]:
        return restorer(self._party, self._folder / name)

    def __enter__(self) -> "PartyTrials":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._stack:
            if self._began is not None:
                self._began()
        if kind is None:
            self._party.tried += self._took
