"""The log-probs of the tokens of one text as uncompressed bytes, without the tokens, which its reader does not need.

The sections in order: the log-probs in half precision, all first bytes before all second bytes, and the offsets as in
lada.codecs.token_scores. Of these ten bytes per token, about three are left after compression, since offsets hardly
differ. The relative error of a log-prob is at most 2^-11.
"""

import numpy as np

from lada.codecs.quantise import LEAST, LOWEST
from lada.codecs.token_scores import OUT_OF_ORDER, offsets_from_planes, offsets_to_planes, out_of_order
from lada.core.errors import CodecError
from lada.core.terms import TokenLogProbs

BYTES = 10
"""Bytes of a token."""


def encode(scores: TokenLogProbs) -> bytes:
    """Return the bytes of n tokens. Raises CodecError, naming the position, for impossible scores."""
    offsets, log_probs = scores.offsets, scores.log_probs
    n = len(log_probs)
    if (offsets.shape, log_probs.shape) != ((n, 2), (n,)) or offsets.dtype.kind not in "iu":
        raise CodecError(
            f"offsets {list(offsets.shape)} and log-probs {list(log_probs.shape)}; expected [n, 2] and [n]"
        )
    for bad, what in (
        (~((log_probs <= 0) & (log_probs >= LEAST)), f"a log-prob that is not in {LEAST:g}..0 nats"),
        (out_of_order(offsets.astype(np.int64)), OUT_OF_ORDER),
    ):
        if bad.any():
            raise CodecError(f"position {int(bad.argmax())}: {what}")
    halves = log_probs.astype("<f2").view(np.uint8).reshape(n, 2).T
    return halves.tobytes() + offsets_to_planes(offsets).tobytes()


def decode(data: bytes, n: int) -> TokenLogProbs:
    """Return the scores in BYTES * n bytes. Raises CodecError for anything that `encode` would not write."""
    halves, planes = np.split(np.frombuffer(data, np.uint8), [2 * n])
    log_probs = np.ascontiguousarray(halves.reshape(2, n).T).view("<f2")[:, 0].astype(np.float32)
    if not ((log_probs <= 0) & (log_probs >= LOWEST)).all():
        raise CodecError(f"a log-prob that is not in {LOWEST:g}..0 nats")
    return TokenLogProbs(offsets_from_planes(planes, n), log_probs)
