"""Groups lessons into the steps of a study, and computes the number of steps of a budget."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from lada.models.base import Study

WINDOW = 8
"""The number of batches whose lessons are sorted by length together. This reduces padding, and each lesson is still
seen equally often."""


def shuffled_batches(
    lengths: Sequence[int], size: int, steps: int, generator: np.random.Generator
) -> Iterator[list[int]]:
    """Yield `steps` batches of `size` indices, reshuffling each time all have been used.

    Within a window of WINDOW batches, rows of similar length share a batch; the batches of a window come in random
    order.
    """
    pool: list[int] = []
    while steps > 0:
        count = min(WINDOW, steps)
        while len(pool) < count * size:
            pool.extend(generator.permutation(len(lengths)).tolist())
        window = pool[: count * size]
        del pool[: count * size]
        ordered = [window[i] for i in np.argsort([-lengths[i] for i in window], kind="stable")]
        for k in generator.permutation(count).tolist():
            yield ordered[k * size : (k + 1) * size]
        steps -= count


def steps_of(study: Study, counts: Sequence[int], seed: int) -> int:
    """Return the steps of a study, at least 1, whose lessons train `counts` tokens each.

    Epochs are rounded up to whole steps.
    """
    if study.tokens is not None:
        return steps_within(study.tokens, counts, study.batch_size, seed)
    if study.epochs is not None:
        return math.ceil(study.epochs * len(counts) / study.batch_size)
    return study.steps


def steps_within(tokens: int, counts: Sequence[int], size: int, seed: int) -> int:
    """Return the number of steps, at least 1, whose shuffled batches have the sum of `counts` nearest to `tokens`.

    `counts` are the trained tokens of each lesson, each at least 1. If two numbers of steps are equally near, the
    smaller is taken. The last step exceeds `tokens` by at most half of its own tokens, unless it is the only step.
    """

    def trained(steps: int) -> int:
        # Lengths only sort a window, so they do not matter here: more steps train everything that fewer do.
        batches = shuffled_batches(counts, size, steps, np.random.default_rng(seed))
        return sum(counts[i] for i in chain.from_iterable(batches))

    times_through = tokens // sum(counts) + 1
    most = -(-times_through * len(counts) // size)
    below = bisect_right(range(1, most + 1), tokens, key=trained)
    if below == 0:
        return 1
    return below if 2 * tokens <= trained(below) + trained(below + 1) else below + 1
