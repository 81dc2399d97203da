"""Batches as an objective sees them, made from whole logits, and Fixture F: two rows of logits to check by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lada.models.objective import Scored, Soft

F_STUDENT, F_TEACHER = torch.tensor([[[1.0, 0.0, -1.0]]]), torch.tensor([[[2.0, 0.0, -1.0]]])
"""Logits of one lesson of one token over three classes."""


def scored(
    student: Tensor,
    teacher: Tensor,
    gold: Tensor | int = 0,
    *,
    k: int | None = None,
    lengths: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    untaught: Sequence[tuple[int, int]] = (),
    seen: dict[str, Tensor] | None = None,
    head: Callable[[Tensor], Tensor] | None = None,
    **more: Any,
) -> Scored:
    """Return lessons of the given `lengths` under student and teacher, logits [n, L, vocabulary].

    The teacher names the `k` likeliest tokens of each position, in ascending order, and nothing at the `untaught`
    places. A `k` beyond the vocabulary leaves places unused. `head` makes logits of hidden states.
    """
    n, length, vocabulary = student.shape
    golds = torch.full((n, length), gold) if isinstance(gold, int) else gold
    mask = torch.arange(length) < torch.tensor(lengths or [length] * n)[:, None]
    log_q, log_p = student.log_softmax(-1), teacher.log_softmax(-1)
    taught = mask.clone()
    for place in untaught:
        taught[place] = False
    rows, columns = taught.nonzero(as_tuple=True)
    named = min(k or vocabulary, vocabulary)
    ids = log_p[rows, columns].topk(named, dim=1).indices.sort(1).values
    unused = max(0, (k or 0) - vocabulary)
    soft = Soft(
        _wider(log_q[rows, columns].gather(1, ids), unused, 0.0),
        _wider(log_p[rows, columns].gather(1, ids), unused, -torch.inf),
        rows,
        _wider(ids, unused, 0),
        golds[rows, columns],
        columns=columns,
    )
    by_lesson = torch.tensor(weights or [1.0] * n, dtype=student.dtype)
    if head is not None:
        more["read_out"] = lambda states, ids: head(states).log_softmax(1).gather(1, ids)
    return Scored(
        log_q.gather(2, golds[..., None])[..., 0] * mask,
        mask,
        by_lesson,
        None,
        float((by_lesson * mask.sum(1)).sum()),
        0.0,
        soft,
        gold=golds * mask,
        observe=({} if seen is None else seen).__setitem__,
        **more,
    )


def _wider(values: Tensor, by: int, fill: float) -> Tensor:
    return torch.cat([values, values.new_full((len(values), by), fill)], 1)


def random_logits(seed: int, *shape: int, scale: float = 1.5) -> Tensor:
    """Return logits in float64 that a loss can be differentiated by."""
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=draw, dtype=torch.float64)).requires_grad_()


def coarse(log_probs: Tensor, ids: Tensor) -> Tensor:
    """Return the probabilities of the named tokens of one row, and of all others together, if there are any."""
    probabilities, named = log_probs.exp(), ids.tolist()
    others = [token for token in range(len(log_probs)) if token not in named]
    return torch.stack([*probabilities[named], *([probabilities[others].sum()] if others else [])])
