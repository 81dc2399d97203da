"""The filter of LaDa's paper, as far as it is known. It is meant for five rounds and a budget.

One filter serves one (teacher, student) pair in one direction. It reads no gold answers. Each part says how well it is
known: *reported* (a second-hand reading of arXiv 2602.18749), *SamS* (read in the public code of arXiv 2506.17252, by
the same authors), or *ours* (a choice that we had to make).

1. Without a reward, the choice is spread over clusters of the questions. This is reported for round 1. For round 2,
   where `reward: rounds` has no reward either, it is ours.
2. A sample is kept if its score, Exploit(x) + Explore(x), is above 0.5: reported. A `budget` of one half: SamS.
   `choose: softmax` draws that many by the softmax of the scores, without a threshold: SamS.
3. If fewer than `floor` score above the threshold, those that Explore rates highest are added: ours. Otherwise a first
   reward below 0.5 would end all choosing, and so all learning, forever.
4. `reward: rounds`, known from round 3 on. S = Σ exp(loss) over a choice is compared between rounds: reported. Ours are
   the sigmoid of the relative drop, mean token losses, each choice under the weights of its own round, and one reward
   for the whole earlier choice.
5. `reward: batches`, known from round 2 on: `γ σ(drop) + (1 − γ) σ(term)`. `drop` is the relative drop of the mean loss
   from one training batch to the next. `term` is the sample's own: half the margin between the teacher's path and the
   student's, half the teacher's improbability, each scaled to 0..1: SamS. Ours are margins per token and without a
   reference, scaled over the candidates of a round, losses of the chosen text instead of the contrast, and the mean
   over all batches with the lesson. SamS also takes 50 drop + 0.5, may average drops with earlier ones, and applies two
   sigmoids to the term; we left that out.
6. Exploit learns the reward, and Explore `reward − Exploit(x)`: reported. Explore uses Exploit's prediction and hidden
   layer (in block means) from when x was chosen, both stored with the choice: SamS.
7. About 10 epochs per round over the history: reported. Ours are one hidden layer (EE-Net, arXiv 2110.03177), full
   batches, the learning rate and a bounded history. Output layers start at 0.5 and 0, so that an untrained filter gives
   every sample the value of a choice without effect: ours. SamS trains its networks beforehand instead.
8. `context: states`: the model's hidden states for a sample, scaled to one length: SamS. Ours is to use the question
   alone, as the student embedded it first. `context: numbers`: ours.
"""

from dataclasses import dataclass, fields
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State, Studied, lesson_key
from lada.allocators.clusters import centres_of, cluster, nearest, spread
from lada.allocators.features import features
from lada.allocators.memory import keys_of, places
from lada.allocators.networks import Weights, block_means, fit, hidden_state, new_network, predict
from lada.allocators.rewards import paper_reward, relative_drop, sigmoid
from lada.allocators.selection import Budgeted, allocate, from_teacher
from lada.core.bounds import Samples, Share
from lada.core.needs import Needs, needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb

BLOCK = 5
"""Number of Exploit's hidden units per mean that Explore sees."""
NOTHING_GAINED = 0.5
"""The reward of a choice without effect."""
EXPLORED = "explored"
"""The reason of a sample taken below the threshold."""


class LadaPaperOptions(Budgeted):
    """Options of the paper's filter. The defaults are the paper's, if known."""

    budget: int | float | None = 0.5
    """Maximum number of samples (400), or share of the candidates above 0 and below 1. With null, every sample is taken
    until there is a reward."""
    reward: Literal["rounds", "batches"] = "rounds"
    """The value of a choice. `rounds` compares sums of exp(loss) between rounds. `batches` compares mean losses between
    the batches of a study, with a term for each sample."""
    gamma: Share = 0.5
    """Weight of the batches relative to the sample's own term; for `batches` only."""
    context: Literal["states", "numbers"] = "states"
    """What Exploit sees of a sample. `states` is the question in the student's hidden states. `numbers` are the
    likelihoods of both paths, whether they agree, whose loss is lower, and the cluster."""
    choose: Literal["threshold", "softmax"] = "threshold"
    """Take the best above the threshold up to the budget, or draw the whole budget by the softmax of the scores."""
    threshold: float = Field(default=NOTHING_GAINED, ge=-1e6, le=1e6, allow_inf_nan=False)
    """Minimum score (exclusive) of a sample that may be taken; for `threshold` only."""
    floor: float = Field(default=0.1, gt=0, le=1)
    """Minimum share of the candidates to take, within the budget. Samples that Explore rates highest make up the
    difference; for `threshold` only."""
    explore_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of Explore's prediction relative to Exploit's. SamS uses 0.01 to 0.1."""
    clusters: int = Field(default=8, ge=1, le=65_536)
    """Number of clusters of questions over which the choice is spread without a reward."""
    hidden: int = Field(default=100, ge=1, le=65_536)
    """Width of both networks' hidden layer."""
    epochs: int = Field(default=10, ge=1, le=1_000_000)
    """Full-batch training steps of each network per round."""
    learning_rate: float = Field(default=0.01, gt=0, le=1)
    """Learning rate of both networks."""
    replay: Samples = 4000
    """Number of most recent rewards that the networks train on."""


def _needs(options: LadaPaperOptions) -> Needs:
    """Return what the filter needs. The writers' likelihoods of their own paths are needed only if they are read."""
    compares = options.reward == "batches" or options.context == "numbers"
    confident = {Verb.ANSWER, Verb.CONFIDENCE}
    return needs(
        confident if options.context == "numbers" else {Verb.ANSWER},
        {*(confident if compares else {Verb.ANSWER}), Verb.JUDGE, Verb.EMBED},
        own_paths=compares,
        lesson_losses=options.reward == "batches",
    )


@ALLOCATORS.register(
    "lada_paper",
    options=LadaPaperOptions,
    paper="arXiv 2602.18749",
    status="our reading",
    needs=_needs,
    by_order="k-means begins with places that are drawn, and so do ties",
    tags=("labels", "feature", "feedback", "reinforcement"),
)
class LadaPaper(Pluggable):
    """The filter of LaDa's paper: explore and exploit by rewards alone, without rules or answers."""

    def __init__(self, options: LadaPaperOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state. The networks are made in the first round, when the width of x is known."""
        return {"seed": np.array(seed)}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply. A round without candidates changes nothing."""
        if not candidates.samples:
            return state, allocate(candidates, (), {}, np.zeros(0), {}), {"history": float(_count(state))}
        at_hand = keys_of(candidates.samples)
        state = {**state, **self._acquainted(state, candidates, at_hand)}
        clusters = state["clusters"][places(state["samples"], at_hand)]
        x = self._context(candidates, clusters)
        exploit, explore = self._networks(state, x)
        new = self._rewarded(state, candidates.studied)
        history = _of("history", state, Rewarded) if _count(state) else None
        history = new if history is None else history if new is None else history.add(new)
        if history is not None:
            history = history.last(self.options.replay)
            exploit, explore = self._trained(exploit, explore, history)
        gains, inner = predict(exploit, x), block_means(hidden_state(exploit, x), BLOCK)
        missed = predict(explore, inner)
        score = (gains + self.options.explore_weight * missed).astype(np.float64)
        if history is None:
            chosen, reasons = by_clusters(self.options, candidates.seed, clusters)
        else:
            chosen, reasons = by_scores(self.options, candidates.seed, score, missed)
        diagnostics = {
            "history": float(0 if history is None else len(history.reward)),
            "above_threshold": float((score > self.options.threshold).sum()),
            "filled": float(list(reasons.values()).count(EXPLORED)),
        }
        if new is not None:
            diagnostics |= {"rewarded": float(len(new.reward)), "reward": round(float(new.reward.mean()), 4)}
        pending = Pending(
            keys=np.array([_key(candidates, i) for i in chosen], np.int64),
            losses=np.array([-candidates.student_on_teacher[i].mean for i in chosen]),
            terms=sample_terms(candidates)[chosen],
            x=x[chosen],
            inner=inner[chosen],
            exploit=gains[chosen].astype(np.float64),
        )
        after = {name: state[name] for name in ("seed", "samples", "clusters", "centres")}
        after |= {f"exploit.{name}": array for name, array in exploit.items()}
        after |= {f"explore.{name}": array for name, array in explore.items()}
        after |= {} if history is None else history.named("history")
        after |= {"pending.round": np.array(candidates.round), **pending.named("pending")}
        if self.options.reward == "rounds" and "pending.keys" in state:
            after |= _of("pending", state, Pending).named("previous")
        return after, allocate(candidates, chosen, from_teacher(chosen), score, reasons), diagnostics

    def _acquainted(self, state: State, candidates: Candidates, at_hand: np.ndarray) -> State:
        """Return the clusters of all samples seen so far. A later sample gets the cluster with the nearest centre."""
        if "samples" not in state:
            vectors = candidates.embed()
            clusters = cluster(vectors, self.options.clusters, int(state["seed"]))
            return {"samples": at_hand, "clusters": clusters, "centres": centres_of(vectors, clusters)}
        new = places(state["samples"], at_hand) < 0
        if not new.any():
            return {}
        found = nearest(candidates.embed()[new], state["centres"])
        return {
            "samples": np.concatenate([state["samples"], at_hand[new]]),
            "clusters": np.concatenate([state["clusters"], found]),
        }

    def _context(self, candidates: Candidates, clusters: np.ndarray) -> np.ndarray:
        """Return Exploit's input for each sample, float32 [n, d]. For states, the mean square of a row is 1."""
        if self.options.context == "numbers":
            return features(candidates, clusters, self.options.clusters)
        vectors = candidates.embed().astype(np.float64)
        size = np.sqrt(np.square(vectors).mean(1, keepdims=True))
        return (vectors / np.maximum(size, 1e-12)).astype(np.float32)

    def _networks(self, state: State, x: np.ndarray) -> tuple[Weights, Weights]:
        """Return the current Exploit and Explore. Initially Exploit predicts no gain for any sample, and Explore 0."""
        if "exploit.w1" in state:
            exploit, explore = (
                {name: state[f"{network}.{name}"] for name in ("w1", "b1", "w2", "b2")}
                for network in ("exploit", "explore")
            )
            return exploit, explore
        seed, hidden = int(state["seed"]), self.options.hidden
        inputs = {"exploit": x.shape[1], "explore": -(-hidden // BLOCK)}
        exploit, explore = (
            {**new_network(width, hidden, seed, name), "w2": np.zeros(hidden, np.float32)}
            for name, width in inputs.items()
        )
        return {**exploit, "b2": np.array(NOTHING_GAINED, np.float32)}, explore

    def _rewarded(self, state: State, studied: Studied | None) -> "Rewarded | None":
        """Return the choice whose reward is known by now; None if there is none."""
        if "pending.keys" not in state:
            return None
        pending = _of("pending", state, Pending)
        if self.options.reward == "rounds":
            # This reward compares two choices, so it is known one round later than the other.
            if "previous.keys" not in state:
                return None
            previous = _of("previous", state, Pending)
            with np.errstate(over="ignore"):  # an infinite sum is unknown, so it counts as no gain
                reward = paper_reward(previous.losses, pending.losses)
            return previous.rewarded(np.arange(len(previous.keys)), np.full(len(previous.keys), reward))
        if studied is None or studied.round != int(state["pending.round"]):
            return None
        drops = batch_rewards(studied)
        rows = np.array([row for row, key in enumerate(pending.keys.tolist()) if key in drops], np.int64)
        if not len(rows):
            return None
        by_batch = np.array([drops[key] for key in pending.keys[rows].tolist()])
        gamma = self.options.gamma
        return pending.rewarded(rows, gamma * by_batch + (1 - gamma) * sigmoid(pending.terms[rows]))

    def _trained(self, exploit: Weights, explore: Weights, history: "Rewarded") -> tuple[Weights, Weights]:
        """Return both networks after this round's training. Explore's targets are stored, not recomputed."""
        epochs, rate = self.options.epochs, self.options.learning_rate
        return (
            fit(exploit, history.x, history.reward, epochs=epochs, learning_rate=rate),
            fit(explore, history.inner, history.missed, epochs=epochs, learning_rate=rate),
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Arrays with corresponding rows, as entries of a state."""

    def named(self, prefix: str) -> State:
        """Return the arrays by their names in a state."""
        return {f"{prefix}.{field.name}": getattr(self, field.name) for field in fields(self)}


R = TypeVar("R", bound=_Rows)


@dataclass(frozen=True, slots=True)
class Rewarded(_Rows):
    """Training data of the networks: x [m, d], Explore's input [m, e], the reward [m] and Exploit's error [m]."""

    x: np.ndarray
    inner: np.ndarray
    reward: np.ndarray
    missed: np.ndarray

    def add(self, more: "Rewarded") -> "Rewarded":
        """Return these rows, followed by more."""
        return Rewarded(*(np.concatenate([getattr(each, f.name) for each in (self, more)]) for f in fields(self)))

    def last(self, count: int) -> "Rewarded":
        """Return the `count` most recent rows."""
        return Rewarded(*(getattr(self, f.name)[-count:] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Pending(_Rows):
    """A choice without a reward yet, as it was made.

    It has the keys of its lessons [m] (`lesson_key`), the student's losses on them [m] (nats), their own terms [m], and
    Exploit's input [m, d], hidden layer in block means [m, e] and prediction [m].
    """

    keys: np.ndarray
    losses: np.ndarray
    terms: np.ndarray
    x: np.ndarray
    inner: np.ndarray
    exploit: np.ndarray

    def rewarded(self, rows: np.ndarray, reward: np.ndarray) -> Rewarded:
        """Return some of the rows with the reward [len(rows)] of each."""
        return Rewarded(self.x[rows], self.inner[rows], reward, reward - self.exploit[rows])


def _of(prefix: str, state: State, kind: type[R]) -> R:
    return kind(**{field.name: state[f"{prefix}.{field.name}"] for field in fields(kind)})


def _count(state: State) -> int:
    return len(state.get("history.reward", ()))


def _key(candidates: Candidates, place: int) -> int:
    return lesson_key(candidates.samples[place].id, candidates.teacher_paths[place].text)


def by_clusters(options: LadaPaperOptions, seed: int, clusters: np.ndarray) -> tuple[list[int], dict[int, str]]:
    """Return positions in the order of choice, spread over their `clusters` [n], and the reason for each."""
    order = generator(seed, "ties").permutation(len(clusters)).tolist()
    chosen = spread(order, clusters, options.limit(len(clusters)))
    return chosen, {i: f"no reward yet, cluster {clusters[i]}" for i in chosen}


def by_scores(
    options: LadaPaperOptions, seed: int, score: np.ndarray, missed: np.ndarray
) -> tuple[list[int], dict[int, str]]:
    """Return positions in the order of choice, and the reason for each.

    `score` [n] is the sum of both networks; `missed` [n] is Explore's prediction alone.
    """
    count = len(score)
    limit = min(count, options.limit(count) or count)
    if options.choose == "softmax":
        # The largest of score + Gumbel noise are a draw without replacement by the softmax of the scores.
        noisy = score + generator(seed, "softmax").gumbel(size=count)
        chosen = np.argsort(-noisy)[:limit].tolist()
        return chosen, dict.fromkeys(chosen, "drawn by its expected reward")
    tie = generator(seed, "ties").permutation(count)
    above = [i for i in np.lexsort((tie, -score)).tolist() if score[i] > options.threshold][:limit]
    least, taken = min(limit, max(1, round(options.floor * count))), set(above)
    rest = [i for i in np.lexsort((tie, -missed)).tolist() if i not in taken]
    fill = rest[: max(0, least - len(above))]
    return above + fill, dict.fromkeys(above, "expected reward") | dict.fromkeys(fill, EXPLORED)


def batch_rewards(studied: Studied) -> dict[int, float]:
    """Return σ of the relative drop of the mean loss from a batch to the next, by the keys of the batch's lessons.

    A lesson in several batches gets their mean. The last batch has no next one. Only chosen lessons count, and batches
    of replayed lessons alone are skipped.
    """
    _, batch = np.unique(studied.steps, return_inverse=True)
    means = np.bincount(batch, studied.losses) / np.bincount(batch)
    worth = sigmoid(relative_drop(means[:-1], means[1:]))
    known = batch < len(worth)
    keys, which = np.unique(studied.keys[known], return_inverse=True)
    mean = np.bincount(which, worth[batch[known]]) / np.bincount(which)
    return dict(zip(keys.tolist(), mean.tolist(), strict=True))


def sample_terms(candidates: Candidates) -> np.ndarray:
    """Return (margin + 1 − p) / 2 for each candidate [n], both scaled to 0..1 over all of them.

    `p` is the student's mean token log-prob of the teacher's path. `margin` is how far it exceeds that of its own path.
    """
    p = np.array([likelihood.mean for likelihood in candidates.student_on_teacher], np.float64)
    own = np.array([path.likelihood.mean for path in candidates.student_paths], np.float64)
    with np.errstate(invalid="ignore"):  # -inf − -inf: not known
        margin = p - own
    return (_scaled(margin) + 1 - _scaled(p)) / 2


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values [n] scaled to 0..1; 0.5 for a non-finite value, or if all are the same."""
    finite = np.isfinite(values)
    if not finite.any() or not np.ptp(values[finite]):
        return np.full(len(values), 0.5)
    return np.where(finite, (values - values[finite].min()) / np.ptp(values[finite]), 0.5)
