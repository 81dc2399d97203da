"""What writes answers: the project's own loop in batches, transformers' continuous batching, or vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lada.core.terms import Likelihood
from lada.models.encoding import Company, Encoded, Encoder, Written
from lada.models.generation import Continuation, GenerationRequest, SamplingParams
from lada.models.halving import Halving
from lada.models.options import Generation, ModelOptions
from lada.models.placement import check_backend

Backend = Callable[[Any, Sequence[GenerationRequest], SamplingParams], Iterator[dict[int, Continuation]]]
"""Called as `backend(model, streams, params)`: yields what was written, by the index of its stream.

Ids may go on behind what ends an answer. Within inference mode.
"""


def write(
    model: Any,
    encoder: Encoder,
    streams: Sequence[GenerationRequest],
    options: ModelOptions,
    temperature: float,
    halving: Halving,
    company: Company,
    on_done: Callable[[int, int], None],
) -> list[tuple[Written, Encoded, Likelihood | None]]:
    """Return what was written for each stream, as a row to judge, and its likelihood where writing it has told.

    `on_done(streams, tokens)` is given how many are done and what they took.

    Greedy texts are the same with every backend but for rounding. Sampled ones repeat with the same backend, streams
    and batch size; with `batch` each is drawn from its own address alone, so that neither its neighbours nor the batch
    size change it but by rounding. Rounding repeats on one kind of CPU.
    """
    params = SamplingParams(encoder, options.batch_size, temperature, options.generation, halving, company)
    read: dict[int, tuple[Written, Encoded, Likelihood | None]] = {}
    for part in pick_backend(options.generation)(model, streams, params):
        for number, each in part.items():
            written = encoder.read(each.ids, options.generation.stop)
            row = encoder.pair(streams[number].question, written.text)
            read[number] = written, row, each.likelihood(streams[number].prompt, row, encoder.eos)
        on_done(len(read), sum(len(each.ids) for each in part.values()))
    return [read[number] for number in range(len(streams))]


def pick_backend(generation: Generation) -> Backend:
    """Return the backend. Raises InputError where its package is not installed, or too old."""
    check_backend(generation)
    if generation.backend == "continuous":
        from lada.models.continuous import continue_streams

        return continue_streams
    if generation.backend == "vllm":
        from lada.models.vllm_engine import run_engine

        return run_engine
    from lada.models.decoding import decode_in_batches

    return decode_in_batches
