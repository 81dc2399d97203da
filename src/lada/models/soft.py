"""A teacher's log-probs in lessons, as tensors aligned with a micro-batch's tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lada.core.terms import ChunkLogProbs, SparseLogProbs
from lada.models.encoding import Encoded
from lada.models.objective import Chunks, Soft


@dataclass(frozen=True, slots=True)
class Places:
    """The tokens of soft targets, one row for each of a micro-batch's N completion tokens.

    `ids` [N, k]; `teacher` [N, k] log-probs, -inf at unused places; `rows` [N], the lesson of each token, and `columns`
    [N], its place there.
    """

    ids: Tensor
    teacher: Tensor
    rows: Tensor
    columns: Tensor

    def of(self, student: Tensor, ids: Tensor, own: Tensor | None = None) -> Soft:
        """Return the positions with a target, given the student's log-probs [N, k] of `ids`, on the student's device.

        `own` [N] are the text's own tokens, if requested.
        """
        aimed = (~torch.isneginf(self.teacher).all(1)).to(student.device)
        return Soft(
            student[aimed],
            self.teacher.to(student.device)[aimed],
            self.rows.to(student.device)[aimed],
            ids[aimed],
            None if own is None else own[aimed],
            columns=self.columns.to(student.device)[aimed],
        )


def soft_places(encoded: Sequence[Encoded], soft: Sequence[SparseLogProbs | None]) -> Places | None:
    """Return the places of a micro-batch whose first rows are lessons with these soft targets; None without any.

    A target has a row for each token of its lesson's text; rows beyond a completion that the context cut are dropped.
    """
    if all(target is None for target in soft):
        return None
    lengths = [len(row.completion) for row in encoded]
    width = max(target.ids.shape[1] for target in soft if target is not None)
    ids = np.zeros((sum(lengths), width), np.int64)
    log_probs = np.full((sum(lengths), width), -np.inf, np.float32)
    start = 0
    for length, target in zip(lengths, soft, strict=False):  # rejected paths, without targets, follow the lessons
        if target is not None:
            count, k = min(length, len(target.ids)), target.ids.shape[1]
            ids[start : start + count, :k] = target.ids[:count]
            log_probs[start : start + count, :k] = target.log_probs[:count]
        start += length
    return Places(
        torch.from_numpy(ids),
        torch.from_numpy(log_probs),
        torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)),
        torch.cat([torch.arange(length) for length in lengths]),
    )


def chunk_sums(
    log_probs: Tensor, chunks: Sequence[ChunkLogProbs | None], lengths: Sequence[int], old: Tensor | None = None
) -> Chunks | None:
    """Return the chunks of a micro-batch with the student's log-probs of them; None without any.

    `log_probs` [n, L] are the student's, of its own tokens, row by row, and `old` [n, L] those before the study;
    `lengths` has the number of tokens of each row. Chunks that the context cut are dropped.
    """
    rows, ranges, told = [], [], []
    for row, (each, length) in enumerate(zip(chunks, lengths, strict=True)):
        if each is not None:
            whole = each.tokens[:, 1] <= length
            rows += [row] * int(whole.sum())
            ranges += each.tokens[whole].tolist()
            told += each.log_probs[whole].tolist()
    if not rows:
        return None
    device = log_probs.device
    index = torch.tensor(rows, device=device)
    starts, ends = torch.tensor(ranges, device=device).T

    def sums(of: Tensor) -> Tensor:
        before = torch.nn.functional.pad(of.double().cumsum(1), (1, 0))  # [n, L + 1]
        return (before[index, ends] - before[index, starts]).float()

    return Chunks(sums(log_probs), torch.tensor(told, device=device), index, None if old is None else sums(old))
