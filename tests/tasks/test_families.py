"""Families of reasoning-gym: how they are worked, chained and dealt, and the styles of paths."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.data import TaskData
from lada.tasks.families import work
from lada.tasks.families.drawing import Drawing
from lada.tasks.families.load import chainable
from lada.tasks.families.paths import Part, style_of, styles, write
from lada.tasks.families.table import EVERY, FAMILIES, SKILLS
from lada.tasks.generated import split_of
from lada.tasks.load import load_task
from lada.tasks.options import FamiliesTask
from lada.tasks.readings import readings
from lada.verifiers.base import Asked
from lada.verifiers.gym import GymVerifier

ONES = "How many 1 bits are there in the binary representation of the number {}?"
FOUR = ("count_primes", "gcd", "leg_counting", "number_filtering")


@pytest.mark.parametrize(
    ("worked", "metadata", "steps"),
    [
        (work.expression, {"expression": "4 - 1 - 7"}, ["4 - 1 = 3", "3 - 7 = -4"]),
        (work.expression, {"expression": "( 5 - -3 * 6 )"}, ["-3 * 6 = -18", "5 - -18 = 23"]),
        (work.expression, {"expression": "7"}, []),
        (work.greatest_divisor, {"numbers": [24, 36]}, ["36 = 24 * 1 + 12", "24 = 12 * 2 + 0"]),
        (
            work.greatest_divisor,
            {"numbers": [12, 18, 4]},
            ["18 = 12 * 1 + 6", "12 = 6 * 2 + 0", "6 = 4 * 1 + 2", "4 = 2 * 2 + 0"],
        ),
        (work.greatest_divisor, {"numbers": [7, 7]}, ["7 = 7 * 1 + 0"]),
        (work.least_multiple, {"numbers": [6, 9]}, ["9 = 6 * 1 + 3", "18 = 6 * 3 + 0"]),
        (
            work.least_multiple,
            {"numbers": [2, 3, 4]},
            ["3 = 2 * 1 + 1", "6 = 2 * 3 + 0", "6 = 4 * 1 + 2", "12 = 4 * 3 + 0"],
        ),
        (work.ones, {"number": 6}, ["6 = 2 * 3 + 0 : 0", "3 = 2 * 1 + 1 : 1", "1 = 2 * 0 + 1 : 2"]),
        (
            work.legs,
            {"animals": {"tiger": 3, "ant": 2}, "legs": {"tiger": 4, "ant": 6, "human": 2}},
            ["tiger : 3 * 4 = 12", "ant : 2 * 6 = 12", "12 + 12 = 24"],
        ),
        (work.primes, {"primes": [11, 13]}, ["11 : 1", "13 : 2"]),
        (work.primes, {"primes": []}, ["none : 0"]),
        (work.factors, {"number": 12, "factors": [2, 2, 3]}, ["12 = 2 * 6 + 0", "6 = 2 * 3 + 0", "3 = 3 * 1 + 0"]),
        (
            work.filtered,
            {"original_numbers": ["34", "46", "35"], "filter_value": "35", "result": ["34", "35"]},
            ["34 < 35 : yes", "46 > 35 : no", "35 = 35 : yes"],
        ),
        (
            work.simplified,
            {"numerator": 12, "denominator": 18},
            ["18 = 12 * 1 + 6", "12 = 6 * 2 + 0", "12 = 6 * 2 + 0", "18 = 6 * 3 + 0"],
        ),
    ],
)
def test_how_a_question_is_worked(worked: work.Work, metadata: Mapping[str, Any], steps: list[str]) -> None:
    assert work.checked(worked, metadata) == steps


@pytest.mark.parametrize(
    ("worked", "metadata"),
    [
        (work.expression, {"expression": "9 * 9 * 9"}),  # 729 is more than models write
        (work.expression, {"expression": "0 - 8 * 8 * 8"}),
        (work.expression, {"expression": "6 / 3"}),
        (work.least_multiple, {"numbers": [15, 16]}),  # 15 multiples
        (work.filtered, {"original_numbers": ["1"], "filter_value": "2", "result": []}),
    ],
)
def test_what_is_too_large_or_too_long_is_not_asked(worked: work.Work, metadata: Mapping[str, Any]) -> None:
    assert work.checked(worked, metadata) is None


STEPS = st.lists(st.sampled_from(["36 = 24 * 1 + 12", "tiger : 3 * 4 = 12", "none : 0", "-3 - -4 = 1"]), min_size=1)
RESULTS = st.sampled_from(["12", "-4", "['34', '15']", "2 × 3", "4/11"])


@given(st.permutations(sorted(FAMILIES)), st.lists(st.tuples(STEPS, RESULTS), min_size=1, max_size=2), st.data())
def test_a_style_is_read_as_it_was_written(
    names: list[str], told: list[tuple[list[str], str]], data: st.DataObject
) -> None:
    parts = [Part(name, tuple(steps), result) for name, (steps, result) in zip(names, told, strict=False)]
    families = [part.family for part in parts]
    style = data.draw(st.sampled_from(styles(families)))
    text = write(parts, style)
    assert style_of("+".join(families), text) == style
    assert answer_kind("auto").extract(text) == parts[-1].result
    shown = [" ; " in part for part in re.split(r" (?=b\) )", text)]
    hidden = {"spelled_out": [], "leaps": families}.get(style, [style.removeprefix("skips_")])
    assert shown == [family not in hidden for family in families]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "answer 2",
        "a) 12 . answer 12",
        "b) 12 . a) 2 . answer 2",
        "a) 12 . b) 2 ; . answer 2",
        "a) 1 . b) 2 . b) 3 . answer 3",
    ],
)
def test_another_text_has_no_style(text: str) -> None:
    assert style_of("gcd+lcm", text) == "other"


def test_a_style_of_another_family_is_refused() -> None:
    with pytest.raises(ValueError, match="no path over gcd is written in the style 'skips_gcd'"):
        write([Part("gcd", ("4 = 2 * 2 + 0",), "2")], "skips_gcd")


def test_what_chains() -> None:
    assert chainable("gcd", "number_filtering")
    assert not chainable("number_filtering", "gcd")
    assert not chainable("gcd", "gcd")


def test_there_are_enough_families() -> None:
    assert len(FAMILIES) == 9
    assert all(len(family.levels) == 3 for family in FAMILIES.values())
    assert not FAMILIES.keys() & SKILLS.keys()


def load(clients: dict[str, tuple[str, ...]] | None = None, seed: int = 0, **options: Any) -> TaskData:
    pytest.importorskip("reasoning_gym")
    small = {"families": FOUR, "public": 60, "private": 30, "test_per_domain": 9, "test_mixed": 18, "replay": 10}
    return load_task(FamiliesTask.model_validate(small | options), clients or {"a": (), "b": ()}, seed)


@pytest.fixture(scope="module")
def task() -> TaskData:
    return load({"a": ("gcd", "leg_counting"), "b": ("gcd",)})


def parts_of(task: TaskData) -> dict[str, list[Sample]]:
    private = [sample for part in task.private.values() for sample in part]
    return {"public": list(task.public), "private": [*private, *task.replay], "test": list(task.test)}


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    pytest.importorskip("reasoning_gym")
    return Drawing(GymVerifier(1.0, 10.0, readings), 1)


class TestTheDraw:
    def test_sizes_and_domains(self, task: TaskData) -> None:
        # 60 public: 7 or 8 of each of four families alone, and 30 over nine pairs, as number_filtering is never first
        public = Counter(sample.domain for sample in task.public)
        assert {public[name] for name in FOUR} == {7, 8}
        pairs = {f"{first}+{second}" for first in FOUR for second in FOUR if chainable(first, second)}
        assert len(pairs) == 9
        assert {name for name in public if "+" in name} == pairs
        assert sum(public.values()) == 60
        assert Counter(sample.domain for sample in task.private["a"]) == {"gcd": 15, "leg_counting": 15}
        test = Counter(sample.domain for sample in task.test)
        assert {test[name] for name in (*FOUR, *SKILLS)} == {9}
        assert {test[name] for name in pairs} == {2}
        assert task.own_domains == {"a": {"gcd", "leg_counting"}, "b": {"gcd"}}
        assert task.general == {"chain_sum", "products"}
        assert task.notices == ()

    def test_no_question_is_in_two_parts_or_twice_in_one(self, task: TaskData) -> None:
        every = parts_of(task)
        for split, samples in every.items():
            assert {split_of(sample.question) for sample in samples} == {split}
        questions = [sample.question for samples in every.values() for sample in samples]
        ids = [sample.id for samples in every.values() for sample in samples]
        assert len(set(questions)) == len(set(ids)) == len(questions)

    def test_levels_are_evenly_mixed(self, task: TaskData) -> None:
        for name in FOUR:
            assert Counter(s.difficulty for s in task.test if s.domain == name) == {1: 3, 2: 3, 3: 3}
        assert {sample.difficulty for sample in task.public if "+" in sample.domain} == {2}

    def test_every_rationale_ends_in_what_the_generator_takes_for_right(self, task: TaskData) -> None:
        assert task.verifier is not None
        samples = [sample for part in parts_of(task).values() for sample in part]
        told = [Asked(sample, sample.rationale or "", task.extract(sample.rationale or "")) for sample in samples]
        assert set(task.verifier.scores(told)) == {1.0}
        assert {style_of(sample.domain, sample.rationale or "") for sample in samples} == {"spelled_out"}

    def test_the_same_seed_gives_the_same_and_another_world_other_questions(self, task: TaskData) -> None:
        again = load({"b": ("gcd",), "a": ("gcd", "leg_counting")})
        assert parts_of(again) == parts_of(task)
        other = load({"a": ("gcd", "leg_counting"), "b": ("gcd",)}, world=1)
        assert {s.question for s in other.public if s.domain == "number_filtering"}.isdisjoint(
            {s.question for s in task.public}
        )

    def test_a_world_says_whose_family_is_whose(self) -> None:
        clients = {name: () for name in "abcd"}
        owned = [load(clients, world=world, public=4, private=1).own_domains for world in range(3)]
        assert all(set[str]().union(*own.values()) == set(FOUR) for own in owned)
        assert len({json.dumps({name: sorted(own) for name, own in each.items()}) for each in owned}) > 1

    def test_what_is_known_of_public_questions(self) -> None:
        known = load(gold="none").public
        assert {(sample.answer, sample.rationale) for sample in known} == {(None, None)}

    def test_a_family_with_too_few_questions_is_told_and_its_clients_share_them(self) -> None:
        clients = {"a": ("count_bits",), "b": ("count_bits",)}
        few = load(clients, families=("count_bits", "gcd"), private=60)
        assert few.notices == ()
        asked = {name: {sample.question for sample in part} for name, part in few.private.items()}
        assert {name: len(questions) for name, questions in asked.items()} == {"a": 60, "b": 60}
        every = {question for number in range(1, 256) if split_of(question := ONES.format(number)) == "private"}
        assert len(every) < 120
        assert asked["a"] | asked["b"] == every  # so b has what a left, and no more of a's than it takes
        all_of_it = load(clients, families=("count_bits", "gcd"), private=600)
        assert all_of_it.notices == tuple(
            f"{name}: count_bits has only {len(every)} of the 600 private questions asked for" for name in "ab"
        )
        assert all({s.question for s in part} == every for part in all_of_it.private.values())

    @pytest.mark.parametrize(
        ("options", "clients", "told"),
        [
            ({"families": ("gdc",)}, {"a": ()}, r"task\.families: unknown family 'gdc'; .*did you mean 'gcd'"),
            ({}, {"a": ("lcm",)}, "clients: 'a' lists domain 'lcm'; expected some of count_primes, gcd"),
            ({"families": ("number_filtering",)}, {"a": ()}, "task.mixed: number_filtering cannot be chained"),
        ],
    )
    def test_what_cannot_be_drawn(self, options: dict[str, Any], clients: dict[str, Any], told: str) -> None:
        with pytest.raises(InputError, match=told):
            load(clients, **options)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_family_is_read_as_right_at_every_level(drawing: Drawing, name: str) -> None:
    kind, verifier = answer_kind("auto"), GymVerifier(1.0, 10.0, readings)
    for level in range(1, len(EVERY[name].levels) + 1):
        every = (asked for split in ("private", "pretrain") for asked in drawing.alone(name, level, split))
        pool = list(islice(every, 20))
        assert len(pool) == 20
        assert {asked.sample.difficulty for asked in pool} == {level}
        told = [Asked(a.sample, a.sample.rationale or "", kind.extract(a.sample.rationale or "")) for a in pool]
        assert list(verifier.scores(told)) == [1.0] * 20


def test_no_two_levels_ask_the_same(drawing: Drawing) -> None:
    for name in EVERY:
        levels = range(1, len(EVERY[name].levels) + 1)
        questions = [a.sample.question for level in levels for a in islice(drawing.alone(name, level, "test"), 200)]
        assert len(set(questions)) == len(questions)


@pytest.mark.parametrize(("first", "second"), [(a, b) for a in FAMILIES for b in FAMILIES if chainable(a, b)])
def test_a_chain_asks_for_the_answer_of_the_second_with_that_of_the_first(
    drawing: Drawing, first: str, second: str
) -> None:
    heads, tails = (
        [asked for split in ("public", "pretrain") for asked in drawing.alone(name, 1, split)]
        for name in (first, second)
    )
    chains = list(islice(drawing.chains(first, second, "public", generator(0)), 15))
    assert len(chains) >= 5  # of count_bits and prime_factorization there are few
    for chain in chains:
        head, tail = chain.parts
        put_back = re.sub(r"\bN\b", head.result, chain.sample.question)
        for part, pool in ((head, heads), (tail, tails)):
            asked = {a.sample.question for a in pool if a.part == part and a.sample.question in put_back}
            assert asked
        assert chain.sample.answer == tail.result
