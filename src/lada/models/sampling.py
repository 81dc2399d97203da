"""Chooses the next token: the likeliest, or one drawn with the stream's own random number."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lada.core.seeds import generator
from lada.models.options import Generation

CHUNK = 2**22
"""How many logits are held in float32, and in float64, at once."""


class Chooser:
    """Chooses tokens for some streams. Each has its own random numbers, independent of its neighbours in the batch."""

    def __init__(
        self, addresses: Sequence[tuple[int, ...]], most: int, temperature: float, generation: Generation
    ) -> None:
        """`addresses` seed the streams' generators, which give `most` numbers each; at temperature 0 they are
        unused."""
        self._temperature = temperature
        self._generation = generation
        self._chances = torch.zeros(0)
        if temperature > 0:
            self._chances = torch.from_numpy(np.stack([generator(*address).random(most) for address in addresses]))

    def __call__(self, logits: Tensor, streams: Sequence[int], step: int) -> Tensor:
        """Return the next tokens [n] of `streams` [n] at `step` (0, 1, …), given logits [n, vocabulary]."""
        if self._temperature <= 0:
            return logits.argmax(1)
        chances = self._chances[list(streams), step]
        size = max(1, CHUNK // logits.shape[1])
        drawn = [self._draw(*part) for part in zip(logits.split(size), chances.split(size), strict=True)]
        return torch.cat(drawn)

    def _draw(self, logits: Tensor, chances: Tensor) -> Tensor:
        scores = restrict(logits.float() / self._temperature, self._generation.top_k, self._generation.top_p)
        return draw(scores, chances)


def restrict(scores: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Return scores [n, vocabulary] with -inf for tokens that may not be drawn.

    With `top_k`, only the k highest scores and ties with the last of them stay. With `top_p`, only the smallest set of
    these whose probabilities add up to it stays (nucleus sampling, arXiv 1904.09751). The likeliest always stays.
    """
    if top_k is not None and top_k < scores.shape[1]:
        least = scores.topk(top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, ids = scores.sort(dim=1, descending=True, stable=True)
        probabilities = ordered.softmax(1)
        beyond = probabilities.cumsum(1) - probabilities >= top_p
        beyond[:, 0] = False
        scores = scores.masked_fill(torch.zeros_like(beyond).scatter(1, ids, beyond), -torch.inf)
    return scores


def draw(scores: Tensor, chances: Tensor) -> Tensor:
    """Return a token for each row of `scores` [n, vocabulary], by inverting its distribution at `chances` [n] in [0,
    1).

    It uses double precision if the device supports it. A row with NaN gives any token.
    """
    wide = torch.float32 if scores.device.type == "mps" else torch.float64
    heaped = scores.to(wide).softmax(1).cumsum(1)
    total = heaped[:, -1:]
    # Below the total even if the product is rounded up, so that no token of probability 0 is chosen.
    aimed = torch.minimum(chances.to(scores.device, wide)[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(heaped, aimed, right=True)[:, 0].clamp(max=scores.shape[1] - 1)
