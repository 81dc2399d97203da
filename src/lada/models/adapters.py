"""LoRA adapters over any causal LM (arXiv 2106.09685)."""

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lada.core.errors import InputError
from lada.models.options import ModelOptions

ROUTER = re.compile(r"gate|gating|switch|.*router.*|.*expert_gate")
"""A part of a layer's path that marks the layer, or its parent, as choosing experts."""
PAST_ADAPTERS = {"dt_proj": "A_log"}
"""Layers whose weight a mixer reads directly, bypassing an adapter, by other parts of the mixer: Mamba, also within
hybrids."""
REFUSED = {kind: "out_proj" for kind in ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")}
"""Layers that peft does not adapt, by model type: Mamba's kernels read these directly too."""
OF_EXPERTS = ("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")
"""Layers that peft treats as parts of fused experts, wherever they are."""


def with_adapter(model: Any, options: ModelOptions, init_seed: int, saved: FilePath | None) -> Any:
    """Return the model with a saved adapter, or with a new one that changes nothing yet.

    Without `targets`, all of `adaptable` and `fused_experts` is adapted; peft cannot adapt experts with dropout. Raises
    InputError if there is nothing to adapt, if `targets` names nothing, or if the adapter could not be loaded again.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if options.quantise is not None:
        # Checkpointing, as LaDa switches it on, does not need what peft would do for it here.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if saved:
        return PeftModel.from_pretrained(model, saved, is_trainable=True)
    lora = options.lora
    layers, weights = _named(model, lora.targets) if lora.targets else _all(model, bool(lora.dropout))
    if not layers and not weights:
        raise InputError(
            f"model.tune: 'lora', but {type(model).__name__} has no linear layers to adapt; expected tune: full"
        )
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=layers,
        target_parameters=weights or None,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in model.modules()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(init_seed)
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise InputError(
                f"model.lora.targets: {lora.targets}: {str(error).partition(chr(10))[0]}; expected names of linear "
                f"layers of {type(model).__name__}, such as those in print(model)"
            ) from error
    _check_found_again(adapted, type(model).__name__)
    return adapted


def _check_found_again(model: Any, name: str) -> None:
    """Raise InputError if peft would skip parts of a saved adapter, with only a warning, when it loads it."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    saved = get_peft_model_state_dict(model, save_embedding_layers=False)  # "auto" may query the hub about them
    missing = set(set_peft_model_state_dict(model, saved).missing_keys)
    lost = [own for own, weight in model.named_parameters() if weight.requires_grad and own in missing]
    if lost:
        layers = list(dict.fromkeys(own.removeprefix("base_model.model.").partition(".lora_")[0] for own in lost))
        raise InputError(
            f"model.tune: 'lora', but the adapters of {', '.join(layers)} would be lost: peft {version('peft')} saves "
            f"them but does not load them again for {name}; expected lora.targets without these layers, or tune: full"
        )


def _all(model: Any, dropout: bool) -> tuple[list[str], list[str]]:
    """Return what is adapted by default: paths of layers and paths of weights."""
    layers, experts = adaptable(model), list(fused_experts(model))
    if not experts:
        return layers, []
    plain = [name for name in layers if name.rpartition(".")[2] not in OF_EXPERTS]
    if dropout:
        return plain, []
    rest = [name for name in layers if name not in plain and type(model.get_submodule(name)) is nn.Linear]
    return plain, [*experts, *(f"{name}.weight" for name in rest)]


def _named(model: Any, targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what `targets` selects: names of layers, and paths of fused experts."""
    experts = [name for name in fused_experts(model) if any(_is_named(name, target) for target in targets)]
    return [target for target in targets if not any(_is_named(name, target) for name in experts)], experts


def _is_named(path: str, target: str) -> bool:
    """Return whether a target is a path, or the end of one, as peft reads it."""
    return path == target or path.endswith(f".{target}")


def adaptable(model: Any) -> list[str]:
    """Return the paths of all linear layers, including GPT-2's `Conv1D`, that can have an adapter.

    This leaves out the output layer, routers, layers with a computation of their own, and layers whose weights are read
    directly.
    """
    head = model.get_output_embeddings()
    return [
        name
        for name, layer in model.named_modules()
        if _is_linear(layer)
        and layer is not head
        and not any(ROUTER.fullmatch(part) for part in name.split("."))
        and not _is_read_past(model, name)
    ]


def _is_read_past(model: Any, path: str) -> bool:
    parent, _, name = path.rpartition(".")
    if name == REFUSED.get(model.config.model_type):
        return True
    return name in PAST_ADAPTERS and hasattr(model.get_submodule(parent), PAST_ADAPTERS[name])


def _is_linear(module: Any) -> bool:
    """Return whether a layer maps [n, in] to [n, out] by its weight, as peft assumes."""
    if not isinstance(module, (nn.Linear, Conv1D)):
        return False
    layer: Any = module
    if type(layer).forward in (nn.Linear.forward, Conv1D.forward) or "bitsandbytes" in type(layer).__module__:
        return True
    try:  # some compute in groups, or return more than one tensor
        with torch.no_grad():
            given = layer(layer.weight.new_zeros((2, layer.in_features)))
    except RuntimeError:
        return False
    return isinstance(given, torch.Tensor) and given.shape == (2, layer.out_features)


def fused_experts(model: Any) -> Iterator[str]:
    """Yield the paths of weights [experts, out, in] or [experts, in, out] that hold all experts of a layer at once."""
    for name, module in model.named_modules():
        if "Experts" in type(module).__name__:
            for own, weight in module.named_parameters(recurse=False):
                if weight.dim() == 3 and weight.is_floating_point():
                    yield f"{name}.{own}"


def factors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and values of all trained weights, without gradients; writing into one changes the model.

    Factors of fused experts are yielded expert by expert, A [rank, in] and B [out, rank], so that their product is
    added to each expert's weight.
    """
    from peft.tuners.lora import ParamWrapper

    counts = {name: module.num_experts for name, module in model.named_modules() if isinstance(module, ParamWrapper)}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            path, is_a, _ = name.partition(".lora_A.")
            count = counts.get(path if is_a else name.partition(".lora_B.")[0], 1)
            if count == 1:
                yield name, weight.detach()
                continue
            every = (
                weight.detach().view(count, -1, weight.shape[1]) if is_a else weight.detach().unflatten(1, (-1, count))
            )
            for expert in range(count):
                yield f"{name}.{expert}", every[expert] if is_a else every[:, :, expert]


def adapted_share(model: Any) -> float:
    """Return the share (0 to 1) of the weights between embeddings and logits that a peft model's adapter covers.

    Only weights with two or more dimensions count.
    """
    from peft.tuners.lora import LoraLayer

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    adapted = total = 0
    for name, module in base.named_modules():
        layer: Any = module
        if isinstance(module, LoraLayer):
            adapted += _size(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))
        if not any(layer is end for end in ends) and not isinstance(layer, nn.Embedding) and ".lora_" not in name:
            total += sum(_size(layer, own) for own, weight in layer.named_parameters(recurse=False) if weight.dim() > 1)
    return adapted / total if total else 0.0


def _size(module: Any, name: str) -> int:
    """Return how many numbers a weight holds; with 4 bits, a byte holds several."""
    if isinstance(module, nn.Linear):
        return module.in_features * module.out_features
    return getattr(module, name).numel()


def untie(model: Any) -> None:
    """Give each adapted layer that shares a weight its own copy: merging would change the other layer too.

    This happens if the embeddings and the output layer are one weight and either has an adapter.
    """
    adapted = [module.base_layer for module in model.modules() if hasattr(module, "base_layer")]
    for layer in adapted:
        shared = [other for other in model.modules() if getattr(other, "weight", None) is layer.weight]
        # An adapter's wrapper exposes the inner layer's weight as its own.
        if any(other is not layer and getattr(other, "base_layer", None) is not layer for other in shared):
            layer.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
            for config in (model.config, model.config.get_text_config()):
                config.tie_word_embeddings = False


def merged(model: Any) -> Any:
    """Return a model with its adapter, if any, merged into the weights. The given model must not be used afterwards."""
    if not hasattr(model, "merge_and_unload"):
        return model
    untie(model)
    return model.merge_and_unload()
