"""LaDa's learnability-aware filter: it finds out by trial what a student learns from.

One filter serves one (teacher, student) pair in one direction. In each round it

1. takes for candidates what a plain rule, the prior, expects a gain of: the teacher is right and the student is not;
2. sorts them into groups by what in each path surprises the student (Learner.read);
3. lets the student study all of them for a while, and from there each group in turn for a while more. The reward of a
   group is the share of held-out questions that the student then answers as the teacher does;
4. trains Exploit, a ridge regression of these rewards on what surprises the student, and keeps the share of the
   candidates that it scores highest; all of them, where the rewards do not differ by more than chance.

Trials are part of the budget of the study that follows. The student's own likelihood of a path cannot take their
place: it prefers what the student can say already.

Source: arXiv 2602.18749 for a filter for each pair and direction that explores and exploits rewards from what was
learned. Trials within the round, vectors, regression and prior are ours; the paper's own form, in our reading, is
`lada_paper`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.clusters import cluster
from lada.allocators.exploit import chance, components, ridge
from lada.allocators.features import promising
from lada.allocators.memory import keys_of, places
from lada.allocators.selection import Budgeted, allocate, from_teacher
from lada.core.bounds import Samples
from lada.core.needs import Needs, needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb

CHANCE = 0.05
"""Where groups that all teach the same would differ so much more often than this, no candidate is preferred."""
ENOUGH, ALIKE = 4, 0.5
"""After so many trials they end where groups that all teach the same would differ so much in half of all cases."""
FEWEST = 10
"""Candidates that a group has at least, and that there are for each group: fewer tell nothing."""
MOST_TRIED = 0.9
"""The most of a study's budget that its trials may take."""


class LadaOptions(Budgeted):
    """Options of LaDa's filter."""

    gold: bool = True
    """Read the gold answers of public samples: a candidate is a path known to be right where the student is wrong.
    Without, or where there is none, the less uncertain party is taken to be right."""
    trusting: bool = False
    """Without answers, take for candidates the half of the teacher's paths as well that it is surest of: for a teacher
    that is right on most questions. Where it is not, what it is wrong about is learnt too."""
    groups: int = Field(12, ge=0, le=256)
    """Groups of candidates that are tried at most, one trial each; fewer where there are few candidates. 0: nothing is
    tried, and all candidates are studied."""
    warm_up: float = Field(0.15, ge=0, le=0.5)
    """Share of the study's budget that goes to a first study of all candidates, from which trials begin."""
    trial: float = Field(0.03, gt=0, le=0.5)
    """Share of the study's budget that a trial takes."""
    probes: int = Field(200, ge=1, le=100_000)
    """Most questions of an examination. They are candidates, which no trial studies."""
    components: int = Field(24, ge=1, le=4096)
    """Principal components of the vectors that Exploit sees."""
    keep: float = Field(0.4, gt=0, le=1)
    """Share of the candidates that is kept, those with the highest scores."""
    replay: Samples = 4000
    """Most recent rewards of samples that Exploit is trained on."""

    @model_validator(mode="after")
    def _leaves_a_study(self) -> Self:
        if self.tries > MOST_TRIED:
            raise ValueError(
                f"warm_up + groups · trial is {self.tries:g} of the study's budget; expected {MOST_TRIED:g} at most, "
                "so that something is left to study what was chosen"
            )
        return self

    @property
    def tries(self) -> float:
        """Return the most of a study's budget that trials take."""
        return self.warm_up + self.groups * self.trial if self.groups else 0.0


def needs_of(options: LadaOptions) -> Needs:
    """Return what the filter needs with these options."""
    sure = {Verb.ANSWER, Verb.CONFIDENCE}
    trying = {Verb.READ, Verb.STUDY} if options.groups else set()
    return needs(sure, {*sure, *trying}, own_paths=True, tries=options.tries)


class Learnability(Pluggable):
    """Filter of the samples that a student learns from, by what it learnt from others like them on trial."""

    def __init__(self, options: LadaOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state: nothing was tried."""
        return {}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply."""
        options = self.options
        pool = np.flatnonzero(promising(candidates, gold=options.gold, trusting=options.trusting))
        score = np.zeros(len(candidates.samples))
        kept = generator(candidates.seed, "ties").permutation(pool)
        reason, diagnostics = "the teacher is right, the student is not", {}
        groups = min(options.groups, len(pool) // (2 * FEWEST))
        if groups >= min(2, options.groups) > 0:  # one group alone has nothing to be compared with
            vectors = components(candidates.read(), pool, options.components)
            trials = self.credit(candidates, self._try(candidates, pool, vectors, groups))
            keys = keys_of(candidates.samples)
            history = remembered(state).add(keys[trials.members], trials.rewards, trials.chance, options.replay)
            rows = places(keys, history.keys)
            if history.chance < CHANCE:
                score = ridge(vectors[rows[rows >= 0]], history.rewards[rows >= 0])(vectors)
                kept = kept[np.argsort(-score[kept], kind="stable")][: max(FEWEST, round(options.keep * len(pool)))]
                reason = "like what the student learnt from on trial"
            state, diagnostics = history.state(), trials.diagnostics()
        chosen = [int(i) for i in kept][: options.limit(len(candidates.samples))]
        allocation = allocate(candidates, chosen, from_teacher(chosen), score, dict.fromkeys(chosen, reason))
        return state, allocation, {"pool": float(len(pool)), **diagnostics}

    def credit(self, candidates: Candidates, tried: "Tried") -> "Tried":
        """Return what came of the trials as the filter learns from it: as it is."""
        return tried

    def _probes(self, candidates: Candidates, pool: np.ndarray) -> np.ndarray:
        """Return half of the candidates `pool` [m] with the shortest questions: what is solved first tells soonest."""
        rng = generator(candidates.seed, "probes")
        pool = rng.permutation(pool)  # or of questions of one length the first ones would be taken
        lengths = np.array([len(candidates.samples[i].question) for i in pool])
        shortest = pool[np.argsort(lengths, kind="stable")][: min(2 * self.options.probes, len(pool) // 2)]
        return rng.permutation(shortest)[: len(shortest) // 2]

    def _try(self, candidates: Candidates, pool: np.ndarray, vectors: np.ndarray, groups: int) -> "Tried":
        """Let the student try so many groups of the candidates `pool` [m], told apart by their vectors [n, d]."""
        options, trials = self.options, candidates.trials
        probes = self._probes(candidates, pool)
        studied = np.setdiff1d(pool, probes)
        numbers = cluster(vectors[studied], groups, candidates.seed)
        if options.warm_up:
            trials.warm_up(studied.tolist(), options.warm_up)
        found = Tried([], [], len(probes))
        for number in np.unique(numbers):
            members = studied[numbers == number]
            if len(members) >= FEWEST:
                passed = trials.trial(members.tolist(), options.trial, probes.tolist(), gold=options.gold)
                found.groups.append(members)
                found.passed.append(float(passed.mean()))
            if len(found.passed) >= ENOUGH and found.chance > ALIKE:
                break
        return found


@dataclass(frozen=True, slots=True)
class Tried:
    """What groups of candidates, by their positions, taught on trial: the share of probes that were then solved."""

    groups: list[np.ndarray]
    passed: list[float]
    probes: int
    """How many there were."""

    @property
    def chance(self) -> float:
        """Return how likely groups that all teach the same would differ so much, 0..1."""
        return chance(self.passed, self.probes)

    @property
    def members(self) -> np.ndarray:
        """Return the positions of all that was tried, int64 [m]."""
        return np.concatenate([np.zeros(0, np.int64), *self.groups])

    @property
    def rewards(self) -> np.ndarray:
        """Return, for each of `members`, by how much its group's trial was better than the mean [m], in -1..1."""
        sizes = [len(group) for group in self.groups]
        passed = np.repeat(np.array(self.passed, np.float64), sizes)
        return passed - passed.mean() if len(passed) else passed

    def diagnostics(self) -> dict[str, float]:
        """Return how many trials there were, the least and the greatest share solved, and the chance of that."""
        if not self.passed:
            return {}
        return {
            "trials": float(len(self.passed)),
            "worst trial": min(self.passed),
            "best trial": max(self.passed),
            "chance": self.chance,
        }


@dataclass(frozen=True, slots=True)
class History:
    """What was tried in this and earlier rounds: keys of samples, int64 [m], and the reward of each [m]."""

    keys: np.ndarray
    rewards: np.ndarray
    chance: float
    """The least of the rounds' (Tried.chance)."""

    def add(self, keys: np.ndarray, rewards: np.ndarray, chance: float, most: int) -> "History":
        """Return the history with a round's trials at its end, the `most` recent of it."""
        keys, rewards = np.concatenate([self.keys, keys]), np.concatenate([self.rewards, rewards])
        return History(keys[-most:], rewards[-most:], min(self.chance, chance))

    def state(self) -> State:
        """Return it as a state."""
        chance = np.array(self.chance)
        return {"history.keys": self.keys, "history.rewards": self.rewards, "history.chance": chance}


def remembered(state: State) -> History:
    """Return the history that a state holds, which is empty before the first trial."""
    return History(
        state.get("history.keys", np.zeros(0, np.int64)),
        state.get("history.rewards", np.zeros(0)),
        float(state.get("history.chance", 1.0)),
    )


@ALLOCATORS.register(
    "lada",
    options=LadaOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=needs_of,
    by_order="places are drawn: where k-means begins, probes and ties",
)
class Lada(Learnability):
    """Filter of the samples that this student learns from, by what it learnt from others like them on trial."""
