"""Path alignment on likelihoods that can be worked out by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.core.needs import SignalSpec
from lada.core.terms import Likelihood, Path, Sample, Verb
from lada.models.objective import Alternatives, Pairs, Scored, nll
from lada.objectives.path_alignment import PathAlignment, PathAlignmentOptions, asks


def made(**options: Any) -> Any:
    return PathAlignment(PathAlignmentOptions(**options))


def scored(*teachers: tuple[float, float], weights: tuple[float, ...] = (), others: float = 0.0) -> Scored:
    """Return a pair for each of the teacher's sums: means -2 and -4 of two tokens and of one under the student.

    `others` is the weight of the batch's pairs in other micro-batches.
    """
    count = len(teachers)
    rejected = torch.tensor([[-4.0, 0.0]] * count, dtype=torch.float64).requires_grad_()
    unused = torch.zeros(count, dtype=torch.float64)
    pairs = Pairs(
        rows=torch.arange(count),
        log_probs=rejected,
        mask=torch.tensor([[True, False]] * count),
        diverges=unused.long(),
        reference_chosen=unused,
        reference_rejected=unused,
        chosen_start=unused.long(),
        rejected_start=unused.long(),
        teacher_chosen=torch.tensor([chosen for chosen, _ in teachers], dtype=torch.float64),
        teacher_rejected=torch.tensor([rejected for _, rejected in teachers], dtype=torch.float64),
    )
    log_probs = torch.tensor([[-1.0, -3.0]] * count, dtype=torch.float64).requires_grad_()
    each = torch.tensor(weights or [1.0] * count, dtype=torch.float64)
    total = float(each.sum()) + others
    return Scored(log_probs, torch.ones(count, 2, dtype=torch.bool), each, pairs, 2 * total, total)


def loss(batch: Scored, **options: Any) -> float:
    return made(label_weight=0.0, **options)(batch).item()


def of_three(batch: Scored, *more: tuple[int, float, tuple[float, ...]]) -> Scored:
    """Return a batch with further paths: each a pair's place, the teacher's sum, and the student's log-probs."""
    rows, teacher, ours = zip(*more, strict=True)
    width = max(map(len, ours))
    log_probs = torch.tensor([[*each, *[0.0] * (width - len(each))] for each in ours], dtype=torch.float64)
    mask = torch.tensor([[place < len(each) for place in range(width)] for each in ours])
    further = Alternatives(
        torch.tensor(rows), log_probs.requires_grad_(), mask, torch.tensor(teacher, dtype=torch.float64)
    )
    return replace(batch, alternatives=further)


def kl(teacher: float, student: float) -> float:
    """Return the divergence of two distributions over two paths, given their margins in nats."""
    p, q = (1 / (1 + math.exp(-margin)) for margin in (teacher, student))
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def test_by_hand():
    # The student's means are -2 and -4, its margin 2. The teacher's sums -6 and -3 are -3 over two tokens and over one.
    assert loss(scored((-6.0, -3.0))) == pytest.approx(0.433781, abs=1e-6)  # P = (.5, .5), Q = (.880797, .119203)
    assert loss(scored((-6.0, -3.0)), form="margin") == pytest.approx(4.0)
    assert loss(scored((-2.0, -6.0)), form="margin") == pytest.approx(9.0)  # its margin is -1 + 6 = 5
    assert loss(scored((-2.0, -6.0))) == pytest.approx(kl(5.0, 2.0))
    assert loss(scored((-2.0, -6.0)), temperature=2.0) == pytest.approx(kl(5.0, 1.0))
    assert loss(scored((-2.0, -6.0)), temperature=2.0, teacher_temperature=0.5) == pytest.approx(kl(10.0, 1.0))


def test_a_set_of_three_by_hand():
    # Per token, the student gives -2, -4 and -3, and the teacher -1, -6 and -2.
    batch = of_three(scored((-2.0, -6.0)), (0, -4.0, (-2.5, -3.5)))
    # P = softmax(-1, -6, -2) = (.727475, .004902, .267623), Q = softmax(-2, -4, -3) = (.665241, .090031, .244728).
    assert loss(batch) == pytest.approx(0.074725, abs=1e-6)
    # Their differences are -1, 2 and -1: squared margins 9, 0 and 9.
    assert loss(batch, form="margin") == pytest.approx(6.0)
    found = of_three(scored((-2.0, -6.0)), (0, math.nan, (-2.5, -3.5)))
    for form in ("kl", "margin"):  # a path that the teacher did not score is in no set
        assert loss(found, form=form) == pytest.approx(loss(scored((-2.0, -6.0)), form=form))


def test_sets_of_several_sizes():
    pairs = [(-2.0, -6.0), (-6.0, -3.0), (-3.0, -3.0)]
    more = [(0, -4.0, (-2.5, -3.5)), (2, -1.0, (-2.0,)), (2, -8.0, (-1.0, -2.0))]
    whole = {form: loss(of_three(scored(*pairs), *more), form=form) for form in ("kl", "margin")}
    for form, found in whole.items():
        alone = [
            loss(of_three(scored(pairs[0]), (0, *more[0][1:])), form=form),
            loss(scored(pairs[1]), form=form),
            loss(of_three(scored(pairs[2]), (0, *more[1][1:]), (0, *more[2][1:])), form=form),
        ]
        assert found == pytest.approx(sum(alone) / 3), form
    # In the last, the student's differences from the teacher are -1/2, -1, -1 and 5/2.
    off = [-0.5, -1.0, -1.0, 2.5]
    squared = [(a - b) ** 2 for i, a in enumerate(off) for b in off[i + 1 :]]
    last = of_three(scored(pairs[2]), (0, *more[1][1:]), (0, *more[2][1:]))
    assert loss(last, form="margin") == pytest.approx(sum(squared) / 6)


@pytest.mark.parametrize("form", ["kl", "margin"])
def test_gradients_of_sets_are_finite_and_reach_each_known_path(form: Any):
    batch = of_three(scored((-2.0, -6.0), (-6.0, -3.0)), (1, -4.0, (-2.5, -3.5)), (1, math.nan, (-1.0,)))
    made(label_weight=0.0, form=form)(batch).backward()
    assert batch.alternatives is not None
    gradient = batch.alternatives.log_probs.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient[0].all()
    assert not gradient[1].any()
    assert batch.log_probs.grad is not None
    assert batch.log_probs.grad.isfinite().all()


@pytest.mark.parametrize("form", ["kl", "margin"])
def test_labels_weights_and_the_rest_of_the_batch(form: Any):
    unit = loss(scored((-2.0, -6.0)), form=form)
    other = loss(scored((-6.0, -3.0)), form=form)
    batch = scored((-2.0, -6.0), (-6.0, -3.0), weights=(1.0, 3.0), others=4.0)
    assert loss(batch, form=form) == pytest.approx((unit + 3 * other) / 8)
    labels = nll(batch).item()
    assert labels == pytest.approx(4 * 4.0 / 16)
    found = made(form=form, label_weight=0.25)(batch).item()
    assert found == pytest.approx(0.25 * labels + 0.75 * (unit + 3 * other) / 8)
    assert made(form=form, label_weight=1.0)(batch).item() == pytest.approx(labels)


@pytest.mark.parametrize("form", ["kl", "margin"])
@pytest.mark.parametrize("unknown", [(math.nan, -3.0), (-3.0, math.nan)])
def test_a_pair_whose_teacher_is_silent_has_no_part_in_it(form: Any, unknown: tuple[float, float]):
    batch = scored((-2.0, -6.0), unknown)
    found = made(form=form, label_weight=0.0)(batch)
    assert found.item() == pytest.approx(loss(scored((-2.0, -6.0)), form=form) / 2)
    found.backward()
    assert batch.pairs is not None
    assert batch.log_probs.grad is not None
    assert batch.pairs.log_probs.grad is not None
    assert batch.log_probs.grad[0].all()
    assert not batch.log_probs.grad[1].any()
    assert batch.pairs.log_probs.grad.isfinite().all()
    assert made(form=form, label_weight=0.0)(scored(unknown)).item() == 0.0


numbers = st.floats(-8.0, -0.01)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_the_paths_does_not_matter(paths: list[tuple[float, float]], order: Any):
    mixed = list(paths)
    order.shuffle(mixed)
    objective = made(temperature=2.0, teacher_temperature=0.5)

    def of(rows: list[tuple[float, float]]) -> float:
        sides = torch.tensor(rows, dtype=torch.float64).T
        return objective.align(sides[None, 0], sides[None, 1]).item()

    assert of(mixed) == pytest.approx(of(paths), rel=1e-9, abs=1e-12)


@given(st.sampled_from(["kl", "margin"]), numbers, numbers, numbers, st.floats(-3.0, 3.0))
def test_it_is_least_where_the_margins_agree(form: Any, a: float, b: float, shift: float, off: float):
    teacher = torch.tensor([[a, b]], dtype=torch.float64)
    student = (teacher + shift).requires_grad_()  # all paths less likely, by the same factor
    objective = made(form=form)
    least = objective.align(teacher, student).sum()
    assert least.item() == pytest.approx(0.0, abs=1e-9)
    least.backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6
    away = objective.align(teacher, teacher + shift + torch.tensor([[off, 0.0]], dtype=torch.float64)).item()
    assert away >= -1e-12
    assert away > 0 or abs(off) < 1e-3


def path(text: str, right: bool | None) -> Path:
    return Path("s", "somebody", text, None, right, Likelihood(-1, -1, 1, 1))


@pytest.mark.parametrize(
    ("prefer", "chosen", "other", "expected"),
    [
        ("verified", True, True, ("c", "o")),
        ("verified", True, False, ("c", "o")),
        ("verified", False, True, ("o", "c")),
        ("verified", None, True, ("c", "o")),
        ("verified", None, None, ("c", "o")),
        ("verified", False, False, None),
        ("verified", False, None, None),
        ("role", False, True, ("c", "o")),
        ("role", False, False, ("c", "o")),
    ],
)
def test_both_paths_are_a_pair_whoever_is_right(prefer: Any, chosen: Any, other: Any, expected: Any):
    lesson = made(prefer=prefer).lesson(Sample("s", "why?"), path("c", chosen), path("o", other))
    assert (lesson and (lesson.chosen, lesson.rejected)) == expected


@pytest.mark.parametrize("text", ["c", ""])
def test_a_path_is_no_pair_with_itself_or_with_nothing(text: str):
    lesson = made().lesson(Sample("s", "why?"), path("c", True), path(text, True))
    assert lesson is not None
    assert lesson.rejected is None


def test_it_asks_for_one_number_per_token_of_the_students_texts():
    needs = asks(PathAlignmentOptions())
    assert needs.signal == SignalSpec(1, "offsets", as_chunks=True, texts=("student",))
    assert (needs.rejected, needs.own_lessons, needs.teacher) == (True, False, {Verb.LOG_PROBS})
    assert (needs.alternatives, asks(PathAlignmentOptions(paths=5)).alternatives) == (0, 3)
    plain = asks(PathAlignmentOptions(label_weight=1.0))
    assert (plain.signal, plain.rejected) == (None, False)


@pytest.mark.parametrize(
    "options",
    [
        {"form": "margin", "temperature": 2.0},
        {"form": "margin", "teacher_temperature": 2.0},
        {"temperature": 0.0},
        {"label_weight": 1.5},
        {"form": "jsd"},
        {"paths": 1},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        PathAlignmentOptions(**options)
