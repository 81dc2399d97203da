"""Names, layout and settings of a model's tensors as llama.cpp wants them, by architecture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lada.core.errors import InputError

Change = Callable[[Tensor], Tensor]
ADVICE = "export to hf or onnx"
SILU, GELU = frozenset({"silu", "swish"}), frozenset({"gelu_new", "gelu_pytorch_tanh"})


@dataclass(frozen=True, slots=True)
class Architecture:
    """One of llama.cpp's architectures. `rotates` are the rope types of transformers that it can be told of."""

    name: str
    activation: str
    """The key of the configuration that names it …"""
    activations: frozenset[str]
    """… and the values that llama.cpp computes."""
    norm: str
    """The key of the configuration with the norms' epsilon."""
    rotates: frozenset[str] = frozenset({"default"})
    biases: bool = False
    """Whether attention and MLP may have biases, where the architecture leaves that open."""
    own_output: bool = False
    """Whether the file has an output matrix even where it is that of the embeddings."""
    free_heads: bool = False
    """Whether heads times their size may be another number than the width."""


LLAMA = Architecture(
    "LLAMA",
    "hidden_act",
    SILU,
    "rms_norm_eps",
    frozenset({"default", "linear", "llama3"}),
    biases=True,
    free_heads=True,
)
ARCHITECTURES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Architecture("QWEN2", "hidden_act", SILU, "rms_norm_eps", biases=True),
    "gemma": Architecture("GEMMA", "hidden_act", GELU, "rms_norm_eps", free_heads=True),
    "olmo2": Architecture("OLMO2", "hidden_act", SILU, "rms_norm_eps", own_output=True),
    "gpt2": Architecture("GPT2", "activation_function", GELU, "layer_norm_epsilon"),
    "bloom": Architecture("BLOOM", "", frozenset(), "layer_norm_epsilon"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor of transformers becomes one of llama.cpp, and back."""

    there: Change
    back: Change


SAME = Layout(lambda weight: weight, lambda weight: weight)
TRANSPOSED = Layout(lambda weight: weight.T, lambda weight: weight.T)
PLUS_ONE = Layout(lambda weight: weight + 1, lambda weight: weight - 1)
"""Gemma's norms scale by one more than their weight."""


def paired(heads: int) -> Layout:
    """Rotary halves [heads, 2, half, …] as the neighbours [heads, half, 2, …] that llama.cpp's Llama rotates."""
    return Layout(
        lambda w: w.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2),
        lambda w: w.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2),
    )


def grouped(heads: int) -> Layout:
    """Queries, keys and values head by head [heads, 3, size, …] as three blocks [3, heads, size, …]."""
    return Layout(
        lambda w: w.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2),
        lambda w: w.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2),
    )


def architecture_of(model: Any) -> Architecture:
    """Return a model's architecture. Raises InputError where llama.cpp lacks it or computes something else for it."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        raise InputError(
            f"export: gguf has no {kind!r} here; expected one of {', '.join(ARCHITECTURES)}, or {ADVICE} instead"
        )
    architecture = ARCHITECTURES[kind]
    for key, given, expected in _settings(model, architecture):
        if given not in expected:
            shown = ", ".join(sorted(map(str, expected)))
            raise InputError(
                f"export: {key} of this {type(model).__name__} is {given!r}, which llama.cpp does not compute; "
                f"expected {shown}, or {ADVICE} instead"
            )
    return architecture


def _settings(model: Any, architecture: Architecture) -> Iterator[tuple[str, Any, frozenset[Any]]]:
    """Yield what a model could have otherwise than llama.cpp: key, value, values that are right."""
    config = model.config
    no = frozenset({False, None})
    if architecture.activation:
        yield architecture.activation, getattr(config, architecture.activation), architecture.activations
    for key in ("add_cross_attention", "scale_attn_by_inverse_layer_idx", "apply_residual_connection_post_layernorm"):
        yield key, getattr(config, key, None), no
    yield "scale_attn_weights", getattr(config, "scale_attn_weights", True), frozenset({True})
    if not architecture.biases:
        yield "attention_bias", getattr(config, "attention_bias", None), no
    if architecture.name == "GEMMA":
        yield "tie_word_embeddings", config.tie_word_embeddings, frozenset({True})
    rotary = rotary_of(model)
    if rotary is not None:
        yield "rope_type", rotary.rope_type, architecture.rotates
        size = head_size(config)
        yield "the number of rotated places per head", 2 * rotary.inv_freq.numel(), frozenset({size})
        if not architecture.free_heads:
            yield "head_dim", size, frozenset({config.hidden_size // config.num_attention_heads})


def head_size(config: Any) -> int:
    """Return the width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def rotary_of(model: Any) -> Any:
    """Return the module that holds a model's rotary frequencies, None where it has none."""
    return getattr(model.base_model, "rotary_emb", None)


def named_tensors(model: Any, names: Any, architecture: Architecture) -> Iterator[tuple[str, Tensor, Layout]]:
    """Yield each tensor of a model: its name in the file, the tensor as transformers has it, and its layout.

    `names` is gguf's TensorNameMap. Raises InputError for a tensor that the architecture has no place for.
    """
    tied = model.config.tie_word_embeddings and not architecture.own_output
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        plain = name.removeprefix("transformer.") if architecture.name == "BLOOM" else name
        found = names.get_name(plain, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise InputError(f"export: llama.cpp's {architecture.name.lower()} has no tensor for {name!r}; {ADVICE}")
        yield found, tensor, _layout(name, model.config)
    if architecture.name == "LLAMA" and (factors := _stretched(model)) is not None:
        yield "rope_freqs.weight", factors, SAME


def _layout(name: str, config: Any) -> Layout:
    match config.model_type, name.split(".")[-2], name:
        case ("llama" | "mistral", "q_proj", _):
            return paired(config.num_attention_heads)
        case ("llama" | "mistral", "k_proj", _):
            return paired(config.num_key_value_heads)
        case ("gemma", part, _) if part.endswith("norm"):
            return PLUS_ONE
        case ("bloom", "query_key_value", _):
            return grouped(config.num_attention_heads)
        case ("gpt2", "c_attn" | "c_proj" | "c_fc", _) if name.endswith("weight"):
            return TRANSPOSED
    return SAME


def _stretched(model: Any) -> Tensor | None:
    """Return by how much each rotary frequency is divided, float32 [half]; None where none is."""
    rotary = rotary_of(model)
    slow = rotary.inv_freq.float().cpu()
    theta = model.config.rope_parameters["rope_theta"]
    plain = 1.0 / theta ** (torch.arange(0, 2 * len(slow), 2).float() / (2 * len(slow)))
    return None if rotary.rope_type == "default" else plain / slow
