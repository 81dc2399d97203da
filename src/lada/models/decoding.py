"""The backend `batch`: one decoding loop over a cache of keys and values that drops finished rows.

The result must not change: greedy ids equal those of transformers' `generate`, which keeps every row until the last one
is done.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from lada.models.cache import roomy_cache
from lada.models.encoding import Encoded, buckets, pad_left
from lada.models.generation import Continuation, GenerationRequest, SamplingParams
from lada.models.head import head_sees, last
from lada.models.record import Record
from lada.models.sampling import Chooser

Choose = Callable[[Tensor, Sequence[int], int], Tensor]
"""Called as `choose(logits, streams, step)`; see Chooser."""


def decode_in_batches(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams
) -> Iterator[dict[int, Continuation]]:
    """See Backend; streams of similar length share a batch."""
    batches = buckets([len(stream.prompt) for stream in streams], params.batch_size, params.company)
    for batch, written in params.halving.each(
        "answer", batches, lambda rows: decode(model, [streams[i] for i in rows], params)
    ):
        yield dict(zip(batch, written, strict=True))


def decode(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams, choose: Choose | None = None
) -> list[Continuation]:
    """Return the text written for each stream, all in one batch; with None, tokens are chosen as `params` say."""
    model = bare(model)
    way = decode_dropping if can_drop_rows(model) else decode_keeping
    return way(model, streams, params, choose)


def bare(model: Any) -> Any:
    """Return the inner model, with its LoRA layers but without peft's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def can_drop_rows(model: Any) -> bool:
    """Return whether a model's state is a DynamicCache that is passed in, and its inputs are the usual ones.

    Every layer of such a cache, including attention within a window and recurrent states, can be reordered for beam
    search, and an order may omit rows. Models with another kind of state (Mamba, RWKV), or with their own preparation
    of inputs, cannot.
    """
    accepted = inspect.signature(type(model).forward).parameters
    default: Any = GenerationMixin
    return (
        type(model).prepare_inputs_for_generation is default.prepare_inputs_for_generation
        and not model.config.is_encoder_decoder
        and {"past_key_values", "attention_mask"} <= set(accepted)
        and model._supports_default_dynamic_cache()
    )


def decode_dropping(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams, choose: Choose | None = None
) -> list[Continuation]:
    """Return the text written for each stream; a prompt that several streams share is read once. See
    `can_drop_rows`."""
    prompts = {prompt: row for row, prompt in enumerate(dict.fromkeys(stream.prompt for stream in streams))}
    rows = _Rows(model, list(prompts), params.encoder.pad)
    rows.select([prompts[stream.prompt] for stream in streams])
    choose = choose or _chooser(streams, params)
    record = Record(params.encoder.eos)
    written: list[list[int]] = [[] for _ in streams]
    alive, step = list(range(len(streams))), 0
    while alive:
        tokens = choose(rows.logits, alive, step)
        record.add(rows.logits, tokens, alive)
        for i, token in zip(alive, tokens.tolist(), strict=True):
            written[i].append(token)
        kept = [row for row, i in enumerate(alive) if not params.over(written[i], streams[i])]
        if len(kept) < len(alive):
            rows.select(kept)
            tokens, alive = tokens[kept], [alive[row] for row in kept]
        if alive:
            rows.advance(tokens)
        step += 1
    return record.continuations(written, [stream.max_new_tokens for stream in streams])


class _Rows:
    """The active rows. `logits` [n, vocabulary] are of the next token."""

    def __init__(self, model: Any, prompts: Sequence[tuple[int, ...]], pad: int) -> None:
        accepted = inspect.signature(type(model).forward).parameters
        self._model = model
        self._cache = roomy_cache(model.config)
        self._takes_positions = "position_ids" in accepted  # other models derive them from the attention mask
        ids, self._seen = pad_left([Encoded(prompt) for prompt in prompts], pad, model.device)
        self._forward(ids, (self._seen.cumsum(1) - 1).clamp(min=0))

    def select(self, rows: list[int]) -> None:
        """Keep these rows in this order; a row may be taken several times."""
        if rows == list(range(len(self._seen))):
            return
        index: Any = torch.tensor(rows, dtype=torch.long, device=self._seen.device)
        self._cache.reorder_cache(index)
        self._seen = self._seen[index]
        self.logits = self.logits[index.to(self.logits.device)]

    def advance(self, tokens: Tensor) -> None:
        """Append one token [n] to each row."""
        self._seen = torch.nn.functional.pad(self._seen, (0, 1), value=1)
        self._forward(tokens[:, None].to(self._seen.device), self._seen.sum(1, keepdim=True) - 1)

    def _forward(self, ids: Tensor, positions: Tensor) -> None:
        told = {"position_ids": positions} if self._takes_positions else {}
        with head_sees(self._model, last):
            result = self._model(
                input_ids=ids, attention_mask=self._seen, past_key_values=self._cache, use_cache=True, **told
            )
        self.logits: Tensor = result.logits[:, -1]


def decode_keeping(
    model: Any, streams: Sequence[GenerationRequest], params: SamplingParams, choose: Choose | None = None
) -> list[Continuation]:
    """Return the text written for each stream by transformers' `generate`, which supports every model.

    Tokens are chosen, and streams end, as in `decode_dropping`.
    """
    ids, seen = pad_left([Encoded(stream.prompt) for stream in streams], params.encoder.pad, model.device)
    over, own, record = _Over(streams, params), model.generation_config, Record(params.encoder.eos)
    # A model's own settings, such as a repetition penalty, must not change the text.
    model.generation_config = GenerationConfig(eos_token_id=list(params.encoder.ends), pad_token_id=params.encoder.pad)
    try:
        chosen = _Chosen(choose or _chooser(streams, params), record, len(streams), ids.shape[1])
        with head_sees(model, last):
            model.generate(
                input_ids=ids,
                attention_mask=seen,
                max_new_tokens=max(map(params.most, streams)),
                do_sample=False,
                logits_processor=LogitsProcessorList([chosen]),
                stopping_criteria=StoppingCriteriaList([over]),
            )
    finally:
        model.generation_config = own
    return record.continuations(over.chosen, [stream.max_new_tokens for stream in streams])


class _Chosen(LogitsProcessor):
    """Leaves `generate` only the token that is chosen here."""

    def __init__(self, choose: Choose, record: Record, count: int, width: int) -> None:
        self._choose, self._record, self._streams, self._width = choose, record, range(count), width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        tokens = self._choose(scores, self._streams, input_ids.shape[1] - self._width)
        self._record.add(scores, tokens, self._streams)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


class _Over(StoppingCriteria):
    """Tells `generate` which rows are done, and keeps the tokens `chosen` for each until then."""

    def __init__(self, streams: Sequence[GenerationRequest], params: SamplingParams) -> None:
        self.chosen: list[list[int]] = [[] for _ in streams]
        self._streams, self._manner = streams, params
        self._done = [False] * len(streams)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self._done[row]:
                self.chosen[row].append(token)
                self._done[row] = self._manner.over(self.chosen[row], self._streams[row])
        return torch.tensor(self._done, device=input_ids.device)


def _chooser(streams: Sequence[GenerationRequest], params: SamplingParams) -> Chooser:
    most = max(map(params.most, streams))
    return Chooser([stream.address for stream in streams], most, params.temperature, params.generation)
