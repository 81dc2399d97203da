"""Target `onnx`: one decoding step with its key-value cache as a graph for ONNX Runtime.

The inputs are `input_ids` and `position_ids` [batch, sequence], `attention_mask` [batch, past + sequence] and, for each
layer, `past_key_values.N.key` and `.value` [batch, heads, past, size], empty at first; the outputs `logits` [batch,
sequence, vocabulary] and `present.N.key` and `.value`, the next step's past. Batch, sequence and past are of any size.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.export.check import Check, Start, Step, Trial, compare
from lada.export.hf import save_settings, tokenised
from lada.export.kinds import unusual
from lada.export.target import Parcel, Target, quiet, require

FILE = "model.onnx"
LARGE = 1_500_000_000
"""From this many bytes on, weights are stored in a file next to the graph: a protobuf holds at most 2 GiB."""


class _Step(torch.nn.Module):
    """A causal LM as a function of tensors only."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        # Bloom uses ALiBi instead of positions: it counts the attention mask.
        self.positions = model.config.model_type != "bloom"

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        places = {"position_ids": positions} if self.positions else {}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **places)
        return (out.logits, *_flat(out.past_key_values))


def _flat(cache: Any) -> list[Tensor]:
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def known(config: Any) -> None:
    """Raise InputError if a package is missing or torch.onnx cannot trace this kind of model."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "onnx")
    if told := unusual(config):
        raise InputError(
            f"export: onnx has no {config.model_type!r} here, {told}; expected plain layers, or export to hf"
        )


def ready(model: Any, _: Any) -> None:
    """Raise InputError if the model's cache is not one key and one value per layer."""
    past = _example_past(model)
    if past is None or any(tensor.dim() != 4 or tensor.shape[2] != 3 for tensor in past):
        raise InputError(
            f"export: the cache of {type(model).__name__} is not one key and one value for each layer and position; "
            "expected plain attention, so export to hf"
        )


@torch.inference_mode()
def _example_past(model: Any) -> list[Tensor] | None:
    """Return a cache of two sequences of three tokens; None if the model has no cache of this form."""
    ids = torch.zeros((2, 3), dtype=torch.long)
    try:
        cache = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True).past_key_values
    except Exception:  # what a hundred architectures raise has no common base
        return None
    if not isinstance(cache, DynamicCache) or not all(hasattr(layer, "keys") for layer in cache.layers):
        return None
    return _flat(cache)


def write(parcel: Parcel) -> tuple[str, ...]:
    """Write the graph, config.json, the tokenizer and generation settings."""
    parcel.tell("files written", 0, 1)
    model = parcel.model.to(parcel.dtype)
    past = _example_past(model)
    assert past is not None
    parts = [f"{layer}.{part}" for layer in range(len(past) // 2) for part in ("key", "value")]
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    steps = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings(), quiet("torch.onnx"), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                _Step(model),
                (
                    torch.zeros((2, 4), dtype=torch.long),
                    torch.ones((2, 7), dtype=torch.long),
                    torch.arange(3, 7).repeat(2, 1),
                    [tensor.clone() for tensor in past],
                ),
                parcel.output / FILE,
                input_names=["input_ids", "attention_mask", "position_ids", *(f"past_key_values.{p}" for p in parts)],
                output_names=["logits", *(f"present.{part}" for part in parts)],
                dynamo=True,
                dynamic_shapes=(steps, {0: "batch", 1: "total"}, steps, [{0: "batch", 2: "past"} for _ in past]),
                external_data=size > LARGE,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise InputError(
                f"export: torch.onnx cannot follow {type(model).__name__} ({reason(cause)}); export to hf"
            ) from error
    model.config.save_pretrained(parcel.output)
    notes = save_settings(parcel)
    parcel.tell("files written", 1, 1)
    return notes


def session_start(file: Path) -> Start:
    """Return ONNX Runtime on the CPU as a runtime."""
    session = require("onnxruntime", "onnx").InferenceSession(file, providers=["CPUExecutionProvider"])
    pasts = [entry for entry in session.get_inputs() if entry.name.startswith("past_key_values.")]
    kind = np.float16 if pasts[0].type == "tensor(float16)" else np.float32

    def start() -> Step:
        state = {entry.name: np.zeros((1, entry.shape[1], 0, entry.shape[3]), kind) for entry in pasts}
        seen = 0

        def step(ids: Sequence[int]) -> np.ndarray:
            nonlocal seen
            places = np.arange(seen, seen + len(ids), dtype=np.int64)[None]
            seen += len(ids)
            given = {
                "input_ids": np.array([list(ids)], np.int64),
                "attention_mask": np.ones((1, seen), np.int64),
                "position_ids": places,
            }
            logits, *presents = session.run(None, {**given, **state})
            state.update(zip(state, presents, strict=True))
            return logits[0, -1].astype(np.float32)

        return step

    return start


def check(parcel: Parcel, trial: Trial) -> Check:
    """Run the trial in ONNX Runtime."""
    runtime = f"ONNX Runtime {require('onnxruntime', 'onnx').__version__}"
    count = tokenised(parcel, trial)
    return compare(trial, session_start(parcel.output / FILE), runtime, count)


ONNX = Target(("float32", "float16"), known, ready, write, check)
