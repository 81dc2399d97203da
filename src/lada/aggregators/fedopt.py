"""A server optimiser on the mean change of the clients (FedOpt, Reddi et al. 2020, arXiv 2003.00295).

    g = -mean over clients of (W_k - start)             pseudo-gradient; each client counts the same, as in FLASC's code
    sgd     P ← P - lr·g
    adamw   m ← β1 m + (1 - β1) g,  v ← β2 v + (1 - β2) g²,  both divided by 1 - β^t
            P ← P - lr (λ P + m̂ / (√v̂ + ε))

P is what the clients started from. A codec that masks what the server sends keeps the numbers outside the mask itself
(lada.codecs.flasc), so λ decays only those that were sent. Without a known start the mean is the result.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lada.aggregators.base import AGGREGATORS, Aggregate, Update, Weights
from lada.aggregators.bounded import Bounded, Clipped
from lada.aggregators.bounding import Merged, bound
from lada.aggregators.coordinates import means
from lada.core.bounds import Positive
from lada.core.needs import State

STEP, FIRST, SECOND = "step", "first|", "second|"
"""Names in the state: steps so far, and the moments of each weight."""
Beta = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class FedOptOptions(Clipped):
    """Options of the server optimiser."""

    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or plain gradient descent, which is the mean at a learning rate of 1."""
    learning_rate: Positive = 1e-3
    """The server's learning rate."""
    beta1: Beta = 0.9
    """Decay of the first moment."""
    beta2: Beta = 0.999
    """Decay of the second moment."""
    epsilon: Positive = 1e-8
    """What is added to the root of the second moment."""
    weight_decay: float = Field(default=0.01, ge=0, le=1, allow_inf_nan=False)
    """λ of AdamW."""


@AGGREGATORS.register(
    "fedopt", options=FedOptOptions, paper="arXiv 2003.00295", status="our reading", level="second-hand"
)
class FedOpt(Bounded):
    """A server optimiser takes a step along the clients' mean change, which is bounded as for `mean`."""

    name = "fedopt"

    def __init__(self, options: FedOptOptions) -> None:
        super().__init__(options)
        self.options = options

    def merge(
        self, weights: Mapping[str, Weights], samples: Mapping[str, int], starts: Mapping[str, Weights]
    ) -> Merged:
        """See Bounded.merge: the plain mean, since each client counts the same."""
        share = dict.fromkeys(weights, 1 / len(weights))
        return bound(weights, starts, self.bounds, lambda clipped: means(clipped, share))

    def aggregate(self, state: State, updates: Mapping[str, Update]) -> tuple[State, Aggregate]:
        """See Aggregator.aggregate."""
        _, mean = super().aggregate(state, updates)
        start = updates[min(updates)].start
        if start is None:
            return state, mean
        after, stepped = self._step(state, start, mean.weights)
        return after, Aggregate(stepped, dict.fromkeys(mean.by_client, stepped), mean.clipped, mean.notices)

    def _step(self, state: State, start: Weights, mean: Weights) -> tuple[State, dict[str, np.ndarray]]:
        """Return the next state, and the weights after one step from `start`, float64."""
        options = self.options
        before = {name: start[name].astype(np.float64) for name in mean}
        gradients = {name: before[name] - mean[name] for name in mean}
        if options.optimiser == "sgd":
            return state, {name: before[name] - options.learning_rate * g for name, g in gradients.items()}
        step = int(state[STEP]) + 1 if STEP in state else 1
        after: dict[str, np.ndarray] = {STEP: np.array(step)}
        stepped = {}
        for name, g in gradients.items():
            zero = np.zeros_like(g)
            m = options.beta1 * state.get(FIRST + name, zero) + (1 - options.beta1) * g
            v = options.beta2 * state.get(SECOND + name, zero) + (1 - options.beta2) * g**2
            after |= {FIRST + name: m, SECOND + name: v}
            m_hat, v_hat = m / (1 - options.beta1**step), v / (1 - options.beta2**step)
            towards = options.weight_decay * before[name] + m_hat / (np.sqrt(v_hat) + options.epsilon)
            stepped[name] = before[name] - options.learning_rate * towards
        return after, stepped
