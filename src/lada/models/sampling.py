"""Which token comes next: the likeliest, or one that is drawn with a number of the stream's own."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lada.core.seeds import generator
from lada.models.options import Generation

CHUNK = 2**22
"""Logits that are held in float32, and in float64, at once."""


class Chooser:
    """Chooses tokens for some streams, each with chances of its own, whoever is beside it in the batch."""

    def __init__(
        self, addresses: Sequence[tuple[int, ...]], most: int, temperature: float, generation: Generation
    ) -> None:
        """`addresses` seed the streams' generators, of which each gives `most` numbers; at temperature 0 none does."""
        self._temperature = temperature
        self._generation = generation
        self._chances = torch.zeros(0)
        if temperature > 0:
            self._chances = torch.from_numpy(np.stack([generator(*address).random(most) for address in addresses]))

    def __call__(self, logits: Tensor, streams: Sequence[int], step: int) -> Tensor:
        """Return the tokens [n] that come next, given logits [n, vocabulary], of `streams` [n] at `step` (0, 1, …)."""
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

    With `top_k` only the k highest stay, and those equal to the last of them. Of these, with `top_p`, only the fewest
    stay whose probabilities add up to it (nucleus sampling, arXiv 1904.09751); the likeliest always does.
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
    """Return a token per row of `scores` [n, vocabulary], by inversion of its distribution at `chances` [n] in [0, 1).

    In double precision where the device has it. A row that holds NaN gives any token.
    """
    wide = torch.float32 if scores.device.type == "mps" else torch.float64
    heaped = scores.to(wide).softmax(1).cumsum(1)
    total = heaped[:, -1:]
    # Below the total even where the product is rounded up, so that no token of probability 0 is behind it.
    aimed = torch.minimum(chances.to(scores.device, wide)[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(heaped, aimed, right=True)[:, 0].clamp(max=scores.shape[1] - 1)
