"""Float32 masters of trained weights that compute in fewer bits (mixed precision, arXiv 1710.03740).

bfloat16 has 8 bits of precision, so an update of less than 1/512 of a weight is rounded away, and usual learning rates
update norms by less than that. Masters receive every update; the model computes with rounded copies of them.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

NARROW = (torch.bfloat16, torch.float16)


class Masters:
    """The masters of a model. From the first update on they are its parameters, except while it computes."""

    def __init__(self, model: Any) -> None:
        """Remember the current types of trained weights as the types for computing."""
        self._model = model
        self._computes = {p: p.dtype for p in model.parameters() if p.requires_grad and p.dtype in NARROW}

    def keep(self) -> None:
        """Make the masters, float32, the model's parameters; at first they are copies of the computing weights."""
        for weight in self._computes:
            weight.data = weight.data.float()

    def restore(self, values: Iterable[Tensor]) -> None:
        """Load the masters of all trained parameters, in the model's order."""
        self.keep()
        for weight, value in zip(self._trained(), values, strict=True):
            weight.data.copy_(value)

    @contextmanager
    def rounded(self) -> Iterator[None]:
        """Let the model compute: within this context, its parameters are rounded copies. Do not enter it in inference
        mode."""
        masters = {weight: weight.data for weight, dtype in self._computes.items() if weight.dtype != dtype}
        for weight, master in masters.items():
            weight.data = master.to(self._computes[weight])
        try:
            yield
        finally:
            for weight, master in masters.items():
                weight.data = master

    @contextmanager
    def training(
        self, make: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
        """Yield the module whose parameters are updated, and its optimiser from `make`.

        Within this context, the model computes with rounded copies; gradients are accumulated in float32, at the
        masters.
        """
        if not self._computes:
            yield self._model, make(self._model)
            return
        self.keep()
        masters = {weight: nn.Parameter(weight.data) for weight in self._computes}

        def follow(*_: Any) -> None:
            for weight, master in masters.items():
                weight.data.copy_(master.data)

        with self.rounded():
            hooks = [w.register_post_accumulate_grad_hook(partial(_pass_on, master)) for w, master in masters.items()]
            try:
                weights = nn.ParameterList([masters.get(weight, weight) for weight in self._trained()])
                optimizer = make(weights)
                optimizer.register_step_post_hook(follow)
                yield weights, optimizer
            finally:
                for hook in hooks:
                    hook.remove()

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self._model.parameters() if p.requires_grad]


def _pass_on(master: nn.Parameter, weight: Tensor) -> None:
    assert weight.grad is not None
    gradient = weight.grad.float()
    weight.grad = None
    master.grad = gradient if master.grad is None else master.grad.add_(gradient)
