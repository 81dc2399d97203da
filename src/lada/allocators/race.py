"""A filter that tests what a student learns from, in a race of two copies of it.

One filter serves one (teacher, student) pair in one direction. In each round it

1. takes as candidates the samples from which a plain rule expects a gain: the teacher is right and the student is not;
2. lets the student study all of them for a while, and makes two copies of it (Explore). The candidates have an order,
   and each copy studies one end of it. In the next lap, they are ordered by how much likelier one copy finds them than
   the other, so paths that support each other stay together;
3. examines both copies on held-out candidates. The reward of a copy is the share that it answers as the teacher does;
4. continues with the better copy and the candidates with the largest difference in likelihood in its favour (Exploit),
   or with all candidates if the rewards do not differ by more than chance.

Everything that either copy studied is part of the budget of the round's study. The student's own likelihood of a path
does not replace a trial: it may prefer what the student can already write.

Source: arXiv 2602.18749 for a filter for each pair and direction that explores and exploits rewards from what was
learnt. The race of two copies is ours; the paper's own form, in our reading, is `lada_paper`. Until 30 November 2026,
this was the allocator `lada`.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.exploit import chance, first_component
from lada.allocators.features import promising
from lada.allocators.selection import Budgeted, allocate, from_teacher
from lada.core.needs import Needs, needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb

DECIDED, ALIKE = 0.01, 0.5
"""A race ends where copies that learnt equally much would differ so much at most this often, or more often than that;
the candidates of the better copy are preferred in the first case alone."""
FEWEST = 10
"""Candidates that a copy studies at least, and questions of an examination: fewer tell nothing."""
MOST_TRIED = 0.9
"""The most of a study's budget that its trials may take."""


class RaceOptions(Budgeted):
    """Options of the race."""

    gold: bool = True
    """Read the gold answers of public samples: a candidate is a right path for a question that the student gets wrong.
    Without gold answers, a candidate is a path of a trusted teacher with another answer than the student's."""
    vouch: float = Field(0.8, ge=0, le=1)
    """For samples without gold answers. A teacher that agrees with more than this share of the student's most confident
    paths (a tenth of all) is trusted on all samples. 1: no teacher is, and FedMKT's rule applies."""
    laps: int = Field(10, ge=0, le=256)
    """Maximum number of laps of the race; it may end from the middle on. 0: there is no race, and the student studies
    all candidates."""
    warm_up: float = Field(0.15, ge=0, le=0.5)
    """Share of the study's budget for a first study of all candidates, from which both copies start."""
    lap: float = Field(0.03, gt=0, le=0.5)
    """Share of the study's budget that each copy spends in a lap."""
    ends: float = Field(0.33, gt=0, le=0.5)
    """Share of the candidates that a copy studies: those with the largest difference in likelihood in its favour."""
    probes: int = Field(200, ge=1, le=100_000)
    """Maximum number of questions of an examination. They are candidates that no trial studies."""
    keep: float = Field(0.4, gt=0, le=1)
    """Share of the candidates that is kept if the race is decided: those with the largest difference in likelihood in
    favour of the better copy."""

    @model_validator(mode="after")
    def _leaves_a_study(self) -> Self:
        if self.tries > MOST_TRIED:
            raise ValueError(
                f"warm_up + 2 · laps · lap is {self.tries:g} of the study's budget; expected {MOST_TRIED:g} at most, "
                "so that something is left to study what was chosen"
            )
        return self

    @property
    def tries(self) -> float:
        """Return the most of a study's budget that trials take, 0..1."""
        return self.warm_up + 2 * self.laps * self.lap if self.laps else 0.0


def needs_of(options: RaceOptions) -> Needs:
    """Return what the filter needs with these options."""
    sure = {Verb.ANSWER, Verb.CONFIDENCE}
    trying = {Verb.READ, Verb.STUDY, Verb.JUDGE} if options.laps else set()
    return needs(sure, {*sure, *trying}, own_paths=True, tries=options.tries)


class Learnability(Pluggable):
    """Filter of the samples that a student learns from, by what copies of it learnt from others like them."""

    def __init__(self, options: RaceOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state: nothing is kept between rounds, since a student that has learnt is another one."""
        return {}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply."""
        options = self.options
        pool = np.flatnonzero(promising(candidates, gold=options.gold, vouch=options.vouch))
        score = np.zeros(len(candidates.samples))
        kept = generator(candidates.seed, "ties").permutation(pool)
        reason, diagnostics = "the teacher is taken to be right, the student is not", {}
        probes = self._probes(candidates, pool)
        asked = {candidates.samples[i].question for i in probes}
        studied = np.array([candidates.samples[i].question not in asked for i in pool], dtype=bool)
        enough = min(len(probes), round(options.ends * int(studied.sum()))) >= FEWEST
        if options.laps and enough and options.lap >= candidates.trials.least:
            race = self.credit(candidates, self._race(candidates, pool, studied, probes))
            diagnostics = race.diagnostics()
            candidates.trials.keep(race.copies[race.winner])
            if race.chance <= DECIDED:
                score[pool] = race.lean * (1 if race.winner == 0 else -1)
                kept = kept[np.argsort(-score[kept], kind="stable")][: max(FEWEST, round(options.keep * len(pool)))]
                reason = "likelier to the copy of the student that learnt more"
        chosen = [int(i) for i in kept][: options.limit(len(candidates.samples))]
        allocation = allocate(candidates, chosen, from_teacher(chosen), score, dict.fromkeys(chosen, reason))
        return state, allocation, {"pool": float(len(pool)), **diagnostics}

    def credit(self, candidates: Candidates, race: "Finish") -> "Finish":
        """Return the result of the race from which the filter learns: here, unchanged."""
        return race

    def _probes(self, candidates: Candidates, pool: np.ndarray) -> np.ndarray:
        """Return half of the shorter half of the candidates `pool` [m], by their questions: they are solved first."""
        rng = generator(candidates.seed, "probes")
        pool = rng.permutation(pool)  # or of questions of one length the first ones would be taken
        lengths = np.array([len(candidates.samples[i].question) for i in pool])
        shortest = pool[np.argsort(lengths, kind="stable")][: min(2 * self.options.probes, len(pool) // 2)]
        return rng.permutation(shortest)[: len(shortest) // 2]

    def _race(self, candidates: Candidates, pool: np.ndarray, studied: np.ndarray, probes: np.ndarray) -> "Finish":
        """Let two copies of the student sort the candidates `pool` [m] among them, and examine them on `probes`.

        They study those of them that `studied` says, bool [m].
        """
        options, trials = self.options, candidates.trials
        lean = first_component(candidates.read()[pool])
        count = round(options.ends * int(studied.sum()))
        copies = (trials.study(pool[studied].tolist(), options.warm_up) if options.warm_up else None,) * 2
        passed: list[np.ndarray] = []
        for lap in range(1, options.laps + 1):
            order = pool[studied][np.argsort(lean[studied], kind="stable")].tolist()
            ends = order[-count:], order[:count]
            # Weights may be large. Those before this lap are let go of once both copies have gone on.
            copies = tuple(trials.study(end, options.lap, after) for end, after in zip(ends, copies, strict=True))
            one, other = (trials.likelihoods(copy, pool.tolist()) for copy in copies)
            with np.errstate(invalid="ignore"):  # what neither copy finds possible counts as 0
                lean = np.nan_to_num(one - other)
            if 2 * lap >= options.laps:
                passed = [trials.examine(copy, probes.tolist(), gold=options.gold) for copy in copies]
                if not DECIDED < chance(*passed) <= ALIKE:
                    break
        return Finish((copies[0], copies[1]), passed[0], passed[1], lean)


@dataclass(frozen=True, slots=True)
class Finish:
    """Two copies of a student at the end of their race."""

    copies: tuple[Any, Any]
    """The weights of both (Trials.study)."""
    one: np.ndarray
    """Which probes the first copy answers as the teacher does, bool [probes]."""
    other: np.ndarray
    """Likewise the second."""
    lean: np.ndarray
    """By how much likelier each candidate is to the first than to the second, nats per token [m]."""

    @property
    def winner(self) -> int:
        """Return which copy answered more probes as the teacher does, 0 or 1."""
        return int(self.other.sum() > self.one.sum())

    @property
    def chance(self) -> float:
        """Return how often copies that learnt equally much would differ so much, 0..1."""
        return chance(self.one, self.other)

    def diagnostics(self) -> dict[str, float]:
        """Return the share of probes that the worse and the better copy solved, and the chance of that."""
        shares = sorted((float(self.one.mean()), float(self.other.mean())))
        return {"worse copy": shares[0], "better copy": shares[1], "chance": self.chance}


@ALLOCATORS.register(
    "race",
    options=RaceOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=needs_of,
    by_order="places are drawn: probes and ties",
    tags=("labels", "feature", "feedback", "reinforcement"),
)
class Race(Learnability):
    """Filter of the samples that this student learns from, by what copies of it learnt from others like them."""
