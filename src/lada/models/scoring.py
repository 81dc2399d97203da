"""Lessons as rows of tokens, and their micro-batches as an objective sees them."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.core.terms import Lesson
from lada.models.encoding import Company, Encoded, RowEncoder
from lada.models.likelihood import Predicted, log_probs_of, over_vocabulary, predict, read_out
from lada.models.objective import Alternatives, Measure, Pairs, Scored, first_divergence
from lada.models.soft import chunk_sums, soft_places


@dataclass(frozen=True)
class Rows:
    """Lessons in a learner's tokens; `rejected` holds, by lesson, only rejected paths that differ from the chosen
    ones."""

    lessons: Sequence[Lesson]
    chosen: Sequence[Encoded]
    rejected: Mapping[int, Encoded]
    alternatives: Mapping[int, Sequence[tuple[Encoded, float]]] = field(default_factory=dict)
    """By lesson that has a rejected path: the further paths that differ from both and from each other, with a teacher's
    log-probs."""

    @classmethod
    def of(cls, encoder: RowEncoder, lessons: Sequence[Lesson], *, rejected: bool, alternatives: int = 0) -> "Rows":
        """Encode lessons, with their rejected paths if `rejected`, and at most so many `alternatives`.

        A teacher's log-prob of a whole path cannot be compared with that of a part. So a path that the context cuts has
        none, and is no alternative.
        """

        def whole(row: Encoded) -> bool:
            return row.completion[-1:] != () and row.completion[-1] in encoder.ends

        chosen = [encoder.pair(each.question, each.chosen, cut=each.chosen_cut) for each in lessons]
        others = {
            i: encoder.pair(lesson.question, lesson.rejected, cut=lesson.rejected_cut)
            for i, lesson in enumerate(lessons)
            if rejected and lesson.rejected is not None
        }
        paired = {i: row for i, row in others.items() if row != chosen[i]}
        lessons = [
            replace(lesson, teacher_chosen=None, teacher_rejected=None)
            if i in paired and not (whole(chosen[i]) and whole(paired[i]))
            else lesson
            for i, lesson in enumerate(lessons)
        ]
        more: dict[int, list[tuple[Encoded, float]]] = {}
        for i in paired if alternatives else ():
            seen = [chosen[i], paired[i]]
            for text, teacher in lessons[i].alternatives[:alternatives]:
                row = encoder.pair(lessons[i].question, text)
                if row not in seen and whole(row):
                    seen.append(row)
                    more.setdefault(i, []).append((row, teacher))
        return cls(lessons, chosen, paired, more)

    def sides(self, i: int) -> list[Encoded]:
        """Return all paths of a lesson: the chosen one, the rejected one if there is one, and further ones."""
        rejected = [self.rejected[i]] if i in self.rejected else []
        return [self.chosen[i], *rejected, *(row for row, _ in self.alternatives.get(i, ()))]

    def starts(self, i: int) -> tuple[int, int]:
        """Return the tokens at which the contrast of a lesson's two sides starts: 0 if the context cut one before."""
        lesson = self.lessons[i]
        starts, sides = (lesson.chosen_start, lesson.rejected_start), (self.chosen[i], self.rejected[i])
        within = all(start < len(side.completion) for start, side in zip(starts, sides, strict=True))
        return starts if within else (0, 0)

    @cached_property
    def counts(self) -> list[int]:
        """The number of trained tokens of each lesson."""
        return [sum(len(row.completion) for row in self.sides(i)) for i in range(len(self.chosen))]

    @cached_property
    def lengths(self) -> list[int]:
        """The length of each lesson in a batch: all its paths share a forward pass."""
        return [max(map(len, self.sides(i))) for i in range(len(self.chosen))]

    def unfinished(self, ends: Collection[int]) -> int:
        """Return how many lessons do not end within the model's context, although their texts are complete.

        `ends` are the tokens that end a text.
        """
        return sum(
            not row.completion or row.completion[-1] not in ends
            for row, lesson in zip(self.chosen, self.lessons, strict=True)
            if not lesson.chosen_cut
        )


@dataclass(frozen=True)
class Scorer:
    """Runs a model over micro-batches of rows, and provides what an objective needs."""

    model: Any
    pad: int
    company: Company
    rows: Rows
    needs: Needs
    reference: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """The sums of log-probs of chosen and rejected paths before the study, from their starts on, by lesson."""
    old: Mapping[int, Tensor] = field(default_factory=dict)
    """The log-probs [tokens] of the learner's own texts before the study, by lesson."""

    def whole(self, batch: Sequence[int]) -> dict[str, float]:
        """Return the numbers of tokens and pairs of a batch, as in Scored."""
        lessons, chosen = self.rows.lessons, self.rows.chosen
        return {
            "batch_tokens": sum(lessons[i].weight * len(chosen[i].completion) for i in batch),
            "batch_pairs": sum(lessons[i].weight for i in batch if i in self.rows.rejected),
        }

    def score(self, rows: Sequence[int], **more: Any) -> Scored:
        """Run one micro-batch: all paths of its lessons in one forward pass. `more` holds further fields of Scored."""
        lessons, chosen, rejected = self.rows.lessons, self.rows.chosen, self.rows.rejected
        paired = [k for k, i in enumerate(rows) if i in rejected]
        further = [(k, *each) for k, i in enumerate(rows) for each in self.rows.alternatives.get(i, ())]
        encoded = [chosen[i] for i in rows] + [rejected[rows[k]] for k in paired] + [row for _, row, _ in further]
        two = len(rows) + len(paired)
        predicted = predict(self.model, encoded, self.pad, self.company, self.needs.exits)
        targets = soft_places(encoded, [lessons[i].soft for i in rows])
        device = predicted.own.device
        ids = None if targets is None else targets.ids.to(device)
        own, beside = log_probs_of(predicted, ids, spare=not self.needs.dense)
        log_probs = predicted.rows(own)
        pairs = None
        if paired:
            pairs = self._pairs(
                [rows[k] for k in paired], paired, log_probs[len(rows) : two], predicted.mask[len(rows) : two]
            )
        if further:
            places, told = ([each[at] for each in further] for at in (0, 2))
            more["alternatives"] = Alternatives(
                torch.tensor(places, dtype=torch.long, device=device),
                log_probs[two:],
                predicted.mask[two:],
                torch.tensor(told, dtype=torch.float32, device=device),
            )
        if targets is not None and ids is not None:
            more["soft"] = targets.of(beside, ids, predicted.own if self.needs.gold else None)
        return Scored(
            log_probs[: len(rows)],
            predicted.mask[: len(rows)],
            torch.tensor([lessons[i].weight for i in rows], dtype=torch.float32, device=device),
            pairs,
            chunks=chunk_sums(
                log_probs[: len(rows)],
                [lessons[i].chunks for i in rows],
                [len(chosen[i].completion) for i in rows],
                self._old(rows, log_probs) if self.needs.old else None,
            ),
            own=self._own(rows, device),
            **self._asked(predicted, len(rows)),
            **more,
        )

    def _own(self, rows: Sequence[int], device: torch.device) -> Tensor | None:
        own = [self.rows.lessons[i].own for i in rows]
        return torch.tensor(own, device=device) if any(own) else None

    def _old(self, rows: Sequence[int], log_probs: Tensor) -> Tensor:
        """Return the log-probs before the study [rows, L], 0 for other texts than the learner's own."""
        found = torch.zeros((len(rows), log_probs.shape[1]), device=log_probs.device)
        for k, i in enumerate(rows):
            if i in self.old:
                found[k, : len(self.old[i])] = self.old[i]
        return found

    def _asked(self, predicted: Predicted, count: int) -> dict[str, Any]:
        """Return the fields that only some objectives ask for, for the first `count` rows."""
        asked: dict[str, Any] = {}
        if self.needs.gold:
            asked["gold"] = predicted.rows(predicted.own)[:count]
        if self.needs.exits:
            asked["hidden"] = {depth: predicted.rows(flat)[:count] for depth, flat in predicted.hidden.items()}
        if self.needs.dense:
            asked["over_vocabulary"] = _over_vocabulary(predicted, count)
        if self.needs.read_out:
            head = self.model.get_output_embeddings()
            if head is None:
                raise InputError(
                    "objective: it reads hidden states by the model's output head, but this architecture names none; "
                    "expected another objective, or another model"
                )
            asked["read_out"] = partial(read_out, head)
        return asked

    def _pairs(self, ids: Sequence[int], places: list[int], log_probs: Tensor, mask: Tensor) -> Pairs:
        chosen, rejected, device = self.rows.chosen, self.rows.rejected, log_probs.device
        lessons = [self.rows.lessons[i] for i in ids]
        diverges = [first_divergence(chosen[i].completion, rejected[i].completion) for i in ids]
        sums = torch.tensor([self.reference.get(i, (0.0, 0.0)) for i in ids], dtype=torch.float32, device=device)
        starts = torch.tensor([self.rows.starts(i) for i in ids], dtype=torch.long, device=device)
        told = [(each.teacher_chosen, each.teacher_rejected) for each in lessons]
        teacher = torch.tensor(
            [[math.nan if x is None else x for x in each] for each in told], dtype=torch.float32, device=device
        )
        return Pairs(
            rows=torch.tensor(places, dtype=torch.long, device=device),
            log_probs=log_probs,
            mask=mask,
            diverges=torch.tensor(diverges, dtype=torch.long, device=device),
            reference_chosen=sums[:, 0],
            reference_rejected=sums[:, 1],
            chosen_start=starts[:, 0],
            rejected_start=starts[:, 1],
            teacher_chosen=teacher[:, 0],
            teacher_rejected=teacher[:, 1],
        )


def _over_vocabulary(predicted: Predicted, count: int) -> Callable[[Measure], Tensor]:
    logits = predicted.logits[: int(predicted.mask[:count].sum())]
    rows = Predicted(logits, predicted.own[: len(logits)], predicted.mask[:count])
    return lambda measure: rows.rows(over_vocabulary(logits, measure))
