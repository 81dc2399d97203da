"""Translates one learner's scores of a text's tokens to the tokens of another vocabulary."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lada.alignment.spans import Spans, align_spans, first_fault
from lada.core.errors import InputError
from lada.core.plural import counted
from lada.core.terms import SparseLogProbs, TokenScores

Inside = Literal["mask", "one_hot"]
Text = tuple[TokenScores, np.ndarray, np.ndarray]
"""A source's scores of one text, and the target's tokens of it, int32 [m], with their byte offsets, int32 [m, 2]."""

_ROWS = 2**12
"""How many rows are processed at once, so that they stay in the processor's cache."""
_EXCESS, _EXCESS_MASS = 1e-4, 1e-3


def carry(
    scores: TokenScores,
    mapping: np.ndarray,
    target_tokens: np.ndarray,
    target_offsets: np.ndarray,
    spans: Spans | None = None,
    inside: Inside = "mask",
) -> SparseLogProbs:
    """Return the result of `carry_batch` for one text."""
    return carry_batch([(scores, target_tokens, target_offsets)], mapping, spans, inside)[0]


def carry_batch(
    texts: Sequence[Text], mapping: np.ndarray, spans: Spans | None = None, inside: Inside = "mask"
) -> list[SparseLogProbs]:
    """Return for each text the source's scores at each of the target's m tokens, [m, k] with the source's k.

    `mapping` int32 [source vocabulary] gives the target id of each source id. `spans` tells which tokens belong
    together; None aligns them by their byte offsets.

    - A target token that one source token matches gets its row: ids go through `mapping`, the source's own token to
      the target's own token whatever the map says, and source tokens that meet in one target token add up their mass.
    - A target token that covers several source tokens gets the first one's row, but its own token only the
      probability of all of them in turn (chain rule). What it thus loses is tail mass: the source would have gone
      on otherwise, but to which target token is not known.
    - Any other target token (inside a longer source token, in a span with several tokens on both sides, in no span)
      has no soft target; with `inside="one_hot"` it has its own token with log-prob 0.

    If `mapping` is the identity and a text has equal tokens and offsets on both sides, the source's rows are returned
    unchanged. One-to-one rows and "one_hot" are FedMKT's (arXiv 2406.02224), which lets the first source token that
    reaches a target token win instead of adding up. Merged rows follow GOLD (huggingface/trl); the mass that goes to
    the tail is our reading.

    The scores must satisfy `check_scores` for a vocabulary as long as `mapping`; log-probs above 0 count as 0. Raises
    InputError, naming text and position if possible, for a negative id, arrays of another shape, texts that differ in
    k, and offsets that cannot be aligned.
    """
    if mapping.ndim != 1 or mapping.dtype.kind not in "iu" or (mapping < 0).any():
        raise InputError("mapping: expected an id >= 0 of the target's vocabulary for each id of the source's")
    if not texts:
        return []
    for number, text in enumerate(texts):
        _check_shapes(number, text, texts[0][0].top.ids.shape[1])
    scores = [text[0] for text in texts]
    own_target = np.concatenate([tokens for _, tokens, _ in texts])
    own_source = np.concatenate([each.tokens for each in scores])
    ids = np.concatenate([each.top.ids for each in scores])
    log_probs = _capped(np.concatenate([each.top.log_probs for each in scores]))
    ends_source = np.cumsum([len(each.tokens) for each in scores])
    ends_target = np.cumsum([len(tokens) for _, tokens, _ in texts])

    by_offset = [each.offsets for each in scores], [offsets for _, _, offsets in texts]
    known = align_spans(*by_offset) if spans is None else spans
    whole = (known.target[:, 1] - known.target[:, 0]) == 1
    row = known.row[whole]
    first, past = known.source[whole].T + np.append(0, ends_source)[row]
    place = known.target[whole, 0] + np.append(0, ends_target)[row]
    own_place = (ids == own_source[:, None]).argmax(axis=1)
    chained = _range_sums(log_probs[np.arange(len(ids)), own_place], first, past)

    new_ids = np.zeros((len(own_target), ids.shape[1]), dtype=np.int32)
    new_log_probs = np.full(new_ids.shape, -np.inf, dtype=np.float32)
    if inside == "one_hot":
        new_ids[:, 0], new_log_probs[:, 0] = own_target, 0
    for start in range(0, len(place), _ROWS):
        part = slice(start, start + _ROWS)
        at, to = first[part], place[part]
        is_own = ids[at] == own_source[at, None]
        new_ids[to], new_log_probs[to] = _gathered(
            np.where(is_own, own_target[to, None], mapping[ids[at]]),
            np.where(is_own, chained[part, None], log_probs[at]),
        )

    results = [
        SparseLogProbs(*pair)
        for pair in zip(np.split(new_ids, ends_target[:-1]), np.split(new_log_probs, ends_target[:-1]), strict=True)
    ]
    if spans is None and np.array_equal(mapping, np.arange(len(mapping))):
        # Tokens without width and pieces of one character have no span, but here their match is known.
        for number, (each, tokens, offsets) in enumerate(texts):
            if np.array_equal(each.tokens, tokens) and np.array_equal(each.offsets, offsets):
                results[number] = SparseLogProbs(each.top.ids, _capped(each.top.log_probs))
    return results


def chunk_log_probs(log_probs: np.ndarray, spans: Spans, side: Literal["source", "target"]) -> np.ndarray:
    """Return one side's log-prob of the bytes of each span of a text, float32 [spans], nats.

    `log_probs` float [n] are those of the text's own tokens on that side; a span's log-prob is their sum, including
    tokens without width inside it. This is the signal of ALM (arXiv 2503.20083). Raises InputError if the spans are not
    of one text with n tokens.
    """
    ranges = spans.source if side == "source" else spans.target
    if len(spans) and (spans.row.any() or ranges.max() > len(log_probs)):
        raise InputError(
            f"spans: of {counted(int(spans.row.max()) + 1, 'text')}, with {side} positions up to "
            f"{int(ranges.max()) - 1}; "
            f"expected one text of {counted(len(log_probs), 'token')}"
        )
    return _range_sums(log_probs, *ranges.T)


def check_scores(scores: TokenScores, vocabulary_size: int) -> None:
    """Raise InputError ("position p: ...") for scores that no learner with this vocabulary can give.

    It refuses arrays of other shapes or kinds, ids outside the vocabulary or not ascending, offsets below 0 or going
    backwards, log-probs that are not finite or exceed 0 by more than 1e-4, and rows whose mass exceeds 1 by more than
    1e-3 or that lack the position's own token.
    """
    tokens, offsets, ids, log_probs = scores.tokens, scores.offsets, scores.top.ids, scores.top.log_probs
    n, k = tokens.size, ids.shape[1] if ids.ndim == 2 else 1
    for name, array, kinds, shape in (
        ("tokens", tokens, "iu", (n,)),
        ("offsets", offsets, "iu", (n, 2)),
        ("top ids", ids, "iu", (n, max(k, 1))),
        ("top log-probs", log_probs, "f", (n, k)),
    ):
        if array.shape != shape or array.dtype.kind not in kinds:
            kind = "integers" if kinds == "iu" else "floats"
            raise InputError(f"{name}: an array of {array.dtype} {list(array.shape)}; expected {kind} {list(shape)}")
    in_vocabulary = f"an id of the vocabulary, 0 to {vocabulary_size - 1}"
    _refuse((tokens < 0) | (tokens >= vocabulary_size), "token", tokens, in_vocabulary)
    check_offsets(offsets)
    _refuse((ids < 0) | (ids >= vocabulary_size), "top id", ids, in_vocabulary)
    _refuse(np.diff(ids, prepend=-1) <= 0, "top id", ids, "ascending ids, each once")
    _refuse(~np.isfinite(log_probs) | (log_probs > _EXCESS), "log-prob", log_probs, "a finite log-prob of at most 0")
    mass = np.exp(log_probs.astype(np.float64)).sum(axis=1)
    _refuse(mass > 1 + _EXCESS_MASS, "probabilities that sum to", mass, "at most 1")
    _refuse(~(ids == tokens[:, None]).any(axis=1), "no log-prob of the own token", tokens, "it among the top ids")


def check_offsets(offsets: np.ndarray) -> None:
    """Raise InputError ("position p: ...") for offsets int [n, 2] of one text that no tokenizer can give."""
    fault = first_fault(offsets.astype(np.int64), np.array([len(offsets)]))
    if fault is not None:
        raise InputError(f"position {fault[1]}: {fault[2]}")


def _refuse(bad: np.ndarray, name: str, values: np.ndarray, expected: str) -> None:
    """Raise for the first place where `bad` ([n] or [n, k], as `values`) holds."""
    if bad.any():
        at = tuple(np.argwhere(bad)[0])
        raise InputError(f"position {at[0]}: {name} {values[at]}; expected {expected}")


def _check_shapes(number: int, text: Text, k: int) -> None:
    scores, tokens, offsets = text
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or offsets.shape != (len(tokens), 2):
        raise InputError(
            f"text {number}: target tokens {list(tokens.shape)} of {tokens.dtype} with offsets {list(offsets.shape)}; "
            "expected integers [m] and [m, 2]"
        )
    if (tokens < 0).any():
        position = int((tokens < 0).argmax())
        raise InputError(f"text {number}, position {position}: target token {tokens[position]}; expected an id >= 0")
    if scores.top.ids.shape != (len(scores.tokens), k):
        raise InputError(
            f"text {number}: top ids {list(scores.top.ids.shape)}; expected [{len(scores.tokens)}, {k}], "
            "with the same k for all texts"
        )


def _capped(log_probs: np.ndarray) -> np.ndarray:
    return np.where(log_probs > 0, np.float32(0), log_probs)


def _range_sums(values: np.ndarray, first: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Return the sum of values[first:past] for each pair, float32; no range is empty."""
    if not len(first):
        return np.zeros(0, dtype=np.float32)
    padded = np.append(values, 0).astype(np.float64)  # reduceat wants every index, also one past the end, to exist
    return np.add.reduceat(padded, np.stack([first, past], axis=1).ravel())[::2].astype(np.float32)


def _gathered(ids: np.ndarray, log_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [n, k] with ascending ids; places with equal ids are merged, and unused places come last."""
    k = ids.shape[1]
    keys = ids.astype(np.int64) * k + np.arange(k)  # one key for id and place sorts faster than argsort, ties by place
    keys.sort(axis=1)
    ids = keys // k
    log_probs = np.take_along_axis(log_probs, keys - ids * k, axis=1)
    is_new = np.diff(ids, axis=1, prepend=-1) > 0
    clash = ~is_new.all(axis=1)
    ids[clash], log_probs[clash] = _summed(ids[clash], log_probs[clash], is_new[clash])
    return ids, log_probs


def _summed(ids: np.ndarray, log_probs: np.ndarray, is_new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted rows with the mass of each run of equal ids, which begins where `is_new`, in a single place."""
    begins = np.flatnonzero(is_new)
    row, place = begins // ids.shape[1], (np.cumsum(is_new, axis=1) - 1).ravel()[begins]
    new_ids, new_log_probs = np.zeros_like(ids), np.full_like(log_probs, -np.inf)
    new_ids[row, place] = ids.ravel()[begins]
    if len(begins):
        new_log_probs[row, place] = _capped(np.logaddexp.reduceat(log_probs.ravel(), begins))
    return new_ids, new_log_probs
