import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.terms import Likelihood, Path
from lada.fusers.base import FUSERS


def fuser(**options: Any):
    method = FUSERS.get("least_loss")
    return method.make(method.options(**options))


def fuse(offers: dict[str, Path], own: Path | None = None, *, below_own: bool = True) -> str | None:
    state, choice = fuser(below_own=below_own).fuse({}, "slm", offers, own)
    assert not state
    return choice


def path(total: float, size: int, tokens: int = 1) -> Path:
    return Path("s-1", "anybody", "text", None, None, Likelihood(total, total, tokens, size))


def test_nats_per_byte_decide_not_tokens_or_sums():
    # 4 / 10 = 0.4, 9 / 30 = 0.3, 1 / 2 = 0.5 nats per byte. By sum c would win, by token a (4 / 40).
    proposals = {"a": path(-4, 10, tokens=40), "b": path(-9, 30, tokens=2), "c": path(-1, 2)}
    assert fuse(proposals) == "b"


@pytest.mark.parametrize(
    ("own", "below_own", "expected"),
    [
        (path(-3.0, 8), True, "b"),  # 0.375 > 0.25
        (path(-2.0, 8), True, None),  # 0.25 is not above 0.25
        (path(-1.0, 8), True, None),
        (path(-1.0, 8), False, "b"),
        (path(math.nan, 8), True, "b"),
        (None, True, "b"),
    ],
)
def test_the_receiver_keeps_what_it_is_surer_of(own: Path | None, below_own: bool, expected: str | None):
    proposals = {"a": path(-2, 4), "b": path(-2, 8)}
    assert fuse(proposals, own, below_own=below_own) == expected


def test_ties_go_to_the_first_name_whatever_the_order():
    proposals = {"c": path(-1, 2), "b": path(-2, 4), "d": path(-1, 2)}
    assert fuse(proposals) == "b"
    assert fuse(dict(reversed(proposals.items()))) == "b"


def test_near_ties_are_no_ties():
    # Apart by less than bfloat16 can tell at this size, 2^-8.
    assert fuse({"a": path(-1.0, 1), "b": path(-1.0 + 1e-9, 1)}) == "b"
    assert fuse({"a": path(-1.0 + 1e-9, 1)}, path(-1.0, 1)) == "a"
    assert fuse({"a": path(-1.0, 1)}, path(-1.0 + 1e-9, 1)) is None


def test_nan_never_wins_and_nobody_wins_without_a_proposal():
    assert fuse({"a": path(math.nan, 1), "b": path(-99.0, 1)}) == "b"
    assert fuse({"a": path(math.nan, 1)}) is None
    assert fuse({}) is None


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(min_value=-50, max_value=0), min_size=1))
def test_the_winner_has_the_least_loss(totals: dict[str, float]):
    winner = fuse({party: path(total, 5) for party, total in totals.items()})
    assert winner is not None
    assert totals[winner] == max(totals.values())
