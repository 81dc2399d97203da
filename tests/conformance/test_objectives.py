"""The contract of every objective, also of plug-ins: its loss depends only on the lessons of the batch."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from alike import same
from methods import Case, cases, each
from scored import LESSONS, SIZES, Result, batch, result

from lada.core.terms import ChunkLogProbs, Lesson, SparseLogProbs
from lada.models.base import Course, Study, StudyReport
from lada.models.load import load
from lada.models.objective import Scored
from lada.models.options import ModelOptions
from lada.models.trainer import sizes_of
from lada.zoo.shipped import locate

ALL = range(LESSONS)
MODEL = "zoo:slm-llama-small"


def close(one: Result, other: Result) -> None:
    same(one.observed, other.observed, close=1e-5)
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    for a, b in zip(one.gradients, other.gradients, strict=True):
        assert (a is None) == (b is None)
        assert a is None or b is None or torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@cases("objective")
def test_padding_does_not_matter(case: Case):
    objective = case.make()
    state = objective.init(1, SIZES)
    close(result(objective, state, [ALL]), result(objective, state, [ALL], pad=3))


@cases("objective")
def test_the_order_of_lessons_does_not_matter(case: Case):
    if case.method.by_order:
        pytest.skip(case.method.by_order)
    objective = case.make()
    state = objective.init(1, SIZES)
    close(result(objective, state, [ALL]), result(objective, state, [[3, 0, 5, 1, 4, 2]]))


@cases("objective")
@pytest.mark.parametrize("parts", [[[0, 1, 2], [3, 4, 5]], [[4], [1, 0], [5, 2, 3]]], ids=str)
def test_splitting_a_batch_does_not_matter(case: Case, parts: list[list[int]]):
    objective = case.make()
    if objective.needs.couples_batch:
        pytest.skip("it couples the lessons of a batch, which nobody then splits")
    state = objective.init(1, SIZES)
    close(result(objective, state, [ALL]), result(objective, state, parts))


@cache
def pupil() -> tuple[Any, dict[str, np.ndarray]]:
    """Return a learner, and the weights with which each study of it begins."""
    learner: Any = load(locate(MODEL), ModelOptions(model=MODEL, device="cpu"))
    return learner, learner.adapter()


@cache
def lessons() -> list[Lesson]:
    """Return lessons with all that a teacher may say."""
    encoder, rows = pupil()[0].encoder, []
    for number in range(4):
        question, text = f"a box holds {number} .", f"{number} plus 2 makes {number + 2} . answer {number + 2}"
        tokens = encoder.pair(question, text).completion
        ids = np.array([sorted({token, (token + 7) % 40}) for token in tokens], np.int32)
        soft = SparseLogProbs(ids, np.full(ids.shape, -1.0, np.float32))
        chunks = ChunkLogProbs(np.array([[0, 2], [2, 4]], np.int32), np.array([-1.0, -2.0], np.float32))
        rows.append(
            Lesson(
                f"s{number}",
                question,
                text,
                "answer 0 no",
                1.0,
                soft,
                chunks,
                teacher_chosen=-5.0,
                teacher_rejected=-7.0,
                own=number % 2 == 0,
            )
        )
    return rows


def studied(objective: Any, lessons: list[Lesson]) -> tuple[StudyReport, bool]:
    """Return what a study of two steps reports, and whether it has moved the weights."""
    learner, before = pupil()
    learner.load_adapter(before)
    report = learner.study(lessons, objective, Study(steps=2, batch_size=4), seed=1, course=Course(seed=5))
    after = learner.adapter()
    return report, any(not np.array_equal(before[name], after[name]) for name in after)


@cases("objective")
def test_what_teachers_say_is_no_part_of_what_is_trained(case: Case):
    objective, seen = case.make(), []

    class Watched(type(objective)):
        def __call__(self, scored: Scored) -> torch.Tensor:
            sides = (scored.soft and scored.soft.teacher, scored.chunks and scored.chunks.teacher)
            told = ("reference_chosen", "reference_rejected", "teacher_chosen", "teacher_rejected")
            pairs = scored.pairs and [getattr(scored.pairs, name) for name in told]
            teachers = [each for each in (*sides, *(pairs or ())) if each is not None]
            loss = super().__call__(scored)
            seen.append((loss.requires_grad, [each.requires_grad for each in teachers]))
            return loss

    objective.__class__ = Watched
    report, moved = studied(objective, lessons())
    assert (report.skipped, moved) == (0, True)
    assert len(seen) == 2
    assert all(student and not any(teachers) for student, teachers in seen)
    if objective.needs.signal or objective.needs.reference:
        assert all(teachers for _, teachers in seen)


@each("objective")
def test_a_loss_that_is_no_number_is_counted_and_changes_nothing(case: Case):
    report, moved = studied(case.make(), [replace(lesson, weight=float("nan")) for lesson in lessons()])
    assert (report.steps, report.skipped, moved) == (2, 2, False)
    assert np.isnan([report.first_loss, report.last_loss]).all()
    sizes = sizes_of(pupil()[0].model)
    same(dict(report.state), dict(case.make().init(5, sizes)))


def test_the_batches_are_no_two_alike():
    assert not torch.equal(batch(1).student, batch(2).student)
