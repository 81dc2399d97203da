"""The backend `continuous`: transformers' continuous batching, where a prompt takes the place of one that is done.

Every step computes as many tokens as there is work for, without padding, over a cache in pages. It is made for
attention that reads such pages (flash attention on CUDA); with others it works as well, on the CPU too, and is slow.
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
"""Tokens in a page of the cache; flash attention takes no smaller ones, and others read masks as wide as the pages."""
PREFILL = 1024
"""Tokens that one step computes at most, unless more streams than that are in the making."""


def continue_streams(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams
) -> Iterator[dict[int, Continuation]]:
    """See Backend. Stop texts are cut behind, since transformers does not know them here: what follows them is written.

    Raises InputError for a model that it cannot serve, LadaError where it fails on the way.
    """
    if not streams:
        return
    model = bare(model)
    if not model._can_set_attn_implementation():  # it would compute its own attention, and none over pages
        raise _refusal(model, "its attention cannot be exchanged")
    with torch.random.fork_rng():  # it seeds and draws from the generator that is everybody's
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
    # All are there before the first step, so that no two runs form other batches.
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
    """Return transformers' form of how tokens are chosen."""
    encoder, sampled = params.encoder, params.temperature > 0
    chosen = {"temperature": params.temperature, "top_k": params.generation.top_k, "top_p": params.generation.top_p}
    return GenerationConfig(
        do_sample=sampled, eos_token_id=list(encoder.ends), pad_token_id=encoder.pad, **(chosen if sampled else {})
    )


def paging_of(streams: Sequence[GenerationRequest], params: SamplingParams, *, flash: bool) -> ContinuousBatchingConfig:
    """Return a cache with pages for as many of the longest streams as may be in the making at once."""
    page = FLASH_PAGE if flash else PAGE
    generation = params.generation
    longest = max(len(stream.prompt) + stream.max_new_tokens for stream in streams)
    at_once = min(params.batch_size, len(streams))
    return ContinuousBatchingConfig(
        page_size=page,
        num_blocks=at_once * (math.ceil(longest / page) + 1),
        max_batch_tokens=max(at_once, PREFILL),
        max_requests_per_batch=at_once,
        auto_switch_to_flash=False,  # the model keeps the attention that it was configured with
        # What it tells is what it draws by, and greedily it would choose by other, rounded numbers if it were to tell.
        return_logprobs=params.temperature == 1 and generation.top_k is None and generation.top_p is None,
        seed=seed_of("continuous", *streams[0].address) % 2**32,
    )


def _refusal(model: Any, reason: object) -> InputError:
    return InputError(
        f"model.generation.backend: 'continuous' does not support {type(model).__name__}: {reason}; set backend: batch"
    )
