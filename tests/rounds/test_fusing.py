"""One offer per sample, teacher by teacher: the same as if all were held against each other at once."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.terms import Allocation, Choice, Knowledge, Lesson, Likelihood, Path, Vocabulary
from lada.fusers.least_loss import LeastLoss, LeastLossOptions
from lada.rounds.fusing import Fusion, Won
from lada.rounds.knowledge import Offer

ROUND = 3
LeastOf = LeastLoss(LeastLossOptions(below_own=False))
Told = dict[str, list[tuple[Path, str]]]
"""Paths by teacher, each with the source of the student's choice, in the order of the allocation."""


def path(teacher: str, sample: str, total: float, size: int = 4) -> Path:
    return Path(sample, teacher, f"{teacher} on {sample}", "1", None, Likelihood(total, total, 2, size))


def allocation(teacher: str, told: Told) -> Allocation:
    choices = tuple(Choice(each.sample_id, source, 1.0, "") for each, source in told[teacher])  # type: ignore[arg-type]
    return Allocation(teacher, "llm", ROUND, choices)


def offer(teacher: str, told: Told) -> Offer:
    return Offer(Knowledge(teacher, ROUND, tuple(each for each, _ in told[teacher])))


def fused(told: Told, order: list[str]) -> dict[str, Won]:
    fusion = Fusion(LeastOf, "llm", ROUND)
    for teacher in order:
        fusion.add(offer(teacher, told), allocation(teacher, told))
    return dict(fusion.won())


def at_once(told: Told) -> dict[str, list[tuple[Choice, Path]]]:
    """All offers for each sample held against each other, as the contract of a fuser says."""
    proposals: dict[str, dict[str, Path]] = {}
    for teacher, each in told.items():
        for its, source in each:
            if source == "teacher":
                proposals.setdefault(its.sample_id, {})[teacher] = its
    winners = {sample: LeastOf.fuse(offered) for sample, offered in proposals.items()}
    return {
        teacher: [
            (choice, its)
            for choice, (its, _) in zip(allocation(teacher, told).choices, told[teacher], strict=True)
            if winners.get(its.sample_id) == teacher
        ]
        for teacher in sorted(told)
    }


@st.composite
def offers(draw: st.DrawFn) -> Told:
    told: Told = {}
    for teacher in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)):
        samples = draw(st.lists(st.sampled_from("xyz"), unique=True))
        told[teacher] = [
            (
                path(
                    teacher,
                    sample,
                    draw(st.sampled_from([-1.0, -2.0, -4.0, -math.inf, math.nan])),
                    draw(st.integers(0, 3)),
                ),
                draw(st.sampled_from(["teacher", "student"])),
            )
            for sample in samples
        ]
    return told


@given(offers(), st.randoms(use_true_random=False))
def test_one_by_one_in_any_order_is_as_all_at_once(told: Told, random):
    order = list(told)
    random.shuffle(order)
    expected = at_once(told)
    found = fused(told, order)
    assert list(found) == list(expected)
    for teacher, won in found.items():
        assert list(zip(won.allocation.choices, won.offer.knowledge.paths, strict=True)) == expected[teacher]
        assert (won.allocation.teacher, won.allocation.student, won.allocation.round) == (teacher, "llm", ROUND)


def test_what_goes_with_a_path_goes_with_it_alone():
    told: Told = {
        "a": [(path("a", "x", -1.0), "teacher"), (path("a", "y", -9.0), "teacher")],
        "b": [(path("b", "y", -1.0), "teacher")],
    }
    words = [Vocabulary((b"w",), 0) for _ in range(2)]
    lessons = {teacher: [Lesson(p.sample_id, "?", p.text) for p, _ in told[teacher]] for teacher in told}
    fusion = Fusion(LeastOf, "llm", ROUND)
    for (teacher, known), vocabulary in zip(lessons.items(), words, strict=True):
        scores = {p.sample_id: p.text for p, _ in told[teacher]}
        fusion.add(
            replace(offer(teacher, told), scores=scores, vocabulary=vocabulary),  # type: ignore[arg-type]
            allocation(teacher, told),
            known,
        )
    won = fusion.won()
    assert {teacher: dict(each.offer.scores) for teacher, each in won.items()} == {
        "a": {"x": "a on x"},
        "b": {"y": "b on y"},
    }
    assert {teacher: [k.sample_id for k in each.known] for teacher, each in won.items()} == {"a": ["x"], "b": ["y"]}
    assert won["a"].offer.vocabulary is won["b"].offer.vocabulary is words[0], "equal vocabularies are held once"


def test_a_choice_without_a_path_changes_nothing():
    told: Told = {"a": [(path("a", "x", -1.0), "teacher")], "b": [(path("b", "x", -0.5), "teacher")]}
    fusion = Fusion(LeastOf, "llm", ROUND)
    fusion.add(offer("a", told), allocation("a", told))
    told["b"].append((path("b", "y", -1.0), "teacher"))
    with pytest.raises(KeyError):
        fusion.add(Offer(Knowledge("b", ROUND, (told["b"][0][0],))), allocation("b", told))
    assert [choice.sample_id for choice in fusion.won()["a"].allocation.choices] == ["x"]
