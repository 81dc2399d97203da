import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.terms import Likelihood, Path
from lada.evaluation.agreement import agreement

ANSWERS = st.lists(st.tuples(st.sampled_from("123") | st.none(), st.sampled_from("123") | st.none()), min_size=1)


def paths(answers, ids=None):
    return [
        Path(name, "writer", "", answer, None, Likelihood(0.0, 0.0, 1, 1))
        for name, answer in zip(ids or map(str, range(len(answers))), answers, strict=True)
    ]


def equal(a: str | None, b: str) -> bool:
    return a == b


def test_by_hand():
    # Same; different; one silent; the other silent; both silent.
    a, b = paths(["7", "7", None, "7", None]), paths(["7", "8", "7", None, None])
    assert agreement(a, b, equal) == 20.0


def test_uses_the_check_it_is_given():
    assert agreement(paths(["7", "1/2"]), paths(["7.0", "0.5"]), lambda a, b: a == "7" and b == "7.0") == 50.0


@given(ANSWERS)
def test_is_symmetric_and_a_percentage(answers):
    left, right = zip(*answers, strict=True)
    found = agreement(paths(left), paths(right), equal)
    assert found == 100 * sum(a == b and a is not None for a, b in answers) / len(answers)
    assert agreement(paths(right), paths(left), equal) == found
    assert 0 <= found <= 100


@given(st.lists(st.sampled_from("123"), min_size=1))
def test_everybody_agrees_with_oneself(answers):
    assert agreement(paths(answers), paths(answers), equal) == 100


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (paths([]), paths([]), "no paths"),
        (paths(["1"]), paths(["1", "1"]), "1 and 2 sample ids"),
        (paths(["1", "1"], ["x", "y"]), paths(["1", "1"], ["x", "z"]), "position 1: 'y' and 'z'"),
    ],
)
def test_refuses_different_questions(a, b, message):
    with pytest.raises(ValueError, match=message):
        agreement(a, b, equal)
