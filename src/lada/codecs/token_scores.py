"""The token scores of one text as uncompressed bytes, whose size follows from a few numbers.

The sections in order: the ids (lada.codecs.elias_fano), the greatest log-prob of each row and the steps below it
(lada.codecs.quantise), the column of each text token in its row, and the offsets. Offsets, start and end in turn, are
stored as differences from the previous one. The eight bytes of a token's two numbers are stored separately, all first
bytes before all second bytes, since most are zero.
"""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from lada.codecs import elias_fano
from lada.codecs.quantise import LEAST, from_planes, planes_size, quantise, restore, to_planes
from lada.core.errors import CodecError
from lada.core.terms import SparseLogProbs, TokenScores

MOST_MASS = 1.01
"""The largest sum of a row's probabilities: 1 plus the errors of log-probs in half precision."""
OUT_OF_ORDER = "offsets that are negative, too great, or end before they start"


class Shape(NamedTuple):
    """The numbers that determine the size: text tokens, tokens per row, the vocabulary's size, bits of a number of
    steps."""

    n: int
    k: int
    vocabulary_size: int
    bits: int

    @property
    def column(self) -> np.dtype:
        """The type of a column's number."""
        return np.dtype(np.uint8 if self.k <= 256 else "<u2")

    @property
    def sections(self) -> tuple[int, ...]:
        """Bytes of each part, in order."""
        return (
            self.n * elias_fano.row_size(self.vocabulary_size, self.k),
            self.n * 2,
            planes_size(self.n * self.k, self.bits),
            self.n * self.column.itemsize,
            self.n * 8,
        )

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return sum(self.sections)


def encode(scores: TokenScores, vocabulary_size: int, k: int) -> tuple[bytes, Shape]:
    """Return the bytes and the shape to read them with. Raises CodecError, naming the position, for impossible
    scores."""
    _check(scores, vocabulary_size, k)
    ids = scores.top.ids.astype(np.int64)
    greatest, steps = quantise(scores.top.log_probs)
    shape = Shape(len(ids), k, vocabulary_size, int(steps.max(initial=0)).bit_length())
    own = (ids == scores.tokens[:, None]).argmax(1)
    parts = (
        elias_fano.encode(ids, vocabulary_size),
        greatest.astype("<f2"),
        to_planes(steps, shape.bits),
        own.astype(shape.column),
        offsets_to_planes(scores.offsets),
    )
    return b"".join(part.tobytes() for part in parts), shape


def decode(data: bytes, shape: Shape) -> TokenScores:
    """Return the token scores of `shape.size` bytes. Raises CodecError for anything that `encode` would not write."""
    n, k = shape.n, shape.k
    ends = list(accumulate(shape.sections))
    octets = np.frombuffer(data, np.uint8)
    rows, greatest, planes, own, differences = np.split(octets, ends[:-1])
    ids = elias_fano.decode(rows.reshape(n, elias_fano.row_size(shape.vocabulary_size, k)), shape.vocabulary_size, k)
    steps = from_planes(planes, n * k, shape.bits).reshape(n, k)
    log_probs = restore(greatest.view("<f2"), steps)
    columns = own.view(shape.column)
    if (columns >= k).any():
        raise CodecError(f"a text token stands in column {columns.max()} of {k}")
    offsets = offsets_from_planes(differences, n)
    tokens = np.take_along_axis(ids, columns[:, None].astype(np.int64), axis=1)[:, 0]
    return TokenScores(tokens, offsets, SparseLogProbs(ids, log_probs))


def offsets_to_planes(offsets: np.ndarray) -> np.ndarray:
    """Return offsets [n, 2] as bytes [8, n]: start and end in turn, each as the difference from the number before."""
    differences = np.diff(offsets.astype(np.int64).reshape(-1), prepend=0).astype("<i4")
    return differences.view(np.uint8).reshape(-1, 8).T


def offsets_from_planes(planes: np.ndarray, n: int) -> np.ndarray:
    """Return the offsets, int32 [n, 2], of the 8 n bytes of `offsets_to_planes`. Raises CodecError for impossible
    ones."""
    offsets = np.cumsum(np.ascontiguousarray(planes.reshape(8, n).T).view("<i4"), dtype=np.int64).reshape(n, 2)
    if out_of_order(offsets).any():
        raise CodecError(OUT_OF_ORDER)
    return offsets.astype(np.int32)


def out_of_order(offsets: np.ndarray) -> np.ndarray:
    """Return which offsets [n, 2], int64, no text can have: bool [n]."""
    start, end = offsets[:, 0], offsets[:, 1]
    return (start < 0) | (end < start) | (end > np.iinfo(np.int32).max)


def _check(scores: TokenScores, vocabulary_size: int, k: int) -> None:
    """Raise CodecError for scores that `encode` cannot represent, naming the first position."""
    tokens, offsets, ids, log_probs = scores.tokens, scores.offsets, scores.top.ids, scores.top.log_probs
    n = len(tokens)
    shapes = [array.shape for array in (tokens, offsets, ids, log_probs)]
    if shapes != [(n,), (n, 2), (n, k), (n, k)]:
        raise CodecError(f"arrays of shapes {shapes}; expected [n], [n, 2], [n, {k}] and [n, {k}] as in all samples")
    kinds = [array.dtype.kind for array in (tokens, offsets, ids, log_probs)]
    if any(kind not in "iu" for kind in kinds[:3]) or kinds[3] != "f":
        raise CodecError("expected integers for tokens, offsets and ids, and floats for log-probs")
    wide = ids.astype(np.int64)

    def refuse(bad: np.ndarray, what: str) -> None:
        """Refuse the first row in which anything is bad."""
        if bad.any():
            raise CodecError(f"position {np.argwhere(bad)[0, 0]}: {what}")

    refuse((wide < 0) | (wide >= vocabulary_size), f"an id that is not in 0..{vocabulary_size - 1}")
    refuse(wide[:, 1:] <= wide[:, :-1], "ids that do not ascend")
    refuse(np.count_nonzero(ids == tokens[:, None], axis=1) == 0, "the text's own token is not in the row")
    refuse(~((log_probs <= 0) & (log_probs >= LEAST)), f"a log-prob that is not in {LEAST:g}..0 nats")
    refuse(np.exp(log_probs, dtype=np.float64).sum(1) > MOST_MASS, "probabilities that sum to more than 1")
    refuse(out_of_order(offsets.astype(np.int64)), OUT_OF_ORDER)
