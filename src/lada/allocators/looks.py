"""Statistics of a look at a path: its tokens compared with those that the student finds likeliest (Candidates.look)."""

from collections.abc import Iterable

import numpy as np

from lada.core.terms import TokenScores

LIKELIEST = 50
"""Number of tokens per position in a Brier score, as in the code of LARK (arXiv 2605.30651)."""


def losses_and_briers(paths: Iterable[TokenScores | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return each path's mean token loss (nats) and mean Brier score, float64 [n]; NaN if unknown.

    The Brier score of a token y is Σ p² − 2 p(y) + 1 over the named tokens, between 0 and 2.
    """
    found = []
    for scores in paths:
        if scores is None or not len(scores.tokens):
            found.append((np.nan, np.nan))
            continue
        own = scores.own().astype(np.float64)
        squares = np.exp(2 * scores.top.log_probs.astype(np.float64)).sum(1)
        found.append((-own.mean(), (squares - 2 * np.exp(own) + 1).mean()))
    losses, briers = np.array(found, dtype=np.float64).reshape(-1, 2).T
    return losses, briers


def losses_and_ranks(paths: Iterable[TokenScores | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return each path's mean token loss (nats) and mean token rank, float64 [n]; NaN if unknown.

    A token's rank is 1 + the number of tokens that the student finds likelier. For a token outside the k named ones,
    only k - 1 likelier ones are named, so ranks end at k.
    """
    found = []
    for scores in paths:
        if scores is None or not len(scores.tokens):
            found.append((np.nan, np.nan))
            continue
        own = scores.own()
        ranks = 1 + (scores.top.log_probs > own[:, None]).sum(1)
        found.append((-own.astype(np.float64).mean(), ranks.mean()))
    losses, ranks = np.array(found, dtype=np.float64).reshape(-1, 2).T
    return losses, ranks
