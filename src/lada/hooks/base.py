"""The contract of a hook: how it changes gradients within a study, and weights after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lada.core.needs import State
from lada.core.registry import Pluggable, Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Arrays = Mapping[str, "np.ndarray"]


class Hook(Pluggable):
    """A pure rule with explicit state. A party may have several, which are applied in order."""

    steers: bool = False
    """Whether it changes gradients. If so, it is refused together with dp, which accounts for unchanged gradients, and
    together with `model.parallel`."""

    def gradients(self, state: State, gradients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the changed gradients of a step, by the names of the weights, before they are clipped.

        The gradients sum over all micro-batches. The given tensors are not modified.
        """
        return gradients

    def after_study(self, state: State, before: Arrays, after: Arrays) -> tuple[State, Arrays]:
        """Return the next state and the weights to continue with, given the weights before and after a study,
        float32."""
        return state, after


HOOKS: Registry[Hook] = Registry("hook", "lada.hooks", tags=("weights",))
