"""The filter of LaDa's paper, as far as it is known, run as it is meant: over five rounds, with a budget.

One filter serves one (teacher, student) pair in one direction. It reads no gold answer. Behind each part stands how
well it is known: *reported* (a second-hand reading of arXiv 2602.18749), *SamS* (read in the public code of arXiv
2506.17252, by the same authors), or *ours* (a choice that we had to make).

1. While there is no reward, the choice is spread over clusters of the questions: reported of round 1. Of round 2, in
   which `reward: rounds` has none either: ours.
2. A sample is kept whose score, Exploit(x) + Explore(x), is above 0.5: reported. A `budget`, of half: SamS. `choose:
   softmax` draws that many by the softmax of the scores, without a threshold: SamS.
3. Where fewer than `floor` score above the threshold, those that Explore rates highest fill up: ours. Without it a
   first reward below 0.5 would end all choosing, and so all learning, for ever.
4. `reward: rounds`, known from round 3 on. S = Σ exp(loss) over a choice is compared between rounds: reported. The
   sigmoid of the relative drop, mean token losses, each choice under the weights of its own round, and one reward for
   all of the earlier choice: ours.
5. `reward: batches`, known from round 2 on: `γ σ(drop) + (1 − γ) σ(term)`. `drop` is the relative drop of the mean loss
   from one training batch to the next. `term` is the sample's own: half the margin between the teacher's path and the
   student's, half how unlikely the teacher's is, each scaled to 0..1: SamS. Margins per token and without a reference,
   scaled over the candidates of a round, losses of the chosen text alone in the place of the contrast, and the mean
   over all batches that a lesson was in: ours. Left out of SamS: it takes 50 drop + 0.5, may average drops with earlier
   ones, and puts the term through two sigmoids.
6. Exploit learns the reward, and Explore `reward − Exploit(x)`: reported. Of Exploit as it was when x was chosen, from
   its hidden layer then, in means of blocks, both stored with the choice: SamS.
7. About 10 epochs a round over the history: reported. One hidden layer (EE-Net, arXiv 2110.03177), full batches, the
   learning rate and a bounded history: ours. Output layers begin at 0.5 and 0, so that an untrained filter says of
   every sample what a choice without effect is worth: ours, in the place of SamS's networks that are trained before.
8. `context: states`: what the model makes of a sample in its hidden states, scaled to one length: SamS. Of the question
   alone, as the student saw it first: ours. `context: numbers`: ours.
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
"""Hidden units of Exploit that Explore sees the mean of."""
NOTHING_GAINED = 0.5
"""The reward of a choice without effect."""
EXPLORED = "explored"
"""Why a sample is taken that does not score above the threshold."""


class LadaPaperOptions(Budgeted):
    """Options of the paper's filter. The defaults are the paper's where these are known."""

    budget: int | float | None = 0.5
    """At most a number of samples (400), or a share of the candidates above 0 and below 1. Without a limit, null, every
    sample is taken until there is a reward."""
    reward: Literal["rounds", "batches"] = "rounds"
    """What a choice was worth: sums of exp(loss) between rounds, or mean losses between the batches of a study with a
    term for each sample."""
    gamma: Share = 0.5
    """Weight of the batches beside the sample's own term; of `batches` only."""
    context: Literal["states", "numbers"] = "states"
    """What Exploit sees of a sample: the question in the student's hidden states, or numbers: how sure both are of
    the two paths, whether they agree, whose loss is the lower, and the cluster."""
    choose: Literal["threshold", "softmax"] = "threshold"
    """The best above the threshold up to the budget, or a draw of the whole budget by the softmax of the scores."""
    threshold: float = Field(default=NOTHING_GAINED, ge=-1e6, le=1e6, allow_inf_nan=False)
    """Samples with a score above it may be taken; of `threshold` only."""
    floor: float = Field(default=0.1, gt=0, le=1)
    """Least share of the candidates that is taken, within the budget: what is missing are those that Explore rates
    highest; of `threshold` only."""
    explore_weight: float = Field(default=1.0, ge=0, le=1000)
    """Weight of Explore's prediction beside Exploit's; SamS has 0.01 to 0.1."""
    clusters: int = Field(default=8, ge=1, le=65_536)
    """Clusters of questions that the choice is spread over while there is no reward."""
    hidden: int = Field(default=100, ge=1, le=65_536)
    """Width of both networks' hidden layer."""
    epochs: int = Field(default=10, ge=1, le=1_000_000)
    """Full-batch steps that each network is trained for, per round."""
    learning_rate: float = Field(default=0.01, gt=0, le=1)
    """Learning rate of both networks."""
    replay: Samples = 4000
    """Most recent rewards that the networks are trained on."""


def _needs(options: LadaPaperOptions) -> Needs:
    """Return what the filter needs: how sure the writers are of their own paths only where that is looked at."""
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
)
class LadaPaper(Pluggable):
    """The filter of LaDa's paper: explore and exploit by rewards alone, no rule and no answer beside them."""

    def __init__(self, options: LadaPaperOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the empty state; the networks are made in the first round, when the width of x is known."""
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
        """Return the clusters of all samples ever seen; one seen later has the cluster with the nearest centre."""
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
        """Return what Exploit sees of each sample, float32 [n, d]; of states the mean square of a row is 1."""
        if self.options.context == "numbers":
            return features(candidates, clusters, self.options.clusters)
        vectors = candidates.embed().astype(np.float64)
        size = np.sqrt(np.square(vectors).mean(1, keepdims=True))
        return (vectors / np.maximum(size, 1e-12)).astype(np.float32)

    def _networks(self, state: State, x: np.ndarray) -> tuple[Weights, Weights]:
        """Return Exploit and Explore as they are; at first Exploit says of all that nothing is gained, Explore 0."""
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
        """Return what has its reward by now; None where that is nothing."""
        if "pending.keys" not in state:
            return None
        pending = _of("pending", state, Pending)
        if self.options.reward == "rounds":
            # S of two choices needs two of them, so that this reward is known one round later than the other.
            if "previous.keys" not in state:
                return None
            previous = _of("previous", state, Pending)
            with np.errstate(over="ignore"):  # a sum that is infinite is not known, so that nothing is gained by it
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
        """Return both networks after this round's training; what Explore learns is stored, not computed anew."""
        epochs, rate = self.options.epochs, self.options.learning_rate
        return (
            fit(exploit, history.x, history.reward, epochs=epochs, learning_rate=rate),
            fit(explore, history.inner, history.missed, epochs=epochs, learning_rate=rate),
        )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Arrays whose rows belong together, as entries of a state."""

    def named(self, prefix: str) -> State:
        """Return the arrays by their names in a state."""
        return {f"{prefix}.{field.name}": getattr(self, field.name) for field in fields(self)}


R = TypeVar("R", bound=_Rows)


@dataclass(frozen=True, slots=True)
class Rewarded(_Rows):
    """What the networks learn from: x [m, d], Explore's input [m, e], the reward [m] and what Exploit missed [m]."""

    x: np.ndarray
    inner: np.ndarray
    reward: np.ndarray
    missed: np.ndarray

    def add(self, more: "Rewarded") -> "Rewarded":
        """Return these rows and more at their end."""
        return Rewarded(*(np.concatenate([getattr(each, f.name) for each in (self, more)]) for f in fields(self)))

    def last(self, count: int) -> "Rewarded":
        """Return the `count` most recent rows."""
        return Rewarded(*(getattr(self, f.name)[-count:] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Pending(_Rows):
    """A choice that has no reward yet, as it was when it was made.

    The keys of its lessons [m] (`lesson_key`), the student's losses on them [m] (nats), their own terms [m], and
    Exploit's input [m, d], hidden layer in means of blocks [m, e] and prediction [m].
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
    """Return places in the order in which they are chosen, spread over their `clusters` [n], and why each is."""
    order = generator(seed, "ties").permutation(len(clusters)).tolist()
    chosen = spread(order, clusters, options.limit(len(clusters)))
    return chosen, {i: f"no reward yet, cluster {clusters[i]}" for i in chosen}


def by_scores(
    options: LadaPaperOptions, seed: int, score: np.ndarray, missed: np.ndarray
) -> tuple[list[int], dict[int, str]]:
    """Return places in the order in which they are chosen, and why each is.

    `score` [n] is the sum of both networks, `missed` [n] what Explore says by itself.
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

    A lesson of several batches has the mean over these. The last batch has no next one. A batch is what was chosen of
    it; one of replayed lessons alone is none.
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

    `p` is the student's mean token log-prob of the teacher's path, and `margin` by how much it exceeds that of its own.
    """
    p = np.array([likelihood.mean for likelihood in candidates.student_on_teacher], np.float64)
    own = np.array([path.likelihood.mean for path in candidates.student_paths], np.float64)
    with np.errstate(invalid="ignore"):  # -inf − -inf: not known
        margin = p - own
    return (_scaled(margin) + 1 - _scaled(p)) / 2


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values [n] scaled to 0..1; 0.5 for one that is not finite, or where all are the same."""
    finite = np.isfinite(values)
    if not finite.any() or not np.ptp(values[finite]):
        return np.full(len(values), 0.5)
    return np.where(finite, (values - values[finite].min()) / np.ptp(values[finite]), 0.5)
