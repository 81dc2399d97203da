"""Log-probs recorded during generation, kept on the model's device until all tokens are written."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lada.models.generation import Continuation
from lada.models.likelihood import log_probs_at


class Record:
    """The log-probs of the chosen tokens, and of the token that would close the path instead."""

    def __init__(self, eos: int) -> None:
        self._eos = eos
        self._streams: list[int] = []
        self._parts: list[Tensor] = []

    def add(self, logits: Tensor, tokens: Tensor, streams: Sequence[int]) -> None:
        """Take one step: `tokens` [n] were chosen from `logits` [n, vocabulary] for these streams."""
        self._parts.append(log_probs_at(logits, torch.stack([tokens, torch.full_like(tokens, self._eos)], 1))[0])
        self._streams += streams

    def continuations(self, chosen: Sequence[list[int]], rooms: Sequence[int]) -> list[Continuation]:
        """Return all streams with these `chosen` tokens; tokens beyond a stream's room are omitted."""
        steps = torch.cat(self._parts).cpu().numpy()
        order = np.argsort(np.array(self._streams), kind="stable")
        starts = np.cumsum(np.bincount(self._streams, minlength=len(chosen)))[:-1]
        rows = zip(chosen, rooms, np.split(steps[order], starts), strict=True)
        return [
            Continuation(ids[:max_new_tokens], row[: len(ids[:max_new_tokens]), 0], row[: len(ids), 1])
            for ids, max_new_tokens, row in rows
        ]
