"""Names and layouts of a model's tensors in llama.cpp."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.export.gguf_architectures import ADVICE, Architecture, head_size, ropes, text_of

TEXT = "model.language_model."
"""The prefix of the part that reads text, in a model that also sees images."""
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layout:
    """Converts a tensor of transformers into one of llama.cpp, and back."""

    there: Change
    back: Change


SAME = Layout(lambda weight: weight, lambda weight: weight)
TRANSPOSED = Layout(lambda weight: weight.T, lambda weight: weight.T)
PLUS_ONE = Layout(lambda weight: weight + 1, lambda weight: weight - 1)
"""Gemma's norms scale by their weight plus one."""


def paired(heads: int) -> Layout:
    """Turn rotary halves [heads, 2, half, …] into the neighbours [heads, half, 2, …] that llama.cpp's Llama rotates."""
    return Layout(
        lambda w: w.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2),
        lambda w: w.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2),
    )


def grouped(heads: int) -> Layout:
    """Turn queries, keys and values, head by head [heads, 3, size, …], into three blocks [3, heads, size, …]."""
    return Layout(
        lambda w: w.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2),
        lambda w: w.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2),
    )


def place_of(name: str, names: Any, architecture: Architecture) -> str:
    """Return the name in the file of a tensor of transformers; `names` is gguf's TensorNameMap.

    Raises InputError for a tensor that the architecture lacks.
    """
    plain = name.removeprefix("transformer.") if architecture.name == "BLOOM" else name
    found = names.get_name(plain, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise InputError(f"export: llama.cpp's {architecture.name.lower()} has no tensor for {name!r}; {ADVICE}")
    return found


def has_output(config: Any, architecture: Architecture) -> bool:
    """Return whether the file has an output matrix of its own."""
    return architecture.own_output or not config.tie_word_embeddings


def named_tensors(model: Any, names: Any, architecture: Architecture) -> Iterator[tuple[str, Tensor, Layout]]:
    """Yield each tensor of a model: its name in the file, the tensor as transformers has it, and its layout.

    `names` is gguf's TensorNameMap. Raises InputError for a tensor that the architecture lacks.
    """
    config, whole = text_of(model.config), model.config
    for name, tensor in model.state_dict().items():
        if config is not whole and not name.startswith((TEXT, "lm_head.")):
            continue  # what sees images
        if name != "lm_head.weight" or has_output(config, architecture):
            plain = name.replace(TEXT, "model.", 1)
            yield place_of(plain, names, architecture), tensor, layout_of(plain, config, architecture)
    for name, factors in _stretched(model, architecture):
        yield name, factors, SAME


def layout_of(name: str, config: Any, architecture: Architecture) -> Layout:
    """Return the layout of the tensor `name` of transformers."""
    part = name.split(".")[-2]
    if architecture.paired and part == "q_proj":
        return paired(config.num_attention_heads)
    if architecture.paired and part == "k_proj":
        return paired(config.num_key_value_heads)
    if architecture.plus_one and part.endswith("norm"):
        return PLUS_ONE
    if architecture.name == "BLOOM" and part == "query_key_value":
        return grouped(config.num_attention_heads)
    if architecture.name == "GPT2" and part in ("c_attn", "c_proj", "c_fc") and name.endswith("weight"):
        return TRANSPOSED
    return SAME


def _stretched(model: Any, architecture: Architecture) -> Iterator[tuple[str, Tensor]]:
    """Yield the divisors of the rotary frequencies, float32 [half], if llama.cpp takes them as a tensor."""
    if architecture.name not in ("LLAMA", "PHI3"):
        return
    rope = ropes(model.config)["full_attention"]
    if rope["rope_type"] == "longrope":
        for length in ("long", "short"):
            yield f"rope_factors_{length}.weight", torch.tensor(rope[f"{length}_factor"], dtype=torch.float32)
    elif rope["rope_type"] != "default":
        slow, size = model.base_model.rotary_emb.inv_freq.float().cpu(), head_size(model.config)
        yield "rope_freqs.weight", 1.0 / rope["rope_theta"] ** (torch.arange(0, size, 2).float() / size) / slow
