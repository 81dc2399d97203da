"""Derives a model's memory from its shape: counts on the meta device, and in a forward pass over fake tensors."""

import copy
import warnings
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lada.core.errors import InputError
from lada.models.adapters import adapted_share, with_adapter
from lada.models.encoding import context_of
from lada.models.kept import kept_by
from lada.models.masters import NARROW
from lada.models.memory import SHAPING, Load, MemoryEstimate, Trace, estimate_of
from lada.models.options import ModelOptions

QUANTISED = {"8bit": 1.0, "4bit": 0.5 + 1 / 64 + 4 / 64 / 256}
"""Bytes of a quantised weight: NF4 stores an 8-bit scale for 64 weights, and a float32 for 256 of these scales."""


def estimate(config: Any, options: ModelOptions, dtype: torch.dtype, load: Load) -> MemoryEstimate:
    """Return the memory estimate of a model with this configuration (of `transformers`) and these options.

    Raises InputError if a forward pass is impossible with the model's shape alone.
    """
    return estimate_of(trace(config, options, dtype, load.prompt, load.completion), options, load.rows)


def trace(config: Any, options: ModelOptions, dtype: torch.dtype, prompt: int, completion: int) -> Trace:
    """Return the trace of a model with this configuration (of `transformers`) and these options, with the longest
    prompt and completion in tokens.

    Raises InputError if a forward pass is impossible with the model's shape alone.
    """
    try:
        length = min(prompt + completion, context_of(config))
        if options.quantise is not None:  # persistent weights, and numbers between layers, are then float32
            dtype = torch.float32
        return _trace(
            _Shape(config), options.model_dump_json(include=set(SHAPING)), dtype, length, min(completion, length)
        )
    except InputError:
        raise
    except Exception as error:  # a model's code may raise anything on shapes without numbers
        raise InputError(
            f"model: the memory of a {config.model_type} cannot be told from its shape: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error


class _Shape:
    """A configuration as a cache key: it equals other configurations with the same content."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self._told = config.to_json_string(use_diff=False)

    def __hash__(self) -> int:
        return hash(self._told)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self._told == other._told


@cache
def _trace(shape: _Shape, shaping: str, dtype: torch.dtype, length: int, completion: int) -> Trace:
    config, adapted = copy.deepcopy(shape.config), None
    options = ModelOptions.model_validate_json(shaping)
    eager = {"attn_implementation": "eager"} if options.attention == "eager" else {}
    with torch.device("meta"), warnings.catch_warnings(action="ignore"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False, **eager)
        kept, copies = kept_by(model.train(), length, completion)
        weights = _weight_bytes(model, options.quantise)
        working = kept // int(config.get_text_config().num_hidden_layers)
        if options.tune == "lora":
            model = with_adapter(model, options, 0, None)
            adapted = adapted_share(model)
            weights += sum(p.nbytes for p in model.parameters() if p.requires_grad)
        every = list(model.parameters())  # counted first, since experts with an adapter lose them during a run
        if options.tune == "lora":
            kept, copies = kept_by(model.train(), length, completion)
    trained = [p for p in every if p.requires_grad]
    text = config.get_text_config()
    return Trace(
        parameters=sum(p.numel() for p in every),
        trainable=sum(p.numel() for p in trained),
        adapted=adapted,
        weights=weights,
        masters=sum(p.numel() for p in trained if p.dtype in NARROW) * torch.float32.itemsize,
        kept=kept,
        copies=copies,
        working=working,
        itemsize=dtype.itemsize,
        length=length,
        completion=completion,
        layers=int(text.num_hidden_layers),
        width=getattr(text, "hidden_size", None),
        vocabulary=int(text.vocab_size),
        cached=_cached(text),
    )


def _cached(text: Any) -> int:
    """Return how many numbers a model stores as the keys of a token, and as many as its values; over all its layers."""
    layers = int(text.num_hidden_layers)
    each = getattr(text, "per_layer_config", None)  # in some models, layers differ
    return sum(_heads(each[i]) for i in range(layers)) if each else layers * _heads(text)


def _heads(layer: Any) -> int:
    heads = getattr(layer, "num_key_value_heads", None) or getattr(layer, "num_attention_heads", 0)
    if not heads:
        return 0
    return heads * (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)


def _weight_bytes(model: Any, quantise: str | None) -> int:
    """Return the bytes of all weights; bitsandbytes does not quantise the output layer and nonlinear layers."""
    total = sum(p.nbytes for p in model.parameters())
    if quantise is None:
        return total
    head = model.get_output_embeddings()
    linear = [m.weight for m in model.modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head]
    return total + round(sum(weight.numel() * QUANTISED[quantise] - weight.nbytes for weight in linear))
