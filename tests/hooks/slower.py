"""A hook in one file outside the package: it slows studies down by what it remembers, and freezes some weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lada.core.needs import State
from lada.core.registry import Options
from lada.hooks.base import HOOKS, Arrays, Hook


@HOOKS.register("slower")
class Slower(Hook):
    """After its n-th study a party goes 1/n of the way; no A of LoRA moves at all."""

    steers = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def gradients(self, state: State, gradients: Mapping[str, Any]) -> Mapping[str, Any]:
        """See Hook.gradients."""
        return {name: each * 0 if "lora_A" in name else each for name, each in gradients.items()}

    def after_study(self, state: State, before: Arrays, after: Arrays) -> tuple[State, Arrays]:
        """See Hook.after_study. The state counts the studies."""
        count = int(state.get("studies", 0)) + 1
        return {"studies": np.array(count)}, {k: before[k] + (after[k] - before[k]) / np.float32(count) for k in after}
