import pytest

from lada.core.seeds import generator
from lada.tasks.rules import KINDS, OutOfRange, Rule, apply, draw_rule, show

MON, TUE, WED, THU, SAT, SUN = 0, 1, 2, 3, 5, 6


@pytest.mark.parametrize(
    ("rule", "value", "first", "argument", "result", "steps"),
    [
        (Rule("argument", (1,)), 7, 3, 6, 13, ["7 + 6 = 13"]),
        (Rule("argument", (-1,)), 11, 7, 6, 5, ["11 - 6 = 5"]),
        (Rule("constant", (4,)), 7, 7, None, 11, ["7 + 4 = 11"]),
        (Rule("constant", (-7,)), 7, 7, None, 0, ["7 - 7 = 0"]),
        (Rule("constant", (1,)), 19, 0, None, 20, ["19 + 1 = 20"]),
        (Rule("times", (3,)), 6, 1, None, 18, ["6 * 3 = 18"]),
        (Rule("times", (2,)), 10, 1, None, 20, ["10 * 2 = 20"]),
        (Rule("two", (6, -2)), 8, 1, None, 12, ["8 + 6 = 14", "14 - 2 = 12"]),
        (Rule("threshold", (-3, 4), 12), 13, 1, None, 10, ["13 over 12", "13 - 3 = 10"]),
        (Rule("threshold", (-3, 4), 12), 12, 1, None, 16, ["12 within 12", "12 + 4 = 16"]),
        (Rule("first", (1,)), 5, 9, None, 14, ["5 + 9 = 14"]),
        (Rule("first", (-1,)), 9, 9, None, 0, ["9 - 9 = 0"]),
    ],
)
def test_numbers(rule, value, first, argument, result, steps):
    assert apply(rule, value, first, argument, "number") == (result, steps)


@pytest.mark.parametrize(
    ("rule", "value", "argument", "result", "steps"),
    [
        (Rule("argument", (1,)), SUN, 1, MON, ["sunday + 1 = monday"]),
        (Rule("argument", (-1,)), MON, 3, 4, ["monday - 3 = friday"]),
        (Rule("constant", (-2,)), MON, None, SAT, ["monday - 2 = saturday"]),
        (Rule("two", (3, -1)), SAT, None, MON, ["saturday + 3 = tuesday", "tuesday - 1 = monday"]),
        (Rule("threshold", (-2, 3), WED), THU, None, TUE, ["thursday over wednesday", "thursday - 2 = tuesday"]),
        (Rule("threshold", (-2, 3), WED), WED, None, SAT, ["wednesday within wednesday", "wednesday + 3 = saturday"]),
        (Rule("constant", (9,)), MON, None, WED, ["monday + 9 = wednesday"]),
    ],
)
def test_weekdays_wrap_around(rule, value, argument, result, steps):
    assert apply(rule, value, MON, argument, "weekday") == (result, steps)


@pytest.mark.parametrize(
    ("rule", "value", "first", "argument"),
    [
        (Rule("argument", (1,)), 12, 0, 9),
        (Rule("argument", (-1,)), 8, 0, 9),
        (Rule("constant", (1,)), 20, 0, None),
        (Rule("constant", (-1,)), 0, 0, None),
        (Rule("times", (3,)), 7, 0, None),
        (Rule("two", (9, -9)), 12, 0, None),  # only the value in between is out of range
        (Rule("threshold", (-9, 9), 5), 6, 0, None),
        (Rule("first", (1,)), 11, 10, None),
        (Rule("first", (-1,)), 3, 4, None),
    ],
)
def test_out_of_range(rule, value, first, argument):
    with pytest.raises(OutOfRange):
        apply(rule, value, first, argument, "number")


def test_show():
    assert (show(7, "number"), show(0, "weekday"), show(6, "weekday")) == ("7", "monday", "sunday")


@pytest.mark.parametrize("scale", ["number", "weekday"])
def test_drawn_rules_are_of_their_kind_and_new(scale):
    rng = generator("test rules", scale)
    most = 9 if scale == "number" else 3
    for kind in KINDS[scale]:
        first = draw_rule(kind, scale, rng, set())
        assert draw_rule(kind, scale, rng, {first}) != first
        for _ in range(30):
            rule = draw_rule(kind, scale, rng, set())
            assert rule.kind == kind
            assert 0 not in rule.amounts
            assert all(abs(amount) <= most for amount in rule.amounts)
            if kind == "two":
                assert rule.amounts[0] > 0 > rule.amounts[1]
            if kind == "threshold":
                assert rule.amounts[0] < 0 < rule.amounts[1]
                assert rule.limit in (range(5, 15) if scale == "number" else range(1, 6))
