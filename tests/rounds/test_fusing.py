"""One offer per sample, teacher by teacher: the same as if all were held against each other at once."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.needs import State
from lada.core.terms import Allocation, Knowledge, Lesson, Likelihood, Path, Selection, Vocabulary
from lada.fusers.base import Fuser
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
    choices = tuple(Selection(each.sample_id, source, 1.0, "") for each, source in told[teacher])  # type: ignore[arg-type]
    return Allocation(teacher, "llm", ROUND, choices)


def offer(teacher: str, told: Told) -> Offer:
    return Offer(Knowledge(teacher, ROUND, tuple(each for each, _ in told[teacher])))


def fused(told: Told, order: list[str]) -> dict[str, Won]:
    fusion = Fusion(LeastOf, {}, "llm", ROUND, {})
    for teacher in order:
        fusion.add(offer(teacher, told), allocation(teacher, told))
    return dict(fusion.won())


def at_once(told: Told) -> dict[str, list[tuple[Selection, Path]]]:
    """All offers for each sample held against each other, as the contract of a fuser says."""
    proposals: dict[str, dict[str, Path]] = {}
    for teacher, each in told.items():
        for its, source in each:
            if source == "teacher":
                proposals.setdefault(its.sample_id, {})[teacher] = its
    winners = {sample: LeastOf.fuse({}, "llm", offered)[1] for sample, offered in proposals.items()}
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
    fusion = Fusion(LeastOf, {}, "llm", ROUND, {})
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
    fusion = Fusion(LeastOf, {}, "llm", ROUND, {})
    fusion.add(offer("a", told), allocation("a", told))
    told["b"].append((path("b", "y", -1.0), "teacher"))
    with pytest.raises(KeyError):
        fusion.add(Offer(Knowledge("b", ROUND, (told["b"][0][0],))), allocation("b", told))
    assert [choice.sample_id for choice in fusion.won()["a"].allocation.choices] == ["x"]


class Fair(Fuser):
    """The party that has taught least so far; ties go by name. A receiver called `pupil` learns from itself."""

    def fuse(
        self, state: State, receiver: str, offers: Mapping[str, Path], own: Path | None = None
    ) -> tuple[State, str | None]:
        if receiver == "pupil" and own is not None:
            return state, None
        least = min(offers, key=lambda party: (int(state.get(party, 0)), party))
        return {**state, least: np.array(int(state.get(least, 0)) + 1)}, least


@given(offers(), st.randoms(use_true_random=False))
def test_a_fuser_with_a_state_sees_all_offers_of_a_sample_in_one_order(told: Told, random):
    def found(order: list[str]) -> tuple[dict[str, list[str]], dict[str, int]]:
        fusion = Fusion(Fair(), {"a": np.array(1)}, "llm", ROUND, {})
        for teacher in order:
            fusion.add(offer(teacher, told), allocation(teacher, told))
        won = {teacher: [p.sample_id for p in each.offer.knowledge.paths] for teacher, each in fusion.won().items()}
        return won, {party: int(count) for party, count in fusion.state.items()}

    order = list(told)
    random.shuffle(order)
    won, taught = found(order)
    assert (won, taught) == found(sorted(told))
    offered = {p.sample_id for each in told.values() for p, source in each if source == "teacher"}
    assert sorted(sample for each in won.values() for sample in each) == sorted(offered)
    counts, expected = {"a": 1}, {}
    for sample in sorted(offered):
        who = sorted(t for t, each in told.items() if any(p.sample_id == sample and s == "teacher" for p, s in each))
        best = min(who, key=lambda party: (counts.get(party, 0), party))
        counts[best] = counts.get(best, 0) + 1
        expected.setdefault(best, set()).add(sample)
    assert {teacher: set(each) for teacher, each in won.items() if each} == expected
    assert taught == counts


def test_it_may_differ_from_one_receiver_to_another():
    told: Told = {"a": [(path("a", "x", -1.0), "teacher")], "b": [(path("b", "x", -2.0), "teacher")]}
    own = {"x": path("pupil", "x", -9.0)}
    for receiver, expected in (("llm", {"a": ["x"], "b": []}), ("pupil", {"a": [], "b": []})):
        fusion = Fusion(Fair(), {}, receiver, ROUND, own)
        for teacher in told:
            fusion.add(offer(teacher, told), allocation(teacher, told))
        found = {teacher: [p.sample_id for p in each.offer.knowledge.paths] for teacher, each in fusion.won().items()}
        assert found == expected
