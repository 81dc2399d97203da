"""The backend `vllm`: a separate engine, built from the current weights.

A learner studies between its answers. An engine that outlives a call would answer with old weights, and hold memory
that a study or another party needs. So each call saves the weights, with a LoRA adapter merged into them, builds an
engine, and frees it. The start takes time, so this pays off for many questions or large models.
"""

import copy
import gc
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from lada.core.seeds import seed_of
from lada.models.adapters import merged
from lada.models.generation import Continuation, GenerationRequest, SamplingParams

SHARE = 0.9
"""The share of the GPU's free memory, next to the model itself and other parties, that the engine may use."""


def run_engine(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams
) -> Iterator[dict[int, Continuation]]:
    """See Backend. With vLLM's prefix cache, a prompt that several streams share is read only once."""
    if not streams:
        return
    vllm: Any = import_module("vllm")
    with TemporaryDirectory(prefix="lada-vllm-") as folder:
        save_merged(model, params.encoder.tokenizer, Path(folder))
        engine = vllm.LLM(model=folder, **engine_options(model, params))
        try:
            replies = engine.generate(
                [{"prompt_token_ids": list(stream.prompt)} for stream in streams],
                [vllm.SamplingParams(**sampling_options(stream, params)) for stream in streams],
                use_tqdm=False,
            )
            written = {number: _continuation(reply.outputs[0]) for number, reply in enumerate(replies)}
        finally:
            del engine
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    yield written


def _continuation(output: Any) -> Continuation:
    ids = list(output.token_ids)
    told = [place[token].logprob for token, place in zip(ids, output.logprobs, strict=True)]
    return Continuation(ids, np.array(told, np.float32))


def save_merged(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model that any engine can read. An adapter is merged in a copy, since merging and unmerging changes
    rounding."""
    if hasattr(model, "merge_and_unload"):
        model = merged(copy.deepcopy(model))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def engine_options(model: Any, params: SamplingParams) -> dict[str, Any]:
    """Return the arguments of vllm.LLM except `model`."""
    options = {
        "dtype": str(model.dtype).removeprefix("torch."),
        "max_model_len": params.encoder.context,
        "max_num_seqs": params.batch_size,
        "generation_config": "vllm",  # a model's own settings must not change the text
        "logprobs_mode": "raw_logprobs",  # before temperature, top_k and top_p
        "seed": 0,
    }
    if model.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(model.device)
        options["gpu_memory_utilization"] = SHARE * free / total
    return options


def sampling_options(stream: GenerationRequest, params: SamplingParams) -> dict[str, Any]:
    """Return the arguments of vllm.SamplingParams for one stream."""
    options: dict[str, Any] = {
        "max_tokens": stream.max_new_tokens,
        "logprobs": 0,  # only of the tokens that are written
        "temperature": params.temperature,
        "stop": [*params.generation.stop, *params.encoder.stop],
        "stop_token_ids": list(params.encoder.ends),
    }
    if params.temperature > 0:
        options["seed"] = seed_of(*stream.address)
        chosen = {"top_k": params.generation.top_k, "top_p": params.generation.top_p}
        options |= {name: value for name, value in chosen.items() if value is not None}
    return options
