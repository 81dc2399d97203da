"""Batches as an objective sees them, with all that any of them may ask for, made of random numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lada.models.objective import Chunks, Objective, Pairs, Scored, Sizes, Soft

LESSONS, LENGTH, VOCABULARY, WIDTH, K = 6, 5, 11, 4, 3
SIZES = Sizes(WIDTH, VOCABULARY)


@dataclass
class Batch:
    """Lessons under a student and a teacher; `of` gives a part of them, as a micro-batch of the whole."""

    seed: int
    held: "Batch | None" = None
    observed: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = torch.Generator().manual_seed(self.seed)

        def log_probs(*shape: int) -> Tensor:
            return torch.randn(*shape, VOCABULARY, generator=draw).log_softmax(-1)

        rows, self.lengths = torch.arange(LESSONS), [LENGTH, 2, 4, 3, LENGTH, 1]
        self.mask = torch.arange(LENGTH) < torch.tensor(self.lengths)[:, None]
        self.weights = torch.rand(LESSONS, generator=draw) + 0.5
        self.student, self.rejected = (log_probs(LESSONS, LENGTH).requires_grad_() for _ in range(2))
        self.teacher = log_probs(LESSONS, LENGTH)
        self.gold = torch.randint(VOCABULARY, (LESSONS, LENGTH), generator=draw) * self.mask
        self.hidden = torch.randn(LESSONS, LENGTH, WIDTH, generator=draw, requires_grad=True)
        self.head = torch.randn(WIDTH, VOCABULARY, generator=draw)
        self.top = torch.randint(VOCABULARY - K, (LESSONS, LENGTH, 1), generator=draw) + torch.arange(K)
        self.reference = -5 * torch.rand(LESSONS, 2, generator=draw)
        self.teachers = -5 * torch.rand(LESSONS, 2, generator=draw)
        self.teachers[3] = float("nan")  # unknown
        self.starts = torch.tensor([[0, 0], [1, 0], [2, 1], [1, 2], [4, 0], [0, 0]])
        self.paired = rows % 3 != 1  # the others have no rejected path

    def of(self, objective: Objective, state: Mapping[str, np.ndarray], rows: Sequence[int], pad: int = 0) -> Scored:
        """Return the lessons `rows` with `pad` columns more than the longest of all has."""
        needs, places = objective.needs, torch.tensor(rows)
        mask = self._wider(self.mask[places], pad)
        own = self.student.gather(2, self.gold[..., None])[..., 0] * self.mask
        at, column = self.mask[places].nonzero(as_tuple=True)
        which, ids = places[at], self.top[places[at], column]
        more: dict[str, Any] = {}
        if needs.signal is not None and not needs.signal.as_chunks:
            teacher, student = (side[which, column].gather(1, ids) for side in (self.teacher, self.student))
            gold = self.gold[which, column] if needs.gold else None
            more["soft"] = Soft(student, teacher, at, ids, gold, columns=column)
        if needs.signal is not None and needs.signal.as_chunks:
            told = self.teacher.gather(2, self.gold[..., None])[..., 0] * self.mask
            old = own[places].sum(1).detach() - 0.1 * self.weights[places] if needs.old else None
            more["chunks"] = Chunks(own[places].sum(1), told[places].sum(1), torch.arange(len(rows)), old)
        if needs.signal_on("student"):
            more["own"] = places % 2 == 0
        if needs.gold:
            more["gold"] = self._wider(self.gold[places], pad)
        if needs.exits:
            seen = self._wider(self.hidden[places] * self.mask[places][..., None], pad)
            more["hidden"] = {depth: seen * depth for depth in needs.exits}
        if needs.dense:
            flat = self.student[places][self.mask[places]]
            more["over_vocabulary"] = lambda measure: torch.zeros(mask.shape).masked_scatter(mask, measure(flat))
        if needs.read_out:
            more["read_out"] = lambda states, ids: (states @ self.head).log_softmax(1).gather(1, ids)
        if needs.observes:
            more["observe"] = self._observe
        if needs.held_out and self.held is not None:
            more["held_out"] = self.held.of(objective, state, rows, pad)
        parameters = {name: torch.tensor(state[name], requires_grad=True) for name in objective.trained}
        return Scored(
            self._wider(own[places], pad),
            mask,
            self.weights[places],
            self._pairs(needs, places, pad) if needs.rejected else None,
            batch_tokens=float((self.weights * self.mask.sum(1)).sum()),
            batch_pairs=float(self.weights[self.paired].sum()),
            state=state,
            parameters=parameters,
            **more,
        )

    def _pairs(self, needs: Any, places: Tensor, pad: int) -> Pairs | None:
        rows = self.paired[places].nonzero()[:, 0]
        which = places[rows]
        if not len(rows):
            return None
        told = self.rejected[..., 0] * self.mask
        reference = self.reference if needs.reference else torch.zeros_like(self.reference)
        return Pairs(
            rows,
            self._wider(told[which], pad),
            self._wider(self.mask[which], pad),
            self.mask.sum(1)[which] - 1,
            *reference[which].T,
            *self.starts[which].T,
            *self.teachers[which].T,
        )

    def _observe(self, name: str, value: Tensor) -> None:
        value = value.detach().double()
        self.observed[name] = self.observed[name] + value if name in self.observed else value

    @staticmethod
    def _wider(values: Tensor, pad: int) -> Tensor:
        return torch.cat([values, values.new_zeros(len(values), pad, *values.shape[2:])], 1)

    @property
    def students(self) -> list[Tensor]:
        return [self.student, self.rejected, self.hidden, *(self.held.students if self.held else [])]


def batch(round: int = 1) -> Batch:
    return Batch(round, held=Batch(100 + round))


@dataclass
class Result:
    """What an objective makes of a batch: its loss, the gradients of what is learnt, what it observed."""

    loss: float
    gradients: list[Tensor | None]
    observed: dict[str, Tensor]


def result(
    objective: Objective, state: Mapping[str, np.ndarray], parts: Sequence[Sequence[int]], **more: Any
) -> Result:
    """Return what becomes of a batch that is cut into `parts`; `more` is as for `Batch.of`, and the round."""
    whole = batch(more.pop("round", 1))
    losses = [objective(whole.of(objective, state, rows, **more)) for rows in parts]
    torch.stack(losses).sum().backward()
    return Result(sum(float(loss.detach()) for loss in losses), [each.grad for each in whole.students], whole.observed)
