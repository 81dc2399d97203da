"""Adaptive sample scheduling (SamS, arXiv 2506.17252), once per round.

SamS schedules the pairs of DPO within each training batch. An exploration–exploitation scheduler scores them, half are
drawn and trained on, and the next batch shows what that was worth. Here a pair is the teacher's path (chosen) and the
student's own (rejected). With the student's margin m = mean log-prob of the former - mean log-prob of the latter,

    batch reward    R = mean σ(m) now - mean σ(m) before
    sample reward   s = (mm(m) + 1 - mm(log-prob of the chosen path)) / 2, mm: scaled to 0..1 over the batch, before
    reward          y = γ σ(R) + (1 - γ) σ(s)
    Exploit         f1(x) -> y;     Explore   f2(inner state of f1) -> y - f1(x), f1(x) as it was when the pair was seen
    score           f1(x) + 0.1 f2;     half are drawn without replacement by softmax(score)

Rewards, stored targets, training on all pairs (drawn or not), the weight 0.1 and the draw follow the authors' code
(hzx122/SamS, read). An allocator is asked once per round, so we changed the following:

- A batch is a round, so the scheduler learns once per round instead of once per step. R compares the same questions
  before and after. The code compares two batches and multiplies the small difference by 50; ours needs no such factor.
- There is no reference model of DPO. Margins are the student's alone, per token (as in SimPO).
- The context x is the student's embedding of the question, with both log-probs as probabilities. In the code it is the
  hidden states of both answers.
- The networks have one hidden layer, as in EE-Net (arXiv 2110.03177). In the code they have 16 layers of 4,096.

The code applies the sigmoid to s twice; the formula does so once.
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
"""Number of Exploit's hidden units per mean that Explore sees, as in the authors' code."""
SEEN = ("samples", "context", "inner", "said", "worth", "margins")
"""What is kept of a round's pairs until the next round reveals their reward: sample keys, both networks' inputs, f1, s
and m."""


class SamsOptions(Drawn):
    """Options of SamS. Without `budget`, half of the candidates are drawn."""

    batch_weight: float = Field(0.5, ge=0, le=1)
    """γ: share of the batch reward in a pair's reward. The pair's own reward has the rest."""
    explore_weight: float = Field(0.1, ge=0, le=1000)
    """Weight of Explore's prediction relative to Exploit's."""
    hidden: int = Field(100, ge=1, le=65_536)
    """Width of both networks' hidden layer."""
    epochs: int = Field(10, ge=1, le=1_000_000)
    """Full-batch training steps of each network per round."""
    learning_rate: float = Field(0.01, gt=0, le=1)
    """Learning rate of both networks."""
    replay: Samples = 4000
    """Number of most recent pairs that both networks train on."""


@ALLOCATORS.register(
    "sams",
    options=SamsOptions,
    paper="arXiv 2506.17252",
    status="our reading",
    needs=needs({Verb.ANSWER}, {Verb.ANSWER, Verb.CONFIDENCE, Verb.JUDGE, Verb.EMBED}, own_paths=True),
    by_order="places are drawn, not ids",
    tags=("labels", "feature", "feedback", "self-knowledge", "reinforcement", "ranking"),
)
class Sams(Pluggable):
    """Pairs drawn by an exploration–exploitation scheduler, which learns from how margins change between rounds.

    A path without an answer is drawn like any other, since the paper has no such case.
    """

    def __init__(self, options: SamsOptions) -> None:
        self.options = options

    def init(self, seed: int) -> State:
        """Return the state before round 1. The networks are made once the width of the context is known."""
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
        """Return Exploit and Explore as they were after the last round, or new ones."""
        hidden, seed = self.options.hidden, int(state["seed"])
        inputs = {"exploit": width, "explore": -(-hidden // BLOCK)}
        return {
            name: {key: state[f"{name}.{key}"] for key in ("w1", "b1", "w2", "b2")}
            if f"{name}.w1" in state
            else new_network(count, hidden, seed, name)
            for name, count in inputs.items()
        }

    def _pool(self, state: State, at_hand: np.ndarray, margins: np.ndarray, width: int) -> tuple[State, float]:
        """Return the pool, extended by last round's pairs with questions that are available again, and their reward."""
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
    """Return the scheduler's input for each pair, float32 [n, width + 2]: the question and both probabilities.

    Probabilities are exp of mean token log-probs. An unknown one counts as 0.
    """
    likely = np.nan_to_num(np.exp(np.stack(log_probs, axis=1)))
    return np.concatenate([candidates.embed(), likely], axis=1).astype(np.float32)


def batch_reward(before: np.ndarray, now: np.ndarray) -> float:
    """Return the increase of the mean of σ(margin), from margins [m] to margins [m] of the same pairs."""
    return float(sigmoid(now).mean() - sigmoid(before).mean()) if len(now) else 0.0


def sample_rewards(margins: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return s of each pair [n]. It is high for a large margin and for an improbable chosen path."""
    return (_scaled(margins) + 1 - _scaled(chosen)) / 2


def reward(batch: float, samples: np.ndarray, weight: float) -> np.ndarray:
    """Return y of each pair [n] from the batch's reward and each pair's own; `weight` is γ."""
    return weight * sigmoid(np.array(batch)) + (1 - weight) * sigmoid(samples)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values scaled to 0..1; all 0.5 if they are equal."""
    if not len(values) or values.max() == values.min():
        return np.full(len(values), 0.5)
    return (values - values.min()) / (values.max() - values.min())
