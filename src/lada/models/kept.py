"""Counts the memory that autograd keeps for the backward pass, in a forward pass over fake tensors."""

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lada.models.head import head_sees
from lada.models.likelihood import is_spare


def kept_by(model: Any, length: int, completion: int) -> tuple[int, int]:
    """Return the bytes that autograd keeps for a forward pass over one row, without weights, and a study's logits.

    Logits are those of its last `completion` positions, in 1 or 2 copies; see `Trace.copies`.
    """
    kept: dict[int, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"):
        values = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        }
        own = {value.untyped_storage()._cdata for value in values.values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage  # kept alive, so that no other storage reuses its address
            return tensor

        inputs = {"input_ids": torch.zeros((1, length), dtype=torch.long), "use_cache": False}
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            head_sees(model, lambda hidden: hidden[..., length - completion :, :].contiguous()),
            _GroupedShapes(),
        ):
            logits = torch.func.functional_call(model, values, (), inputs).logits
            copies = 1 if is_spare(logits) else 2
    return sum(storage.nbytes() for storage in kept.values()), copies


class _GroupedShapes(TorchDispatchMode):
    """Computes the shape of a product with fused experts, which PyTorch refuses for fake tensors in float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._grouped_mm.default:
            tokens, experts = args[:2]
            return tokens.new_empty((tokens.shape[0], experts.shape[-1]))
        return func(*args, **(kwargs or {}))
