"""Writes the sizes, multipliers and tokenizer of a model into a GGUF file."""

import math
from collections.abc import Mapping
from typing import Any

from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lada.export.gguf_architectures import Architecture, head_size, ropes, window_of
from lada.export.gguf_tokens import Vocabulary
from lada.export.target import Parcel


def write_settings(writer: Any, config: Any, architecture: Architecture, context: int) -> None:
    """Write the settings that llama.cpp needs. `context` is the longest sequence, tokens."""
    window = window_of(config)
    # Without sliding windows, llama.cpp attends to everything, so the context is limited to the size of a window.
    short = window is not None and not architecture.slides
    writer.add_context_length(min(context, window or context) if short else context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    writer.add_feed_forward_length(inner or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    if architecture.slides and window is not None:
        writer.add_sliding_window(window)
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    epsilon = getattr(config, architecture.norm)
    if architecture.rotates is None:
        writer.add_layer_norm_eps(epsilon)
    else:
        writer.add_layer_norm_rms_eps(epsilon)
        writer.add_key_length(head_size(config))
        writer.add_value_length(head_size(config))
        _rotation(writer, config, architecture)
    if architecture.name in ("GEMMA2", "GEMMA3"):
        for key, add in (
            ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
            ("final_logit_softcapping", writer.add_final_logit_softcapping),
        ):
            if (cap := getattr(config, key)) is not None:
                add(cap)
    if architecture.name == "GRANITE":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def _rotation(writer: Any, config: Any, architecture: Architecture) -> None:
    kinds = ropes(config)
    rope = kinds.get("full_attention") or kinds["sliding_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_size(config) * rope.get("partial_rotary_factor", 1.0)))
    if "sliding_attention" in kinds:
        writer.add_rope_freq_base_swa(kinds["sliding_attention"]["rope_theta"])
    match rope["rope_type"]:
        case "linear" if architecture.name != "LLAMA":  # whose factors are a tensor
            _scaled(writer, "linear", rope["factor"])
        case "yarn":
            _yarn(writer, config, rope)
        case "longrope":
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
            writer.add_rope_scaling_attn_factors(_attention_factor(config, "longrope"))


def _yarn(writer: Any, config: Any, rope: Mapping[str, Any]) -> None:
    original = rope["original_max_position_embeddings"]
    factor = rope.get("factor") or config.max_position_embeddings / original
    _scaled(writer, "yarn", factor)
    writer.add_rope_scaling_orig_ctx_len(original)
    # llama.cpp always multiplies by YaRN's own factor.
    own = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    writer.add_rope_scaling_attn_factors(_attention_factor(config, "yarn") / own)


def _scaled(writer: Any, kind: str, factor: float) -> None:
    from gguf import RopeScalingType

    writer.add_rope_scaling_type(RopeScalingType(kind))
    writer.add_rope_scaling_factor(factor)


def _attention_factor(config: Any, kind: str) -> float:
    """Return the factor by which transformers scales cosines and sines."""
    return float(ROPE_INIT_FUNCTIONS[kind](config)[1])


def notes_on_context(config: Any) -> tuple[str, ...]:
    """Return a note if llama.cpp's rotation depends on its context size while transformers' depends on the text's
    length."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return ()
    original = rope["original_max_position_embeddings"]
    return (
        f"with a context (-c) above {original} tokens, llama.cpp rotates short texts by the factors of long ones, so "
        "its answers equal the party's only with a context up to that size",
    )


def write_tokens(writer: Any, parcel: Parcel, vocabulary: Vocabulary) -> None:
    """Write the tokenizer."""
    tokenizer = parcel.tokenizer
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list([token.encode() for token in vocabulary.tokens])
    writer.add_token_types([int(kind) for kind in vocabulary.kinds])
    if vocabulary.scores is not None:
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.prefix)
    if vocabulary.merges is not None:
        writer.add_token_merges(list(vocabulary.merges))
    if vocabulary.charsmap is not None:
        writer.add_precompiled_charsmap(vocabulary.charsmap)
    # llama.cpp has three keys for tokens that end an answer; it also recognises the usual ends of turns by their text.
    keys = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for index, add in zip(parcel.ends, keys, strict=False):
        add(index)
    writer.add_pad_token_id(parcel.pad)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if vocabulary.unknown is not None:
        writer.add_unk_token_id(vocabulary.unknown)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_eos_token(False)  # a prompt never ends with one: the answer follows
    if isinstance(template := getattr(tokenizer, "chat_template", None), dict):  # several, by name
        writer.add_chat_template([{"name": name, "template": text} for name, text in template.items()])
    elif template:
        writer.add_chat_template(template)
