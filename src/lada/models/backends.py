"""The backends that write answers: the project's own batch loop, transformers' continuous batching, and vLLM."""

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
"""Called as `backend(model, streams, params)`; yields the written text of each stream, by its index.

Ids may continue after the end of an answer. Runs within inference mode.
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
    """Return the text written for each stream, as a row to judge, and its likelihood if generation gave it.

    `on_done(streams, tokens)` receives how many streams are done and how many tokens they took.

    Greedy texts are the same with every backend, except for rounding. Sampled texts are reproducible with the same
    backend, streams and batch size. With `batch`, each is drawn from its own address only, so neighbours and batch size
    change it only by rounding. Rounding is reproducible on one kind of CPU.
    """
    params = SamplingParams(encoder, options.batch_size, temperature, options.generation, halving, company)
    read: dict[int, tuple[Written, Encoded, Likelihood | None]] = {}
    for part in pick_backend(options.generation)(model, streams, params):
        for number, each in part.items():
            written = encoder.read(each.ids, options.generation.stop, streams[number].begun)
            row = encoder.pair(streams[number].question, written.text)
            read[number] = written, row, each.likelihood(streams[number].prompt, row, encoder.eos)
        on_done(len(read), sum(len(each.ids) for each in part.values()))
    return [read[number] for number in range(len(streams))]


def pick_backend(generation: Generation) -> Backend:
    """Return the backend. Raises InputError if its package is not installed or too old."""
    check_backend(generation)
    if generation.backend == "continuous":
        from lada.models.continuous import continue_streams

        return continue_streams
    if generation.backend == "vllm":
        from lada.models.vllm_engine import run_engine

        return run_engine
    from lada.models.decoding import decode_in_batches

    return decode_in_batches
