"""What llama.cpp computes for each architecture, and which settings of a model it does not support.

Only the configuration is checked, so a model is refused before its weights are read. The source for what llama.cpp does
is its src/models/*.cpp (https://github.com/ggml-org/llama.cpp, as of llama-cpp-python 0.3.36).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lada.core.errors import InputError
from lada.export.kinds import unusual

ADVICE = "export to hf"
SILU, GELU = frozenset({"silu", "swish"}), frozenset({"gelu_new", "gelu_pytorch_tanh"})
PLAIN, SCALED = frozenset({"default"}), frozenset({"default", "linear", "yarn"})
NO = frozenset({False, None})
NOPE_STEP = 4
"""llama.cpp gives every fourth layer of SmolLM3 no positions."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One of llama.cpp's architectures."""

    name: str
    activation: str = "hidden_act"
    """The key of the configuration that names the activation …"""
    activations: frozenset[str] = SILU
    """… and the values that llama.cpp computes."""
    norm: str = "rms_norm_eps"
    """The key of the configuration with the norms' epsilon."""
    rotates: frozenset[str] | None = SCALED
    """The rope types of transformers that a GGUF file can express; None if positions are not rotated."""
    paired: bool = False
    """Whether llama.cpp rotates neighbours while transformers rotates halves."""
    partial: bool = False
    """Whether a part of each head may stay unrotated."""
    plus_one: bool = False
    """Whether norms scale by their weight plus one."""
    slides: bool = False
    """Whether llama.cpp distinguishes layers with a sliding window from those without."""
    biases: bool = False
    """Whether attention and MLP may have biases, if the architecture leaves this open."""
    tied: bool = False
    """Whether the output matrix must be the embedding matrix."""
    own_output: bool = False
    """Whether the file has an output matrix even if it is the embedding matrix."""
    free_heads: bool = True
    """Whether the number of heads times their size may differ from the width."""


LLAMA = Architecture("LLAMA", rotates=frozenset({"default", "linear", "llama3"}), paired=True, biases=True)
GEMMA = Architecture("GEMMA", activations=GELU, rotates=PLAIN, plus_one=True, tied=True)
GEMMA2 = replace(GEMMA, name="GEMMA2", activation="hidden_activation", slides=True)
GEMMA3 = replace(GEMMA2, name="GEMMA3", rotates=frozenset({"default", "linear"}), tied=False)
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Architecture("QWEN2", biases=True, free_heads=False),
    "qwen3": Architecture("QWEN3"),
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3,
    "phi3": Architecture("PHI3", rotates=frozenset({"default", "longrope"}), partial=True, free_heads=False),
    "smollm3": Architecture("SMOLLM3", paired=True),
    "granite": Architecture("GRANITE", paired=True, biases=True),
    "olmo2": Architecture("OLMO2", own_output=True, free_heads=False),
    "gpt2": Architecture("GPT2", "activation_function", GELU, "layer_norm_epsilon", rotates=None),
    "bloom": Architecture("BLOOM", "", frozenset(), "layer_norm_epsilon", rotates=None),
}


def architecture_of(config: Any) -> Architecture:
    """Return a model's architecture. Raises InputError if llama.cpp lacks it or computes something else for it."""
    config = text_of(config)
    kind = config.model_type
    if kind not in ARCHITECTURES:
        why = f", {told}" if (told := unusual(config)) else ""
        raise InputError(
            f"export: gguf has no {kind!r} here{why}; expected one of {', '.join(ARCHITECTURES)}, or {ADVICE} instead"
        )
    architecture = ARCHITECTURES[kind]
    for key, given, right, expected in _settings(config, architecture):
        if not right:
            raise InputError(
                f"export: {key} of this {kind} is {given!r}, which llama.cpp does not compute; expected {expected}, "
                f"or {ADVICE} instead"
            )
    return architecture


def text_of(config: Any) -> Any:
    """Return the configuration of the part that reads text; a Gemma 3 that sees images has two parts."""
    return config.get_text_config() if config.model_type == "gemma3" else config


def _settings(config: Any, architecture: Architecture) -> Iterator[tuple[str, Any, bool, str]]:
    """Yield the settings in which a model may differ from llama.cpp: key, value, whether it fits, and what would
    fit."""

    def among(key: str, values: frozenset[Any], default: Any = None) -> tuple[str, Any, bool, str]:
        given = getattr(config, key, default)
        return key, given, given in values, ", ".join(sorted(map(str, values)))

    if architecture.activation:
        yield among(architecture.activation, architecture.activations)
    for key in ("add_cross_attention", "scale_attn_by_inverse_layer_idx", "apply_residual_connection_post_layernorm"):
        yield among(key, NO)
    yield among("use_bidirectional_attention", NO)
    yield among("scale_attn_weights", frozenset({True}), True)
    if not architecture.biases:
        yield among("attention_bias", NO)
        yield among("mlp_bias", NO)
    if architecture.tied:
        yield among("tie_word_embeddings", frozenset({True}))
    if architecture.rotates is not None:
        yield from _rotation(config, architecture)
    if architecture.name in OWN:
        yield from OWN[architecture.name](config)


def _rotation(config: Any, architecture: Architecture) -> Iterator[tuple[str, Any, bool, str]]:
    assert architecture.rotates is not None
    for layers, rope in ropes(config).items():
        kind, part = rope["rope_type"], rope.get("partial_rotary_factor", 1.0)
        # With sliding windows, llama.cpp scales only the positions of the other layers.
        kinds = PLAIN if layers == "sliding_attention" else architecture.rotates
        yield "rope_type", kind, kind in kinds, ", ".join(sorted(kinds))
        yield "partial_rotary_factor", part, architecture.partial or part == 1, "1"
        if kind == "yarn":
            for key, right in (("truncate", True), ("beta_fast", 32), ("beta_slow", 1)):
                given = rope.get(key, right)
                yield key, given, given in (right, None), str(right)
    size = head_size(config)
    wide = config.hidden_size // config.num_attention_heads
    yield "head_dim", size, architecture.free_heads or size == wide, str(wide)


def _gemma(layers: int, config: Any) -> Iterator[tuple[str, Any, bool, str]]:
    """Check Gemma's scaling of queries, which llama.cpp derives from the number of layers."""
    scalar = config.query_pre_attn_scalar
    large = config.num_hidden_layers == layers  # the 27B models
    right = config.hidden_size // config.num_attention_heads if large else head_size(config)
    yield "query_pre_attn_scalar", scalar, scalar == right, str(right)


def _gemma2(config: Any) -> Iterator[tuple[str, Any, bool, str]]:
    yield from _gemma(46, config)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        given = getattr(config, key)
        yield key, given, bool(given), "a number above 0"


def _gemma3(config: Any) -> Iterator[tuple[str, Any, bool, str]]:
    yield from _gemma(62, config)
    given = config.attn_logit_softcapping
    yield "attn_logit_softcapping", given, not given, "None"


def _smollm3(config: Any) -> Iterator[tuple[str, Any, bool, str]]:
    layers = config.num_hidden_layers
    right = [int((layer + 1) % NOPE_STEP != 0) for layer in range(layers)]
    given = list(config.no_rope_layers)
    yield "no_rope_layers", given, given == right, str(right)


def _granite(config: Any) -> Iterator[tuple[str, Any, bool, str]]:
    for key in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
        given = getattr(config, key)
        yield key, given, bool(given), "a number other than 0, which llama.cpp reads as unset"


OWN = {"GEMMA2": _gemma2, "GEMMA3": _gemma3, "SMOLLM3": _smollm3, "GRANITE": _granite}


def head_size(config: Any) -> int:
    """Return the width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def ropes(config: Any) -> dict[str, dict[str, Any]]:
    """Return the parameters of rotary positions by kind of layer; the only kind is called `full_attention`."""
    given = config.rope_parameters
    return {"full_attention": given} if "rope_type" in given else given


def window_of(config: Any) -> int | None:
    """Return how many positions the layers with a sliding window attend to; None without such layers."""
    kinds = getattr(config, "layer_types", None)
    slides = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    return getattr(config, "sliding_window", None) if slides else None
