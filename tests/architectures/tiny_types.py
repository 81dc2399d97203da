"""A tiny random model of each type of causal LM that the installed transformers knows.

Sizes go by the names that configurations have for them. What a type needs beyond that, such as both of its kinds of
layers, is in OWN. Models that may also read both ways are made decoders.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

CONTEXT, VOCABULARY = 64, 320
TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def _sizes() -> dict[str, int]:
    """Return the size of everything that has one, by the name of its key."""
    names = {
        32: """hidden_size d_model n_embd emb_dim embedding_size word_embed_proj_dim input_embedding_size
            output_embedding_size lru_width embedding_dim attention_hidden_size""",
        48: """intermediate_size decoder_ffn_dim encoder_ffn_dim ffn_dim n_inner dff dim_ff d_inner ffn_hidden_size
            moe_intermediate_size shared_intermediate_size shared_expert_intermediate_size
            moe_shared_expert_intermediate_size expert_ffn_hidden_size intermediate_size_mlp dense_intermediate_size
            shared_experts_intermediate_size feed_forward_size""",
        2: """num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_decoder_layers
            num_encoder_layers num_blocks num_attention_heads n_head n_heads num_heads decoder_attention_heads
            encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads attention_heads
            num_key_value_heads num_kv_heads num_query_groups swa_num_attention_heads swa_num_key_value_heads
            linear_num_key_heads linear_num_value_heads linear_num_heads index_n_heads num_experts_per_tok
            num_experts_per_token moe_k moe_topk""",
        16: """head_dim attention_head_dim d_head dim_head kv_channels v_head_dim swa_head_dim linear_key_head_dim
            linear_value_head_dim linear_head_dim index_head_dim attention_head_size qk_head_dim sliding_window
            attention_window_size local_attention sliding_window_size window_size attention_chunk_size
            local_attention_window_len mamba_d_head mamba_head_dim mamba_headdim""",
        8: """qk_rope_head_dim qk_nope_head_dim rotary_dim kv_lora_rank q_lora_rank o_lora_rank gated_norm_rank
            adapter_rank mamba_dt_rank time_step_rank laurel_rank hc_lowrank router_hidden_size mamba_d_state state_size
            ssm_state_size mamba_chunk_size chunk_size hidden_size_per_layer_input""",
        4: """num_experts n_routed_experts num_local_experts moe_num_experts mamba_n_heads mamba_num_heads n_mamba_heads
            index_topk index_topk_blocks""",
        1: """n_group topk_group num_expert_group n_shared_experts num_shared_experts moe_num_shared_experts
            zero_expert_num mamba_n_groups n_groups mamba_ngroups first_k_dense_replace num_dense_layers
            moe_layer_start_index""",
        64: """mamba_d_ssm max_position_embeddings n_positions n_ctx max_seq_len context_length max_target_positions
            model_max_length original_max_position_embeddings""",
        VOCABULARY: "vocab_size vocab_size_per_layer_input decoder_vocab_size unpadded_vocab_size",
        0: "num_nextn_predict_layers",
    }
    return {name: size for size, keys in names.items() for name in keys.split()}


SIZES = _sizes()
IDS = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
LATENT = {"head_dim": 8}
BOTH = {"layer_types": ["linear_attention", "full_attention"]}
WINDOWED = ("sliding_attention", "full_attention")
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
SPARSE = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 16}
OWN: dict[str, dict[str, Any]] = {
    "axk1": LATENT,
    "bailing_hybrid": BOTH,
    "bamba": {"attn_layer_indices": [1]},
    "codegen": {"n_head": 4, "rotary_dim": 4},
    "cohere_compass_text": {
        "layer_types": list(WINDOWED),
        "rope_parameters": {key: {**PLAIN, "mrope_section": [4, 2, 2]} for key in WINDOWED},
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v3": LATENT,
    "dots3_note_vision": {"per_layer_config": {}},
    "dots3_note_text": {"layer_types": ["indexed_attention", "indexed_attention"], "per_layer_config": {}},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": [0.5, 0.0],
        "layer_types": list(WINDOWED),
    },
    "gemma4_text": {"num_kv_shared_layers": 0},
    "gemma4_unified_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": BOTH,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "lfm3": {"num_hidden_layers": 4},
    "longcat_flash": LATENT,
    "mamba2": {"num_heads": 4},
    "mimo_v2_flash": {
        "num_attention_heads": 4,
        "rope_parameters": {key: {**PLAIN, "partial_rotary_factor": 0.5} for key in WINDOWED},
    },
    "qwen3_5_moe_text": BOTH,
    "qwen3_5_text": BOTH,
    "qwen3_next": BOTH,
    "qwen4_exp_text": {
        **SPARSE,
        "indexer_compress_ratio": 4,
        "layer_types": ["linear_attention", "indexed_attention"],
    },
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
    },
    "roc_bert": {
        "shape_vocab_size": VOCABULARY,
        "pronunciation_vocab_size": VOCABULARY,
        "shape_embed_dim": 8,
        "pronunciation_embed_dim": 8,
    },
    "xlm": {"causal": True},
    "xlstm": {"embedding_dim": 64, "hidden_size": 64, "num_heads": 4, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "youtu": LATENT,
    "zamba": {
        "num_hidden_layers": 5,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "attention_hidden_size": 64,
        "attention_head_dim": 32,
    },
    "zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 32,
    },
    "zaya": {"num_experts_per_tok": 1},
}


def make_config(kind: str) -> Any:
    """Return the configuration of a tiny model of a type."""
    default = CONFIG_MAPPING[kind]()
    told = _told(default)
    for name in getattr(CONFIG_MAPPING[kind], "sub_configs", {}):
        if (part := getattr(default, name, None)) is not None:
            told[name] = {**_told(part), "model_type": part.model_type}
    config = AutoConfig.for_model(kind, **{**told, **OWN.get(kind, {})})
    if hasattr(config, "is_decoder"):
        config.is_decoder = True
    if hasattr(config, "forced_eos_token_id"):
        config.forced_eos_token_id = None
    return config


def _told(default: Any) -> dict[str, Any]:
    keys = default.to_dict()
    ids = IDS if default.model_type in CONFIG_MAPPING else {}
    return {**{key: SIZES[key] for key in keys if key in SIZES}, **ids, **OWN.get(default.model_type, {})}


def make_model(config: Any) -> Any:
    """Return a random model, not so flat that rounding chooses its likeliest token."""
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    return model.eval()
