"""The backend `continuous`: transformers' continuous batching, which starts a new prompt when one is done.

Every step computes as many tokens as possible, without padding, over a paged cache. It is designed for attention that
reads such pages (flash attention on CUDA). It works with other attention too, also on the CPU, but slowly.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from lada.core.errors import InputError, LadaError
from lada.core.plural import counted
from lada.core.seeds import seed_of
from lada.models.decoding import bare
from lada.models.generation import Continuation, GenerationRequest, SamplingParams

FLASH_PAGE, PAGE = 256, 32
"""Tokens per page of the cache. Flash attention accepts no smaller pages; other attention reads masks as wide as the
pages."""
PREFILL = 1024
"""The most tokens that one step computes, unless more streams than that are active."""


def continue_streams(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams
) -> Iterator[dict[int, Continuation]]:
    """See Backend. Stop texts are cut afterwards, since transformers does not know them here and writes on.

    Raises InputError if it does not support the model, LadaError if it fails on the way.
    """
    if not streams:
        return
    model = bare(model)
    if not model._can_set_attn_implementation():  # it would compute its own attention, not over pages
        raise _refusal(model, "its attention cannot be replaced")
    with torch.random.fork_rng():  # it seeds and uses the global generator
        yield from _serve(model, streams, params)


def _serve(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams
) -> Iterator[dict[int, Continuation]]:
    paging = paging_of(streams, params, flash="flash" in model.config._attn_implementation)
    try:
        manager = model.init_continuous_batching(
            generation_config=settings_of(params), continuous_batching_config=paging
        )
    except (ValueError, AttributeError) as error:
        raise _refusal(model, error) from error
    # All prompts are there before the first step, so that every run forms the same batches.
    names = {
        manager.add_request(list(stream.prompt), max_new_tokens=stream.max_new_tokens): number
        for number, stream in enumerate(streams)
    }
    manager.start()
    try:
        while names:
            result = manager.get_result(timeout=1)
            if result is None:
                if not manager.is_running():
                    raise LadaError(f"continuous batching stopped with {counted(len(names), 'answer')} to go")
            elif result.error is not None:
                raise LadaError(f"continuous batching failed: {result.error}")
            elif result.is_finished():
                log_probs = np.array(result.logprobs, np.float32)
                yield {names.pop(result.request_id): Continuation(list(result.generated_tokens), log_probs)}
    finally:
        manager.stop(block=True, hard_stop=bool(names))
        manager.destroy()


def settings_of(params: SamplingParams) -> GenerationConfig:
    """Return the generation settings in transformers' form."""
    encoder, sampled = params.encoder, params.temperature > 0
    chosen = {"temperature": params.temperature, "top_k": params.generation.top_k, "top_p": params.generation.top_p}
    return GenerationConfig(
        do_sample=sampled, eos_token_id=list(encoder.ends), pad_token_id=encoder.pad, **(chosen if sampled else {})
    )


def paging_of(streams: Sequence[GenerationRequest], params: SamplingParams, *, flash: bool) -> ContinuousBatchingConfig:
    """Return a cache with pages for as many of the longest streams as may be active at once."""
    page = FLASH_PAGE if flash else PAGE
    generation = params.generation
    longest = max(len(stream.prompt) + stream.max_new_tokens for stream in streams)
    at_once = min(params.batch_size, len(streams))
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=at_once * (math.ceil(longest / page) + 1),
        max_batch_tokens=max(at_once, PREFILL),
        max_requests_per_batch=at_once,
        auto_switch_to_flash=False,  # the model keeps its configured attention
        # It reports the scores that it samples by; if asked for them, its greedy choice would use other, rounded
        # numbers.
        return_logprobs=params.temperature == 1 and generation.top_k is None and generation.top_p is None,
        seed=seed_of("continuous", *streams[0].address) % 2**32,
    )


def _refusal(model: Any, reason: object) -> InputError:
    return InputError(
        f"model.generation.backend: 'continuous' does not support {type(model).__name__}: {reason}; set backend: batch"
    )
