import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import Row, candidates, rows

from lada.allocators.features import FEWEST_SURE, features, prior_reward, promising, vouched_for

LN = math.log


def test_features_by_hand():
    table = candidates(
        [
            Row(
                "1",
                "1",
                teacher_right=True,
                student_right=False,
                teacher_mean=LN(0.5),
                teacher_least=LN(0.25),
                student_mean=LN(0.75),
                student_least=LN(0.125),
                judged_mean=LN(0.375),
                judged_least=LN(0.0625),
            ),
            Row("1", None, teacher_mean=0.0, teacher_least=0.0, student_mean=math.nan, student_least=-math.inf),
        ]
    )
    x = features(table, np.array([1, 0]), 3)
    assert x.dtype == np.float32
    assert x[0].tolist() == pytest.approx([0.5, 0.25, 0.75, 0.125, 0.375, 0.0625, 1, 0, 0, 1, 0])
    assert x[1].tolist() == pytest.approx([1, 1, 0, 0, math.exp(-0.5), math.exp(-1), 0, 1, 1, 0, 0])


@given(rows())
def test_features_lie_between_0_and_1(table: list[Row]):
    x = features(candidates(table), np.zeros(len(table), int), 2)
    assert x.shape == (len(table), 10)
    assert ((x >= 0) & (x <= 1)).all()


def test_features_of_nothing():
    assert features(candidates([]), np.zeros(0, int), 4).shape == (0, 12)


# Who is right, then what the rule expects where the teacher's loss is the lower, the same, and not known.
@pytest.mark.parametrize(
    ("teacher", "student", "rewards"),
    [(True, False, [1, 0.5, 0.5]), (True, True, [0.5] * 3), (False, True, [0] * 3), (False, False, [0] * 3)],
)
def test_the_rule_with_gold_answers(teacher: bool, student: bool, rewards: list[float]):
    # The least sure tokens say the opposite of who is right.
    least = -9.0 if teacher else -0.1
    means = (-0.25, -0.5, math.nan)
    table = candidates([Row("1", "2", teacher, student, teacher_mean=m, teacher_least=least) for m in means])
    assert prior_reward(table, gold=True).tolist() == rewards


# The reward is by the mean loss per byte (10 bytes, 4 tokens), whatever the least sure token is.
BLIND = [
    (Row("1", "2", teacher_mean=-0.25, teacher_least=-1, student_least=-2), 1.0),
    (Row("1", "2", student_mean=-0.25, teacher_least=-2, student_least=-1), 0.0),
    (Row("1", "2", teacher_least=-1, student_least=-1), 0.0),
    (Row("1", "2", bytes=(20, 10)), 1.0),
    (Row("1", "1", teacher_mean=-0.25, teacher_least=-1, student_least=-2), 1.0),
    (Row("1", "1", student_mean=-0.25, teacher_least=-2, student_least=-1), 0.0),
    (Row("1", None, teacher_mean=-9, teacher_least=-9, student_least=-1), 1.0),
    (Row(None, "2", student_mean=-9, teacher_least=-1, student_least=-9), 0.0),
    (Row(None, None), 0.0),
    (Row("1", "2", teacher_mean=math.nan, teacher_least=math.nan, student_least=-9), 0.0),
    (Row("1", "2", student_mean=math.nan, teacher_least=-9, student_least=math.nan), 1.0),
]


@pytest.mark.parametrize(("row", "reward"), BLIND)
def test_the_rule_without_gold_answers(row: Row, reward: float):
    table = candidates([row])
    assert prior_reward(table, gold=False).tolist() == [reward]


@pytest.mark.parametrize(("row", "reward"), BLIND)
def test_without_a_gold_answer_there_is_none_to_read(row: Row, reward: float):
    table = candidates([row, Row("1", "2", True, False, teacher_mean=-0.25)])
    assert prior_reward(table, gold=True).tolist() == [reward, 1.0]


@given(rows())
def test_the_form_without_gold_answers_reads_none(table: list[Row]):
    flipped = [replace(row, teacher_right=not row.teacher_right, student_right=None) for row in table]
    assert np.array_equal(prior_reward(candidates(table), gold=False), prior_reward(candidates(flipped), gold=False))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch):
    """Conclusions are drawn from one path."""
    monkeypatch.setattr("lada.allocators.features.FEWEST_SURE", 1)


@pytest.mark.usefixtures("few")
def test_who_is_vouched_for_by_hand():
    # Of 20 paths the student is surest of two, whose loss per byte is the least: it gives the teacher's answer on one.
    sure = [Row("1", "1", student_mean=-0.1), Row("1", "2", student_mean=-0.1)]
    rest = [Row("1", answer, student_mean=mean) for answer in ("1", "2", None) for mean in (-0.2, math.nan, -math.inf)]
    half = candidates([*rest, *sure, *rest])
    assert [vouched_for(half, share) for share in (0.0, 0.49, 0.5, 1.0)] == [True, True, False, False]
    whole = candidates([*rest, sure[0], sure[0], *rest])
    assert [vouched_for(whole, share) for share in (0.99, 1.0)] == [True, False]
    assert not vouched_for(candidates([*rest, sure[1], sure[1], *rest]), 0.0)
    assert not vouched_for(replace(whole, role="server"), 0.0)
    # Of twenty-nine paths it is two, of nine none.
    assert not vouched_for(candidates([sure[0]] * 9), 0.0)
    assert not vouched_for(candidates([*sure, *rest, *rest, *rest]), 0.5)
    assert not vouched_for(candidates([]), 0.0)


def test_few_paths_vouch_for_nobody():
    agreed = Row("1", "1", student_mean=-0.1)
    assert FEWEST_SURE == 10
    assert [vouched_for(candidates([agreed] * count), 0.8) for count in (99, 100)] == [False, True]


@pytest.mark.usefixtures("few")
def test_what_may_teach_something_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lada.allocators.features.SURE", 5)  # one of the five or six
    # The student is surest of the last path, on which both agree. The teacher is the less uncertain in the first one.
    means = (-0.25, -0.5, -1.0, math.nan)
    blind = [*(Row("1", "2", teacher_mean=mean) for mean in means), Row(None, "2"), Row("1", "1", student_mean=-0.1)]
    assert promising(candidates(blind), gold=True, vouch=0.8).tolist() == [True] * 4 + [False] * 2
    assert promising(candidates(blind), gold=True).tolist() == [True] + [False] * 5
    doubted = replace(candidates(blind), role="server")
    assert promising(doubted, gold=True, vouch=0.8).tolist() == [True] + [False] * 5
    wrong = [replace(row, teacher_right=False) for row in blind]
    assert promising(candidates(wrong), gold=True, vouch=0.8).tolist() == [False] * 6
    assert promising(candidates(wrong), gold=False, vouch=0.8).tolist() == [True] * 4 + [False] * 2
    known = [Row("1", "2", teacher, student) for teacher in (True, False) for student in (True, False)]
    assert promising(candidates(known), gold=True).tolist() == [False, True, False, False]
    assert promising(candidates([*known, blind[-1]]), gold=False, vouch=0.8).tolist() == [True] * 4 + [False]
    nothing = [Row(None, "2"), Row("1", None, teacher_mean=math.nan, student_mean=math.nan)]
    assert promising(candidates(nothing), gold=False).tolist() == [False, False]
    assert promising(candidates([]), gold=True).tolist() == []


@given(rows(), st.floats(0, 1), st.booleans())
def test_a_teacher_that_is_believed_more_teaches_no_less(table: list[Row], vouch: float, gold: bool):
    most, least = (promising(candidates(table), gold=gold, vouch=share) for share in (vouch, 1.0))
    assert (most | ~least).all()
    assert not most[np.array([row.teacher is None and not row.teacher_right for row in table])].any()
