import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from tables import Row, candidates, rows

from lada.allocators.features import features, prior_reward, promising

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


def test_what_may_teach_something_by_hand():
    # Losses per byte are 0.1, 0.2 (twice), 0.4 and unknown: the median of those known is 0.2.
    means = (-0.25, -0.5, -0.5, -1.0, math.nan)
    blind = [Row("1", "2", teacher_mean=mean, student_mean=-0.1) for mean in means]
    assert promising(candidates(blind), gold=True, trusting=True).tolist() == [True, True, True, False, False]
    assert promising(candidates(blind), gold=True).tolist() == [False] * 5
    doubted = replace(candidates(blind), trusted=False)
    assert promising(doubted, gold=True, trusting=True).tolist() == [False] * 5
    agreed = [replace(row, student="1") for row in blind]
    assert promising(candidates(agreed), gold=False, trusting=True).tolist() == [False] * 5
    known = [Row("1", "2", teacher, student) for teacher in (True, False) for student in (True, False)]
    assert promising(candidates(known), gold=True).tolist() == [False, True, False, False]
    assert promising(candidates(known), gold=False, trusting=True).tolist() == [True] * 4
    nothing = [Row(None, "2"), Row("1", None, teacher_mean=math.nan, student_mean=math.nan)]
    assert promising(candidates(nothing), gold=False).tolist() == [False, False]
    assert promising(candidates([]), gold=True).tolist() == []
