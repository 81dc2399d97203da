"""Trial studies of a teacher's offer: a student studies some paths, is tested, and is restored.

Trials use plain fine-tuning, with the replay of the study that follows. Trials at the same depth share their random
numbers, so that their luck is the same.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory

import numpy as np

from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Path, Sample
from lada.models.base import Study
from lada.models.objective import lesson_on
from lada.rounds.distilling import replayed
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.restoring import restorer
from lada.rounds.steps import part_of, sft
from lada.rounds.verdicts import Verdict, verdicts


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a student on trial; see lada.allocators.base.Trials."""

    restore: Callable[[], None]
    studies: int
    """Number of studies that led to them."""


class PartyTrials:
    """The trials of one party with one teacher in one round; see lada.allocators.base.Trials.

    It is a context manager. Afterwards the party has its original weights, or those to keep, and `party.tried` includes
    all trials.
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
        keeps: bool = True,
    ) -> None:
        """`paths` are the teacher's, one per sample; `share` is this teacher's part of the round's study.

        Without `keeps` the party always gets its original weights back.
        """
        self._party, self._round, self._samples, self._paths = party, round, samples, paths
        self._own, self._replay, self._share, self._keeps = own, replay, share, keeps
        self._seed = seed_of(party.seed, round, "try", party.name)
        self._stack = ExitStack()
        self._began: Weights | None = None
        self._kept: Weights | None = None
        self._took = 0.0
        self.tokens = 0
        """Tokens that were studied on trial."""

    @property
    def least(self) -> float:
        """See Trials.least."""
        whole = self._party.studies.distil
        return 1 / (whole.steps * self._share) if _in_steps(whole) else 0.0

    def study(self, chosen: Sequence[int], share: float, after: Weights | None = None) -> Weights:
        """See Trials.study."""
        party, begin = self._party, after or self._begin()
        begin.restore()
        lessons = [lesson_on(self._samples[i], self._paths[i]) for i in chosen if self._paths[i].text]
        lessons, _ = replayed(party, lessons, self._own, self._replay, self._round)
        whole = party.studies.distil
        options = part_of(whole, 0.0, share * self._share)
        if lessons:
            seed = seed_of(self._seed, begin.studies)
            report = party.learner.study(lessons, sft(), options, seed=seed, progress=self._progress)
            self.tokens += report.tokens
        # Steps are whole numbers, so a part may be larger or smaller than requested.
        self._took += options.steps / whole.steps if _in_steps(whole) else share * self._share
        return Weights(restorer(party, self._folder), begin.studies + 1)

    def examine(self, after: Weights, probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """See Trials.examine."""
        after.restore()
        party, asked = self._party, [self._samples[i] for i in probes]
        questions = [sample.question for sample in asked]
        answers = party.learner.answer(questions, seed=self._seed, progress=self._progress)
        texts = [(sample, answer.text) for sample, answer in zip(asked, answers, strict=True)]
        passed = [self._as_taught(i, verdict) for i, verdict in zip(probes, self._judged(texts, gold), strict=True)]
        return np.array(passed, dtype=bool)

    def likelihoods(self, after: Weights, chosen: Sequence[int]) -> np.ndarray:
        """See Trials.likelihoods."""
        after.restore()
        pairs = [(self._samples[i].question, self._paths[i].text) for i in chosen]
        found = self._party.learner.judge(pairs, progress=self._progress)
        return np.array([each.mean for each in found], dtype=np.float64)

    def keep(self, after: Weights) -> None:
        """See Trials.keep."""
        self._kept = after

    def _judged(self, texts: Sequence[tuple[Sample, str]], gold: bool) -> Sequence[Verdict]:
        """Return the answers of texts, and with `gold` whether they are right, if known."""
        if gold:
            return verdicts(self._party, texts, f"round {self._round}, try")
        return [(self._party.task.extract(text), None) for _, text in texts]

    def _as_taught(self, place: int, verdict: Verdict) -> bool:
        """Return whether an answer is right or equals the teacher's."""
        (said, right), taught = verdict, self._paths[place].answer
        return said is not None and (bool(right) or (taught is not None and self._party.task.same(said, taught)))

    def _begin(self) -> Weights:
        """Return the party's original weights."""
        if self._began is None:
            party = self._party
            self._progress = self._stack.enter_context(party.phase(self._round, "try"))
            party.folder.mkdir(parents=True, exist_ok=True)
            folder = TemporaryDirectory(dir=party.folder)  # a model may be too large for the system's own place
            self._folder = FilePath(self._stack.enter_context(folder))
            self._began = Weights(restorer(party, self._folder), 0)
        return self._began

    def __enter__(self) -> "PartyTrials":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._stack:
            kept = self._kept if kind is None and self._keeps else None
            if left := kept or self._began:
                left.restore()
        if kind is None:
            self._party.tried += self._took
            if kept:
                self._party.weights_changed()


def _in_steps(study: Study) -> bool:
    """Return whether a study's budget is in steps, not in tokens or epochs."""
    return study.tokens is None and study.epochs is None
