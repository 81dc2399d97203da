"""LALP: steps with their windows, the tokens of each, and what is chosen."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tables import Row, candidates, choose, make, scores

from lada.allocators.lalp import local_steps, step_log_prob
from lada.core.terms import TokenScores


def by_bytes(likely: dict[str, float]):
    """Return a reader of bytes as tokens, each as likely as the text it is in says; 0.5 where nothing is said."""
    return lambda _, text: scores(*[likely.get(text, 0.5)] * len(text.encode()))


@pytest.mark.parametrize(
    ("text", "window", "expected"),
    [
        ("a 1 . b 2 . answer 3", 0, [(0, "a 1 . "), (0, "b 2 . "), (0, "answer 3")]),
        ("a 1 . b 2 . answer 3", 1, [(0, "a 1 . "), (6, "a 1 . b 2 . "), (6, "b 2 . answer 3")]),
        ("a 1 . b 2 . answer 3", 9, [(0, "a 1 . "), (6, "a 1 . b 2 . "), (12, "a 1 . b 2 . answer 3")]),
        ("It is 3.5 kg.\nSo? Yes!  4", 0, [(0, "It is 3.5 kg.\n"), (0, "So? "), (0, "Yes!  "), (0, "4")]),
        ("é. ü", 1, [(0, "é. "), (4, "é. ü")]),
        ("\n\n  \na", 1, [(0, "a")]),
        ("one step", 3, [(0, "one step")]),
        ("", 1, []),
    ],
)
def test_steps_and_their_windows(text: str, window: int, expected: list[tuple[int, str]]):
    assert list(local_steps(text, window)) == expected


@given(st.text(st.sampled_from("a1é .!\n"), max_size=30))
def test_the_steps_are_the_text(text: str):
    steps = [part.encode()[start:].decode() for start, part in local_steps(text, 2)]
    assert "".join(steps).split() == text.split()


def test_a_step_is_its_own_tokens_alone():
    # Tokens of 0.5 at bytes 0 to 2, of 0.25 at 3 and 4; the last stands for the end.
    read = scores(0.5, 0.5, 0.5, 0.25, 0.25, 0.125)
    assert step_log_prob(read, 3, 5) == pytest.approx(math.log(0.25))
    assert step_log_prob(read, 2, 5) == pytest.approx((math.log(0.5) + 2 * math.log(0.25)) / 3)
    assert math.isnan(step_log_prob(read, 5, 5))
    assert math.isnan(step_log_prob(None, 0, 5))


PATHS = ("a . b", "c . d", "e")
LIKELY = {"a . ": 0.8, "a . b": 0.2, "c . ": 0.5, "c . d": 0.4, "e": 0.3}
"""Means over steps: (ln 0.8 + ln 0.2) / 2 = -0.916, (ln 0.5 + ln 0.4) / 2 = -0.805, ln 0.3 = -1.204. Hardest: ln 0.2 =
-1.609, ln 0.4 = -0.916, -1.204."""


def table(*right: bool | None, likely: dict[str, float] = LIKELY):
    rows = [Row(path=path, teacher_right=each) for path, each in zip(PATHS, right, strict=True)]
    return candidates(rows, read=by_bytes(likely))


def test_a_path_counts_by_its_mean_step_or_by_its_hardest():
    blind = table(None, None, None)
    assert [i for i, _ in choose("lalp", blind)] == [1, 0, 2]
    assert [i for i, _ in choose("lalp", blind, over="hardest")] == [1, 2, 0]
    assert [i for i, _ in choose("lalp", blind, budget=1)] == [1]
    found = make("lalp").apply({}, blind)[1].scores
    assert [found[f"q{i}"] for i in range(3)] == pytest.approx([-0.9162907, -0.8047190, -1.2039728])


def test_known_to_be_wrong():
    assert [i for i, _ in choose("lalp", table(True, False, None), gold=True)] == [0, 2]


def test_a_window_of_none_reads_each_step_by_itself():
    alone = table(None, None, None, likely={"a . ": 0.8, "b": 0.9, "c . ": 0.5, "d": 0.4, "e": 0.3})
    assert [i for i, _ in choose("lalp", alone, window=0)] == [0, 1, 2]


def test_a_path_that_cannot_be_read_whole_is_not_taken():
    def read(place: int, text: str) -> TokenScores | None:
        return None if text == "c . d" else scores(*[0.5] * len(text))

    rows = [Row(path="a . b"), Row(path="c . d"), Row(path="")]
    rule = make("lalp")
    _, allocation, _ = rule.apply({}, candidates(rows, read=read))
    assert [choice.sample_id for choice in allocation.choices] == ["q0"]
    assert np.isnan([allocation.scores["q1"], allocation.scores["q2"]]).all()


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="window"):
        make("lalp", window=-1)
    with pytest.raises(ValidationError, match="over"):
        make("lalp", over="worst")
