from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.tasks.numerals import LONGEST, Number, numbers, same_number, whole_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", ["42"]),
        ("1,234.50", ["1234.5"]),
        ("1{,}234 and 5\\,000", ["1234", "5000"]),
        ("12,34,567", ["1234567"]),
        ("1,2,3", ["1", "2", "3"]),
        ("-5 \u22126 \uff0d7 \ufe638 \u20139 +1", ["-5", "-6", "-7", "-8", "-9", "1"]),
        ("5-3", ["5", "3"]),
        ("(2)-3 10 - 5 pages 3\u20135", ["2", "3", "10", "5", "3", "5"]),
        ("x = -3", ["-3"]),
        ("-$5 and $-6 and \\$7 and €8", ["-5", "-6", "7", "8"]),
        ("3/4 1/3 -1/3 4/2", ["0.75", "1/3", "-1/3", "2"]),
        ("2 1/2", ["2.5"]),
        ("-2 1/2", ["-2.5"]),
        ("\\frac{1}{3} \\dfrac{-3}{4} -\\frac{1}{2}", ["1/3", "-0.75", "-0.5"]),
        ("50% 12.5 % 5\\%", ["50%", "12.5%", "5%"]),
        (".5 0.50 5.", ["0.5", "0.5", "5"]),
        ("1e3 2.5E-1", ["1000", "0.25"]),
        ("x2 H2O covid19", []),
        ("42km 5th", ["42", "5"]),
        ("Rs.500", ["500"]),
        ("1/0", []),
        ("-0 0.0", ["0", "0"]),
        (f"{'9' * (LONGEST + 1)} 1e{LONGEST + 1} 7", ["7"]),
        ("2\\frac{1}{2}, -2\\frac12, \\frac 1 2, \\tfrac1{20}, 2\\ \\dfrac34", ["2.5", "-2.5", "0.5", "0.05", "2.75"]),
        ("2½ ¾ 3\u20444 2 and 1/2 1-1/2", ["2.5", "0.75", "0.75", "2.5", "1.5"]),
        ("12 cm^2, 7 m³, 5\\,\\mathrm{m\\,s^{-2}}, 90^\\circ", ["12", "7", "5", "90"]),
        ("3.2 \\times 10^5, 3.2E+05, 4 × 10⁶, 1.2·10³, 10^{-2}", ["320000", "320000", "4000000", "1200", "0.01"]),
        ("2^{10} 10**3 **7** 3", ["1024", "1000", "7", "3"]),
        (
            "10 000, 1\u2009234\u2009567.5, 1'234'567, 1\\;000, 5.000.000",
            ["10000", "1234567.5", "1234567", "1000", "5000000"],
        ),
        ("3\\sqrt{2} \\sqrt{5} 2\\pi 2x x_{12} 3:4 ±5 \\frac{x}{2} 0^{-1} 9^{999}", []),
        ("5 million, 50k, 3 thousand", ["5000000", "50000", "3000"]),
        ("negative 5, 10 minus 5, it is minus 5", ["-5", "10", "5", "-5"]),
        ("50 percent, \uff11\uff12", ["50%", "12"]),
        ("", []),
    ],
)
def test_numbers(text, expected):
    assert [str(number) for number in numbers(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("42", "42"), (" $1,000. ", "1000"), ("**7**", "7"), ("$\\frac{1}{4}$", "0.25"), ("-3", "-3")],
)
def test_whole_number(text, expected):
    assert str(whole_number(text)) == expected


@pytest.mark.parametrize("text", ["", "5 apples", "1 2", "x", "1,2", "3:4", "$"])
def test_no_whole_number(text):
    assert whole_number(text) is None


def test_percent():
    def same(a: str, b: str) -> bool:
        left, right = whole_number(a), whole_number(b)
        assert left is not None
        assert right is not None
        assert same_number(left, right) == same_number(right, left)
        return same_number(left, right)

    assert same("50%", "50")
    assert same("50%", "0.5")
    assert same("50%", "50.0%")
    assert not same("50%", "0.5%")
    assert not same("50%", "5")


VALUES = st.builds(Number, st.fractions(max_denominator=10**9, min_value=-(10**12), max_value=10**12), st.booleans())


@given(VALUES, VALUES)
@settings(deadline=None)
def test_equality_is_reflexive_and_symmetric(a, b):
    assert same_number(a, a)
    assert same_number(a, b) == same_number(b, a)


@given(VALUES)
@settings(deadline=None)
def test_what_is_written_is_read_again(number):
    assert whole_number(str(number)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
@settings(deadline=None)
def test_decimals_are_exact(value):
    for text in (str(value), f"{value:,}", f"{value}00"):
        found = whole_number(text)
        assert found is not None
        assert found.value == Fraction(value)
