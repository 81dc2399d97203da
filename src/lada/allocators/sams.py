"""Adaptive sample scheduling (SamS, arXiv 2506.17252), once a round.

SamS schedules the pairs of DPO within each training batch: an exploration–exploitation scheduler scores them, half are
drawn and trained on, and the next batch tells what that was worth. A pair is here the teacher's path, chosen, beside
the student's own, rejected. With the student's margin m = mean log-prob of the one - mean log-prob of the other,

    batch reward    R = mean σ(m) now - mean σ(m) before
    sample reward   s = (mm(m) + 1 - mm(log-prob of the chosen path)) / 2, mm: scaled to 0..1 over the batch, before
    reward          y = γ σ(R) + (1 - γ) σ(s)
    Exploit         f1(x) -> y;     Explore   f2(inner state of f1) -> y - f1(x), f1(x) as it was when the pair was seen
    score           f1(x) + 0.1 f2;     half are drawn without replacement by softmax(score)

Rewards, stored targets, the training on all pairs (drawn or not), the weight 0.1 and the draw are those of the authors'
code (hzx122/SamS, read). What is not possible in a step that is asked once a round, and what we put in its place:

- a batch is a round, so that the scheduler learns once a round and not at each step. Its R compares the same questions
  before and after; the code compares two batches, and stretches the small difference by 50, which a round's is not;
- nobody keeps the reference model of DPO: margins are the student's alone, per token (as in SimPO);
- the context x is the question as the student sees it, with both log-probs as probabilities; in the code it is the
  hidden states of both answers;
- the networks have one hidden layer, as in EE-Net (arXiv 2110.03177); in the code they have 16 layers of 4,096.

The code takes the sigmoid of s twice; the formula has one.
"""

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memory import keys_of, places
from lada.allocators.networks import Weights, block_means, fit, hidden_state, new_network, predict
from lada.allocators.rewards import sigmoid
from lada.allocators.selection import Drawn, allocate, from_teacher, top
from lada.core.bounds import Samples
from lada.core.needs import needs
from lada.core.registry import Pluggable
from lada.core.seeds import generator
from lada.core.terms import Allocation, Verb

BLOCK = 16
"""Units of Exploit's hidden layer that Explore sees the mean of, as in the authors' code."""
SEEN = ("samples", "context", "inner", "said", "worth", "margins")
"""What is kept of the pairs of a round until the next round says what they gave: keys of samples, what both networks
see, f1, s and m."""


class SamsOptions(Drawn):
    """Options of SamS; without `budget`, half of the candidates are drawn."""

    batch_weight: float = Field(0.5, ge=0, le=1)
    """The share of the batch reward in a pair's reward, γ; the pair's own has the rest."""
    explore_weight: float = Field(0.1, ge=0, le=1000)
    """Weight of Explore's prediction beside Exploit's."""
    hidden: int = Field(100, ge=1, le=65_536)
    """Width of both networks' hidden layer."""
    epochs: int = Field(10, ge=1, le=1_000_000)
    """Full-batch steps that each network is trained for, per round."""
    learning_rate: float = Field(0.01, gt=0, le=1)
    """Learning rate of both networks."""
    replay: Samples = 4000
    """Most recent pairs that both networks are trained on."""


@ALLOCATORS.register(
    "sams",
    options=SamsOptions,
    paper="arXiv 2506.17252",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.CONFIDENCE, Verb.JUDGE, Verb.EMBED}, own_paths=True),
    by_order="places are drawn, not ids",
)
class Sams(Pluggable):
    """Pairs drawn by what an exploration–exploitation scheduler expects of them, learnt from margins of round to round.

    A path without an answer is drawn like any other, since the paper has no such thing.
    """

    def __init__(self, options: SamsOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the state before round 1; the networks are made when the width of the context is known."""
        return {"seed": np.array(seed)}

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply."""
        options, at_hand = self.options, keys_of(candidates.samples)
        likely, own = both_log_probs(candidates)
        with np.errstate(invalid="ignore"):  # where both are minus infinity
            margins = likely - own
        x = context(candidates, likely, own)
        networks = self._networks(state, x.shape[1])
        pool, gained = self._pool(state, at_hand, margins, x.shape[1])
        if len(pool["rewards"]):
            steps = {"epochs": options.epochs, "learning_rate": options.learning_rate}
            networks = {
                "exploit": fit(networks["exploit"], pool["context"], pool["rewards"], **steps),
                "explore": fit(networks["explore"], pool["inner"], pool["residuals"], **steps),
            }
        said = predict(networks["exploit"], x)
        inner = block_means(hidden_state(networks["exploit"], x), BLOCK)
        scores = (said + options.explore_weight * predict(networks["explore"], inner)).astype(np.float64)
        # The largest of scores with Gumbel noise are a draw without replacement by softmax(scores).
        noisy = scores + generator(candidates.seed, "sams").gumbel(size=len(scores))
        chosen = top(noisy, options.may_take(candidates.teacher_paths), options.draws(len(scores)))
        known = np.isfinite(margins)
        seen = {
            "samples": at_hand[known],
            "context": x[known],
            "inner": inner[known],
            "said": said[known],
            "worth": sample_rewards(margins[known], likely[known]),
            "margins": margins[known],
        }
        state = {
            "seed": state["seed"],
            **{f"pool.{name}": array for name, array in pool.items()},
            **{f"seen.{name}": array for name, array in seen.items()},
            **{f"{part}.{name}": array for part, network in networks.items() for name, array in network.items()},
        }
        reasons = {i: f"drawn by its score, {scores[i]:.2f}" for i in chosen}
        return state, allocate(candidates, chosen, from_teacher(chosen), scores, reasons), {"batch_reward": gained}

    def _networks(self, state: State, width: int) -> dict[str, Weights]:
        """Return Exploit and Explore as they were after the last round, or before the first."""
        hidden, seed = self.options.hidden, int(state["seed"])
        inputs = {"exploit": width, "explore": -(-hidden // BLOCK)}
        return {
            name: {key: state[f"{name}.{key}"] for key in ("w1", "b1", "w2", "b2")}
            if f"{name}.w1" in state
            else new_network(count, hidden, seed, name)
            for name, count in inputs.items()
        }

    def _pool(self, state: State, at_hand: np.ndarray, margins: np.ndarray, width: int) -> tuple[State, float]:
        """Return the pool with the pairs of last round whose questions are at hand again, and their batch reward."""
        blocks = -(-self.options.hidden // BLOCK)
        rows = {"context": np.zeros((0, width), np.float32), "inner": np.zeros((0, blocks), np.float32)}
        seen = {name: state.get(f"seen.{name}", rows.get(name, np.zeros(0))) for name in SEEN}
        now = places(at_hand, seen["samples"])
        again = now >= 0
        again[again] = np.isfinite(margins[now[again]])
        seen = {name: array[again] for name, array in seen.items()}
        gained = batch_reward(seen["margins"], margins[now[again]])
        rewards = reward(gained, seen["worth"], self.options.batch_weight)
        new = {
            "context": seen["context"],
            "inner": seen["inner"],
            "rewards": rewards,
            "residuals": rewards - seen["said"],
        }
        kept = {name: state.get(f"pool.{name}", array[:0]) for name, array in new.items()}
        pool = {name: np.concatenate([kept[name], array])[-self.options.replay :] for name, array in new.items()}
        return pool, gained


def both_log_probs(candidates: Candidates) -> tuple[np.ndarray, np.ndarray]:
    """Return the student's mean log-prob of the teacher's path and of its own, nats a token, float64 [n] each."""
    chosen = [likelihood.mean for likelihood in candidates.student_on_teacher]
    rejected = [path.likelihood.mean for path in candidates.student_paths]
    return np.array(chosen, dtype=np.float64), np.array(rejected, dtype=np.float64)


def context(candidates: Candidates, *log_probs: np.ndarray) -> np.ndarray:
    """Return what the scheduler sees of each pair, float32 [n, width + 2]: the question, and both probabilities.

    Probabilities are exp of mean token log-probs; one that is not known counts as 0.
    """
    likely = np.nan_to_num(np.exp(np.stack(log_probs, axis=1)))
    return np.concatenate([candidates.embed(), likely], axis=1).astype(np.float32)


def batch_reward(before: np.ndarray, now: np.ndarray) -> float:
    """Return by how much the mean of σ(margin) has risen, from margins [m] to margins [m] of the same pairs."""
    return float(sigmoid(now).mean() - sigmoid(before).mean()) if len(now) else 0.0


def sample_rewards(margins: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return s of each pair [n]: high where the margin is, and where the chosen path is improbable still."""
    return (_scaled(margins) + 1 - _scaled(chosen)) / 2


def reward(batch: float, samples: np.ndarray, weight: float) -> np.ndarray:
    """Return y of each pair [n], from the batch's reward and each pair's own; `weight` is γ."""
    return weight * sigmoid(np.array(batch)) + (1 - weight) * sigmoid(samples)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values scaled to 0..1; all 0.5 where they are the same."""
    if not len(values) or values.max() == values.min():
        return np.full(len(values), 0.5)
    return (values - values.min()) / (values.max() - values.min())
