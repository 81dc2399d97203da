"""The contract of a hook: what becomes of the gradients within a study, and of the weights after it?"""

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
    """A rule, pure over explicit state. A party may have several, which are asked in turn."""

    steers: bool = False
    """Whether it changes gradients; then it is refused beside dp, whose account is of other ones, and beside
    `model.parallel`."""

    def gradients(self, state: State, gradients: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what the gradients of a step become, by the names of the weights, before they are clipped.

        They are of all micro-batches together. The tensors that it is given stay as they are.
        """
        return gradients

    def after_study(self, state: State, before: Arrays, after: Arrays) -> tuple[State, Arrays]:
        """Return the next state and the weights to go on with, given those before and after a study, float32."""
        return state, after


HOOKS: Registry[Hook] = Registry("hook", "lada.hooks", tags=("weights",))
