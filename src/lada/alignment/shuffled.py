"""A control: soft targets that say the same numbers of other positions."""

from collections.abc import Sequence

import numpy as np

from lada.core.terms import SparseLogProbs


def shuffled(
    targets: Sequence[SparseLogProbs], tokens: Sequence[np.ndarray], rng: np.random.Generator
) -> list[SparseLogProbs]:
    """Return the targets of texts with their rows permuted among positions that have the same token.

    `targets[i]` has n rows, one for each of the `tokens[i]`, int32 [n]; all have k columns. Rows without a target stay
    where they are. So each position keeps a target for its own token, and loses what the teacher said of its context.
    For a classifier, the targets of questions with one label change places.
    """
    lengths = [len(each.ids) for each in targets]
    if not sum(lengths):
        return list(targets)
    ids, log_probs = (np.concatenate([getattr(each, name) for each in targets]) for name in ("ids", "log_probs"))
    own = np.concatenate([each[:length] for each, length in zip(tokens, lengths, strict=True)])
    aimed = np.flatnonzero(np.isfinite(log_probs).any(1))
    by_token = aimed[np.argsort(own[aimed], kind="stable")]
    source = np.arange(len(own))
    for places in np.split(by_token, 1 + np.flatnonzero(np.diff(own[by_token]))):
        if len(places) > 1:  # most tokens of a large vocabulary come up once
            source[places] = rng.permutation(places)
    cuts = np.cumsum(lengths)[:-1]
    return [
        SparseLogProbs(*each)
        for each in zip(np.split(ids[source], cuts), np.split(log_probs[source], cuts), strict=True)
    ]
