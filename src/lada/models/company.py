"""Tests once, when a model is loaded, whether it answers and judges in a batch as it does alone.

Most models ignore padding. Those that do not (a recurrent state, positions that count the padding, attention in blocks)
would silently answer a question differently depending on its neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.models.decoding import decode
from lada.models.encoding import Company, Encoded, Encoder
from lada.models.generation import GenerationRequest, SamplingParams
from lada.models.halving import is_out_of_memory
from lada.models.likelihood import log_probs_at, token_log_probs
from lada.models.options import Generation

TEXT = "How many boxes are left? There were 7, and 4 more came: 7 + 4 = 11. We gave 6 away, so 11 - 6 = 5 are left."
LENGTHS, STEPS = (24, 17, 11, 7), 3
"""The lengths of the prompts that share a batch, and the number of tokens written after each."""
WINDOWS, WIDEST = ("block", "chunk", "compress", "window"), 256
"""Keys of a configuration whose numbers, up to the widest, are lengths at which a model's computation changes."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
COARSE = 0.2
"""Differences that count as rounding, as shares of the standard deviation; the second is for shorter floats."""


@dataclass(frozen=True, slots=True)
class Batching:
    """Which rows may share a batch when prompts are continued (`answer`) and when texts are read (`judge`)."""

    answer: Company = "any"
    judge: Company = "any"
    causal: bool = True
    """Whether the prediction of a token does not depend on later tokens."""
    told: bool = True
    """Whether the prediction of a token is the same when it is written and when it is read."""

    def notices(self) -> tuple[str, ...]:
        """Return notices for the user."""
        notices = [
            f"{verb}: in a batch with padding it would give other results than alone, so {_SAID[company]}"
            for verb, company in (("answer", self.answer), ("judge", self.judge))
            if company != "any"
        ]
        if not self.causal:
            notices.append(
                "it sees the tokens after the one that it predicts, so likelihoods and lessons mean little; expected "
                "a causal model, with is_decoder: true in its config.json if it knows that key"
            )
        return tuple(notices)


_SAID = {
    "equal": "only texts of equal length share a batch, which is slower",
    "none": "each text is alone, which is slower",
}


@torch.inference_mode()
def try_batching(model: Any, encoder: Encoder, generation: Generation) -> Batching:
    """Return which batches give the same results as single rows, tested on prompts of different lengths.

    This draws no random numbers and changes nothing. Raises InputError if the model cannot be run on text alone.
    """
    rows = _prompts(model, encoder)
    if not rows:
        return Batching()
    cuda = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):  # some draw random numbers even without sampling
            judge = _judging(model, encoder)
            long, *_, short = alone = [judge([row]) for row in rows]
            causal = _same(long[:, : short.shape[1]], short, model.dtype)
            judged = _company(judge, rows, alone, model.dtype)
            if generation.backend != "batch":
                return Batching("any", judged, causal, causal)
            tokens = rows[0][:STEPS]
            write = _writing(model, encoder, tokens)
            written = [write([row]) for row in rows]
            columns = torch.tensor(tokens, device=written[0].device)[:, None]
            told = torch.cat([log_probs_at(each.view(STEPS, -1), columns)[0].T for each in written])
            read, _ = token_log_probs(model, [Encoded(row, tokens) for row in rows], encoder.pad, judged)
            agree = causal and _same(told, read, model.dtype)
            return Batching(_company(write, rows, written, model.dtype), judged, causal, agree)
    except InputError:
        raise
    except Exception as error:  # errors of a model's code that expects images or sounds
        if is_out_of_memory(error):
            raise
        raise InputError(
            f"model: {type(model).__name__} cannot be run on text alone: {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0]}; expected a causal language model"
        ) from error


def _prompts(model: Any, encoder: Encoder) -> list[tuple[int, ...]]:
    """Return prompts, longest first, and one as long as the last; none if there is no room.

    The last prompt is the beginning of the longest.
    """
    ids = [index for index in encoder.completion(TEXT) if index not in encoder.ends]
    most, *rest = LENGTHS
    most = min(max([most, *(width + rest[-1] for width in _widths(model.config.to_dict()))]), encoder.context - STEPS)
    if len(ids) < rest[-1] or most <= rest[0]:
        return []
    long = tuple(ids[i % len(ids)] for i in range(most))
    return [long, *(long[-length:] for length in rest), long[: rest[-1]]]


def _widths(values: dict[str, Any], named: bool = False) -> list[int]:
    """Return the lengths in a configuration at which a model's computation changes; see WINDOWS."""
    found = []
    for key, value in values.items():
        counts = named or any(word in str(key) for word in WINDOWS)
        if isinstance(value, dict):
            found += _widths(value, counts)
        elif counts and type(value) is int and value <= WIDEST:
            found.append(value)
    return found


Run = Callable[[Sequence[tuple[int, ...]]], Tensor]
"""Takes prompts that share a batch and returns numbers [prompts, ...], float32."""


def _judging(model: Any, encoder: Encoder) -> Run:
    def run(prompts: Sequence[tuple[int, ...]]) -> Tensor:
        return token_log_probs(model, [Encoded(ids[:1], ids[1:]) for ids in prompts], encoder.pad)[0]

    return run


def _writing(model: Any, encoder: Encoder, tokens: Sequence[int]) -> Run:
    """Return a function that writes the same `tokens` after each prompt and returns the logits for each choice."""

    def run(prompts: Sequence[tuple[int, ...]]) -> Tensor:
        seen: list[Tensor] = []

        def choose(logits: Tensor, streams: Sequence[int], step: int) -> Tensor:
            seen.append(logits.float())
            return torch.full((len(streams),), tokens[step], device=logits.device)

        params = SamplingParams(encoder, len(prompts), 0.0, Generation())
        max_new_tokens = len(tokens) - 1  # the last is dropped; see SamplingParams.most
        decode(model, [GenerationRequest(prompt, max_new_tokens, ()) for prompt in prompts], params, choose)
        return torch.stack(seen, 1).flatten(1)

    return run


def _company(run: Run, rows: Sequence[tuple[int, ...]], alone: Sequence[Tensor], dtype: torch.dtype) -> Company:
    def agree(batch: slice) -> bool:
        found = run(rows[batch])
        pairs = zip(found, alone[batch], strict=True)
        return all(_same(row[None, : single.shape[1]], single, dtype) for row, single in pairs)

    if agree(slice(0, -1)):
        return "any"
    return "equal" if agree(slice(-2, None)) else "none"


def _same(batched: Tensor, alone: Tensor, dtype: torch.dtype) -> bool:
    """Return whether two results differ only by rounding; also true if there is only NaN to compare."""
    spread, gap = alone.std(), (batched - alone).square().mean().sqrt()
    return bool(spread.isnan() or gap <= TOLERANCE.get(dtype, COARSE) * spread)
