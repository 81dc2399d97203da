"""Finds the tokens of two tokenizations of one text that cover the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lada.core.errors import InputError
from lada.core.plural import counted

Offsets = np.ndarray | Sequence[np.ndarray]
"""Byte start and end of each token: an integer array [n, 2] per text, or [texts, n, 2], or [n, 2] for one text."""

_TEXTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Groups of neighbouring tokens that cover the same part of a text, in the order of the texts.

    `row` int32 [m] is the number of the text. `source` and `target` int32 [m, 2] are half-open ranges of token
    positions in it, first and one past the last. A range starts and ends with a token that has width; tokens without
    width may lie inside it, and a position that no range holds has no counterpart.
    """

    row: np.ndarray
    source: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def is_one_to_one(self) -> np.ndarray:
        """Bool [m]: one token on either side."""
        return (np.diff(self.source) == 1)[:, 0] & (np.diff(self.target) == 1)[:, 0]


def align_spans(source_offsets: Offsets, target_offsets: Offsets) -> Spans:
    """Group the tokens of two tokenizations at the byte boundaries they share.

    A token whose start equals its end (special tokens, padding) belongs to no span. Between two tokens with width is
    the closed interval [furthest end so far, start of the next], longer than a point if a tokenizer drops white space;
    tokens that overlap, as pieces of one character may, have no boundary between them. A boundary is shared if two
    intervals touch and each is the first that the other touches, so that the two sides of a span always meet.
    Everything before the first token is one boundary, which all texts share; the last is the point where the tokens
    end. Tokens after the last shared boundary, for example if one side was cut, belong to no span.

    Grouping at shared byte offsets follows GOLD (huggingface/trl); gaps, overlaps and cuts are our reading. It takes
    time linear in tokens, except for a binary search per boundary, and memory linear in tokens.

    Raises InputError, naming side, text and position, for offsets of another shape, below 0, that end before they start
    or that go backwards, and if the sides differ in their number of texts.
    """
    source, source_lengths = _flat(source_offsets, "source")
    target, target_lengths = _flat(target_offsets, "target")
    if len(source_lengths) != len(target_lengths):
        raise InputError(
            f"offsets: {counted(len(source_lengths), 'source text')}, but "
            f"{counted(len(target_lengths), 'target text')}; "
            "expected the same texts on both sides"
        )
    # With a few dozen texts at once, the arrays stay in the processor's cache.
    parts = [Spans(np.zeros(0, np.int32), np.zeros((0, 2), np.int32), np.zeros((0, 2), np.int32))]
    at_source, at_target = (np.append(0, np.cumsum(lengths)) for lengths in (source_lengths, target_lengths))
    for begin in range(0, len(source_lengths), _TEXTS):
        end = min(begin + _TEXTS, len(source_lengths))
        part = _aligned(
            source[at_source[begin] : at_source[end]],
            source_lengths[begin:end],
            target[at_target[begin] : at_target[end]],
            target_lengths[begin:end],
        )
        parts.append(Spans(part.row + np.int32(begin), part.source, part.target))
    return Spans(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "source", "target")))


def _aligned(source: np.ndarray, source_lengths: np.ndarray, target: np.ndarray, target_lengths: np.ndarray) -> Spans:
    """Align texts with concatenated offsets [n, 2], `lengths` [texts] of them for each."""
    # Each text gets its own part of a common number line, so that one pass handles them all.
    stride = 1 + max((int(offsets.max()) for offsets in (source, target) if len(offsets)), default=0)
    left, right = _boundaries(source, source_lengths, stride), _boundaries(target, target_lengths, stride)
    partner, back = _first_touched(left, right), _first_touched(right, left)
    shared = np.flatnonzero(partner >= 0)
    shared = shared[back[partner[shared]] == shared]
    row = left.low[shared] // stride
    opens, closes = shared[:-1], shared[1:]
    within = row[:-1] == row[1:]
    row, opens, closes = row[:-1][within], opens[within], closes[within]
    return Spans(
        row.astype(np.int32),
        _ranges(left, opens, closes, (np.cumsum(source_lengths) - source_lengths)[row]),
        _ranges(right, partner[opens], partner[closes], (np.cumsum(target_lengths) - target_lengths)[row]),
    )


def first_fault(offsets: np.ndarray, lengths: np.ndarray) -> tuple[int, int, str] | None:
    """Return text, position and fault of the first offsets [n, 2] that no tokenizer can give, or None.

    `lengths` [texts] counts the tokens of each text.
    """
    start, end = offsets[:, 0], offsets[:, 1]
    bad = (start < 0) | (end < start)
    real = np.flatnonzero(end > start)
    row = np.repeat(np.arange(len(lengths)), lengths)
    backwards = (np.diff(start[real]) < 0) & (np.diff(row[real]) == 0)
    bad[real[1:][backwards]] = True
    if not bad.any():
        return None
    at = int(bad.argmax())
    pair = f"({int(start[at])}, {int(end[at])})"
    if start[at] < 0 or end[at] < start[at]:
        reason = f"offsets {pair}; expected 0 <= start <= end"
    else:
        reason = f"offsets {pair} start before those of the token in front; expected starts that never go backwards"
    return int(row[at]), at - int(lengths[: row[at]].sum()), reason


def _flat(offsets: Offsets, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the checked offsets of all texts as int64 [n, 2] and the number of tokens in each text."""
    one = isinstance(offsets, np.ndarray) and offsets.ndim == 2
    texts = [np.asarray(text) for text in ([offsets] if one else offsets)]
    for number, text in enumerate(texts):
        if text.ndim != 2 or text.shape[1] != 2 or text.dtype.kind not in "iu":
            raise InputError(
                f"{side} offsets, text {number}: an array of {text.dtype} {list(text.shape)}; expected integers [n, 2]"
            )
    flat = np.concatenate([np.zeros((0, 2)), *texts], dtype=np.int64, casting="unsafe")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    fault = first_fault(flat, lengths)
    if fault is not None:
        raise InputError(f"{side} offsets, text {fault[0]}, position {fault[1]}: {fault[2]}")
    return flat, lengths


class _Boundaries(NamedTuple):
    """Closed intervals [low, high] over all texts, ascending and apart; `passed` counts the `tokens` in front."""

    low: np.ndarray
    high: np.ndarray
    passed: np.ndarray
    tokens: np.ndarray  # which tokens of the batch have width


def _boundaries(offsets: np.ndarray, lengths: np.ndarray, stride: int) -> _Boundaries:
    tokens = np.flatnonzero(offsets[:, 0] < offsets[:, 1])
    origin = np.repeat(np.arange(len(lengths)) * stride, lengths)[tokens]
    start = offsets[:, 0][tokens] + origin
    end = np.maximum.accumulate(offsets[:, 1][tokens] + origin)
    first = np.diff(origin, prepend=-1) > 0
    last = np.roll(first, -1)
    # A text of n tokens has n + 1 boundaries; each token is between its own and the next.
    index = np.arange(len(tokens))
    opening = index + np.cumsum(first) - 1
    closing = opening + 1
    low, high, passed = np.zeros((3, len(tokens) + np.count_nonzero(first)), dtype=np.int64)
    low[closing], low[opening[first]] = end, origin[first]
    high[opening], high[closing[last]] = start, end[last]
    passed[closing], passed[opening[first]] = index + 1, index[first]
    exists = np.flatnonzero(low <= high)
    return _Boundaries(low[exists], high[exists], passed[exists], tokens)


def _ranges(side: _Boundaries, opens: np.ndarray, closes: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Return the token positions [m, 2] between boundaries of texts whose first tokens are at `begin` in the batch."""
    first, last = side.tokens[side.passed[opens]], side.tokens[side.passed[closes] - 1]
    return np.stack([first - begin, last + 1 - begin], axis=1).astype(np.int32)


def _first_touched(own: _Boundaries, other: _Boundaries) -> np.ndarray:
    """Return for each boundary the index of the first of the other side's that touches it; -1 if none does."""
    first = np.searchsorted(other.high, own.low)
    found = first < len(other.high)
    found[found] = other.low[first[found]] <= own.high[found]
    return np.where(found, first, -1)
