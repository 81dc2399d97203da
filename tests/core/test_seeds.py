import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.seeds import by_chance, generator, next_draw, one_of, seed_of

ADDRESSES = st.lists(st.text(max_size=5) | st.integers(-3, 3), max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("address", "seed", "draws"),
    [
        ((), 1665333220245342802, [964, 319, 841, 267]),
        ((0,), 5254295370254170289, [587, 952, 928, 265]),
        (("0",), 7722831685529316994, [415, 730, 587, 260]),
        ((0, 1, "distil", "c1", "shuffle"), 8856773523025617806, [790, 541, 559, 866]),
        (("world", 7, "clinic"), 5074285936053950645, [837, 231, 119, 149]),
    ],
)
def test_seeds_never_change(address, seed, draws):
    """The shipped models and every published number hang on these."""
    assert seed_of(*address) == seed
    assert generator(*address).integers(0, 1000, 4).tolist() == draws


def test_seed_is_the_head_of_a_digest():
    digest = hashlib.sha256(b"(0, 'distil')").hexdigest()
    assert seed_of(0, "distil") == int(digest[:16], 16) // 2


@given(ADDRESSES, ADDRESSES)
def test_different_addresses_have_different_seeds(a, b):
    assert (seed_of(*a) == seed_of(*b)) == (a == b)
    assert 0 <= seed_of(*a) < 2**63


def test_parts_do_not_run_into_each_other():
    addresses = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (1, 23), (12, 3), ("1", 23), ("a', 'b",), ("a", "b")]
    assert len({seed_of(*address) for address in addresses}) == len(addresses)


def test_generator_owes_nothing_to_what_was_drawn_before():
    first = generator(1, "x").random(3)
    np.random.default_rng(0).random(10)
    generator(1, "y").random(10)
    assert (generator(1, "x").random(3) == first).all()
    assert (generator(1, "y").random(3) != first).all()


@given(st.lists(st.integers(), min_size=1, max_size=300), st.integers(0, 2**32))
def test_one_of_many_is_what_choice_would_draw(options, seed):
    """Every corpus was drawn by choice; the third draw tells that no more was taken from the generator either."""
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    assert [one_of(ours, options), one_of(ours, options), ours.random()] == [
        options[theirs.choice(len(options))],
        options[theirs.choice(len(options))],
        theirs.random(),
    ]


def test_one_of_none_is_an_error():
    with pytest.raises(ValueError, match="<= 0"):
        one_of(generator(), ())


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any), st.integers(0, 2**32))
def test_by_chance_is_what_choice_would_draw(weights, seed):
    chances = {key: weight / sum(weights) for key, weight in enumerate(weights)}
    ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
    assert [by_chance(ours, chances), by_chance(ours, chances), ours.random()] == [
        theirs.choice(list(chances), p=list(chances.values())),
        theirs.choice(list(chances), p=list(chances.values())),
        theirs.random(),
    ]


@pytest.mark.parametrize(("point", "key"), [(0.0, "a"), (0.2499, "a"), (0.25, "b"), (0.999, "b")])
def test_by_chance_takes_the_key_whose_share_holds_the_point(point: float, key: str):
    rng: Any = SimpleNamespace(random=lambda: point)
    assert by_chance(rng, {"a": 0.25, "never": 0.0, "b": 0.75}) == key


def test_draws_differ_and_a_kept_state_goes_on_alike():
    state, numbers, states = {"seed": np.array(7)}, [], []
    for _ in range(3):
        states.append(state)
        state, rng = next_draw(state)
        assert int(state["seed"]) == seed_of(int(states[-1]["seed"]), "next")
        numbers.append(rng.random())
    assert len(set(numbers)) == 3
    assert [next_draw(kept)[1].random() for kept in states] == numbers
