"""LaDa's learnability-aware filter: explore–exploit choice of the samples a learner gains from.

One filter serves one (teacher, student) pair in one direction. Round by round it

1. turns last round's choice into rewards, now that the student's new answers are known;
2. trains Exploit (features -> reward) and Explore (Exploit's inner state -> what Exploit missed) on a bounded replay
   and on what a plain rule, the prior, says of this round's samples;
3. scores every sample, `score = Exploit(x) + explore_weight · Explore(x)`, keeps scores above the threshold and
   spreads the choice over clusters of questions.

Source: arXiv 2602.18749 (filter, clustering in round 1, score, threshold 0.5), with the networks of arXiv 2110.03177
and 2506.17252. Features, prior and the rewards `correctness` and `probe_drop` are ours; the paper's form is
`reward: paper, prior: false, gold: false`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.clusters import centres_of, cluster, nearest, spread
from lada.allocators.features import features, prior_reward, solved
from lada.allocators.memory import keys_of, places
from lada.allocators.networks import block_means, fit, gradients, hidden_state, new_network, predict
from lada.allocators.rewards import correctness_reward, paper_reward, probe_reward
from lada.allocators.selection import Budgeted, allocate, from_teacher
from lada.core.bounds import Samples
from lada.core.errors import InputError
from lada.core.needs import Needs, needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb
from lada.evaluation.ranking import auc

ACQUAINTANCE = ("samples", "clusters", "probe", "centres")
"""What of the state is known of every sample ever seen: its key, cluster and whether it is a probe; the centres."""


class LadaOptions(Budgeted):
    """Options of LaDa's filter."""

    reward: Literal["correctness", "probe_drop", "paper"] = "correctness"
    """What a choice was worth: newly solved questions, the drop of loss on probes, or the paper's sums of exp(loss)."""
    gold: bool = True
    """Read the gold answers of public samples: never choose a path known to be wrong, reward what is truly solved.
    Without, or where there is none, the answer of the surer party stands in for the gold one."""
    prior: bool = True
    """Learn from a rule beside the rewards, in every round: the teacher is right where the student is not; without gold
    answers, its loss is the lower."""
    threshold: float = Field(0.5, ge=-1e6, le=1e6, allow_inf_nan=False)
    """Samples with a score above it may be taken."""
    explore_weight: float = Field(0.1, ge=0, le=1000)
    """Weight of Explore's prediction beside Exploit's; the paper has 1."""
    explore_input: Literal["hidden", "gradient"] = "hidden"
    """What Explore sees of Exploit: its hidden layer (arXiv 2506.17252) or its gradient (arXiv 2110.03177)."""
    clusters: int = Field(8, ge=1, le=65_536)
    """Clusters of questions that the choice is spread over."""
    hidden: int = Field(100, ge=1, le=65_536)
    """Width of both networks' hidden layer."""
    epochs: int = Field(200, ge=1, le=1_000_000)
    """Full-batch steps that each network is trained for, per round."""
    learning_rate: float = Field(0.01, gt=0, le=1)
    """Learning rate of both networks."""
    replay: Samples = 4000
    """Most recent rewards that the networks are trained on; the prior's are of this round and come on top."""
    probe_share: float = Field(0.1, gt=0, lt=1)
    """Share of the samples held out as the probes of `probe_drop`."""


def _needs(options: LadaOptions) -> Needs:
    """Return what the filter needs: the prior and one reward are of whose own path is right, the others of losses."""
    sure = {Verb.ANSWER, Verb.CONFIDENCE}
    own_paths = options.prior or options.reward == "correctness"
    return needs(sure, {*sure, Verb.JUDGE, Verb.EMBED}, own_paths=own_paths)


@ALLOCATORS.register(
    "lada",
    options=LadaOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=_needs,
    by_order="k-means begins with places that are drawn, and so do ties",
)
class Lada(Pluggable):
    """Explore–exploit filter of the samples that this student gains from, learnt from what it gained before."""

    def __init__(self, options: LadaOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state; the networks are made in the first round, when the features are known."""
        return {"seed": np.array(seed)}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply. Raises InputError for the state of a run that an earlier version began."""
        if "clusters" in state and "centres" not in state:
            raise InputError(
                "allocator lada: an earlier version began this run, whose state knows samples by their places alone; "
                "go on with that version, or begin the run anew"
            )
        options = self.options
        at_hand = keys_of(candidates.samples)
        state = {**state, **self._acquainted(state, candidates, at_hand)}
        rows = places(state["samples"], at_hand)
        clusters, probe = state["clusters"][rows], state["probe"][rows]
        x = features(candidates, clusters, options.clusters, gold=options.gold)
        history = self._remember(state, candidates, at_hand, x)
        taught = self._with_prior(history, candidates, x)
        score = np.full(len(x), options.threshold)
        diagnostics: dict[str, float] = {"history": float(len(history.rewards))}
        networks: State = {}
        if len(taught.rewards):
            networks, score = self._score(state, taught, x)
            diagnostics |= _diagnose(candidates, score)
        allowed = ~probe
        if options.gold:
            allowed &= np.array([path.right is not False for path in candidates.teacher_paths], dtype=bool)
        # Without any reward yet (the paper's round 1) every sample may be taken: the clusters alone decide.
        keep = allowed & (score > options.threshold) if len(taught.rewards) else allowed
        tie = generator(candidates.seed, "ties").permutation(len(x))
        ranked = [int(i) for i in np.lexsort((tie, -score)) if keep[i]]
        chosen = spread(ranked, clusters, options.limit(len(candidates.samples)))
        reasons = {i: self._reason(len(taught.rewards), int(clusters[i])) for i in chosen}
        allocation = allocate(candidates, chosen, from_teacher(chosen), score, reasons)
        return (
            {
                **{name: state[name] for name in ("seed", *ACQUAINTANCE) if name in state},
                "history.features": history.features,
                "history.rewards": history.rewards,
                **networks,
                **self._pending(candidates, at_hand, x, chosen),
                **_previous(state),
            },
            allocation,
            diagnostics,
        )

    def _acquainted(self, state: State, candidates: Candidates, at_hand: np.ndarray) -> State:
        """Return what is known of all samples ever seen, those `at_hand` (keys, int64 [n]) among them.

        The first that are seen are clustered and, for `probe_drop`, some of them held out. One that is seen later
        belongs to the cluster with the nearest centre, so that it does not matter which others are there.
        """
        if not len(state.get("samples", ())):
            return self._begin(candidates, at_hand, int(state["seed"]))
        new = places(state["samples"], at_hand) < 0
        if not new.any():
            return {}
        return {
            "samples": np.concatenate([state["samples"], at_hand[new]]),
            "clusters": np.concatenate([state["clusters"], nearest(candidates.embed()[new], state["centres"])]),
            "probe": np.concatenate([state["probe"], np.zeros(int(new.sum()), bool)]),
        }

    def _begin(self, candidates: Candidates, at_hand: np.ndarray, seed: int) -> State:
        count, vectors = len(at_hand), candidates.embed()
        probe = np.zeros(count, dtype=bool)
        if self.options.reward == "probe_drop":
            held_out = generator(seed, "probe").permutation(count)[: round(self.options.probe_share * count)]
            probe[held_out] = True
        clusters = cluster(vectors, self.options.clusters, seed)
        return {"samples": at_hand, "clusters": clusters, "probe": probe, "centres": centres_of(vectors, clusters)}

    def _remember(self, state: State, candidates: Candidates, at_hand: np.ndarray, x: np.ndarray) -> "History":
        """Return the replay with the rewards of last round's choice, as far as it is at hand."""
        history = History(
            state.get("history.features", np.zeros((0, x.shape[1]), np.float32)),
            state.get("history.rewards", np.zeros(0)),
        )
        if len(state.get("pending.samples", ())):
            history = self._reward(history, state, candidates, at_hand)
        return history.last(self.options.replay)

    def _with_prior(self, history: "History", candidates: Candidates, x: np.ndarray) -> "History":
        """Return what the prior says of this round's samples, followed by the history.

        Of this round's, in every round: a pair of which nothing was worth choosing at first would else never see what
        a gain looks like, and stay blind to it.
        """
        if not self.options.prior:
            return history
        return History(x, prior_reward(candidates, gold=self.options.gold)).add(history.features, history.rewards)

    def _reward(self, history: "History", state: State, candidates: Candidates, at_hand: np.ndarray) -> "History":
        """Return the history with the rewards of last round's choice; what is not at hand any more has none."""
        if self.options.reward == "paper":
            if "previous.losses" not in state:
                return history
            # S of two selections needs two of them: the paper's reward is known one round later than the others.
            reward = paper_reward(state["previous.losses"], state["pending.losses"])
            return history.add(state["previous.features"], np.full(len(state["previous.features"]), reward))
        now = places(at_hand, state["pending.samples"])
        kept = now >= 0
        before, chosen = state["pending.features"][kept], now[kept]
        if self.options.reward == "correctness":
            solved_now = solved(candidates, gold=self.options.gold)[chosen]
            return history.add(before, correctness_reward(state["pending.solved"][kept], solved_now))
        rows, earlier = places(state["samples"], at_hand), places(state["seen.samples"], at_hand)
        probe = state["probe"][rows] & (earlier >= 0)
        losses = state["seen.losses"][earlier], student_losses(candidates)
        return history.add(before, probe_reward(*losses, probe, state["clusters"][rows], chosen))

    def _pending(self, candidates: Candidates, at_hand: np.ndarray, x: np.ndarray, chosen: list[int]) -> State:
        losses = student_losses(candidates)
        return {
            "pending.samples": at_hand[chosen],
            "pending.features": x[chosen],
            "pending.solved": solved(candidates, gold=self.options.gold)[chosen],
            "pending.losses": losses[chosen],
            "seen.samples": at_hand,
            "seen.losses": losses,
        }

    def _score(self, state: State, taught: "History", x: np.ndarray) -> tuple[State, np.ndarray]:
        """Train both networks on what is `taught`, from where they were, and score the samples `x` [n, d]."""
        options, seed = self.options, int(state["seed"])
        exploit = _part(state, "exploit") or new_network(x.shape[1], options.hidden, seed, "exploit")
        exploit = fit(
            exploit, taught.features, taught.rewards, epochs=options.epochs, learning_rate=options.learning_rate
        )

        def inner(rows: np.ndarray) -> np.ndarray:
            if options.explore_input == "hidden":
                return block_means(hidden_state(exploit, rows), 5)
            return block_means(gradients(exploit, rows), 50)

        seen = inner(taught.features)
        explore = _part(state, "explore") or new_network(seen.shape[1], options.hidden, seed, "explore")
        missed = taught.rewards - predict(exploit, taught.features)
        explore = fit(explore, seen, missed, epochs=options.epochs, learning_rate=options.learning_rate)
        score = predict(exploit, x) + options.explore_weight * predict(explore, inner(x))
        networks = {f"exploit.{k}": v for k, v in exploit.items()} | {f"explore.{k}": v for k, v in explore.items()}
        return networks, score.astype(np.float64)

    def _reason(self, taught: int, number: int) -> str:
        return f"expected gain, cluster {number}" if taught else f"first round, cluster {number}"


@dataclass(frozen=True, slots=True)
class History:
    """Replay of what was studied: features [m, d] and the reward of each [m]."""

    features: np.ndarray
    rewards: np.ndarray

    def add(self, features: np.ndarray, rewards: np.ndarray) -> "History":
        """Return the history with more rows at its end."""
        return History(np.concatenate([self.features, features]), np.concatenate([self.rewards, rewards]))

    def last(self, count: int) -> "History":
        """Return the `count` most recent rows."""
        return History(self.features[-count:], self.rewards[-count:])


def student_losses(candidates: Candidates) -> np.ndarray:
    """Return the student's mean token loss on each teacher's path [n], nats."""
    return np.array([-likelihood.mean for likelihood in candidates.student_on_teacher])


def _part(state: State, prefix: str) -> State:
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}


def _previous(state: State) -> State:
    """Return last round's choice, which the paper's reward compares with this one's."""
    if "pending.samples" not in state:
        return {}
    return {f"previous.{name}": state[f"pending.{name}"] for name in ("features", "losses")}


def _diagnose(candidates: Candidates, score: np.ndarray) -> dict[str, float]:
    """Return how well the score separates right from wrong teachers' paths, where gold answers are known."""
    known = np.array([path.right is not None for path in candidates.teacher_paths], dtype=bool)
    right = np.array([bool(path.right) for path in candidates.teacher_paths], dtype=bool)
    area = auc(score[known], right[known])
    return {} if area is None else {"auc_teacher_right": round(area, 4)}
