"""Recognises, by configuration, two kinds of models that other runtimes often lack."""

from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING


def unusual(config: Any) -> str | None:
    """Return a description of how a model differs from a plain transformer (a state or experts); None if it does
    not."""
    if recurrent(config):
        return "a recurrent model, which keeps a state instead of keys and values"
    if count := experts(config):
        return f"a mixture of {count} experts"
    return None


def recurrent(config: Any) -> bool:
    """Return whether layers keep a state that cannot be cut to fewer positions, as in Mamba and RWKV."""
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return bool(getattr(kind, "_is_stateful", False))


def experts(config: Any) -> int:
    """Return how many experts a layer has; 0 if it has none."""
    text = config.get_text_config()
    keys = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    return next((int(count) for key in keys if (count := getattr(text, key, None))), 0)
