"""Numbers as people write them, read exactly: `-1,234.50`, `3/4`, `2 1/2`, `\\frac{1}{3}`, `50%`, `$5`, `1e3`.

A comma groups digits and a full stop marks decimals, as in English. A minus sign counts only where it touches the
number and nothing that it could be subtracted from stands before it: `5-3` ends in 3, `x = -3` in -3.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 100
"""Digits, and size of the exponent, beyond which a numeral is not read: nobody's answer, but a trap for `int`."""

_MINUS = "-\u2212\ufe63\uff0d\u2013"
_SIGN = rf"[{_MINUS}+]"
_PLAIN = (
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{2,3}){0,30},[0-9]{3}(?![0-9])|[0-9]++)(?:\.[0-9]++)?|(?<!\w)\.[0-9]++)"
    r"(?:[eE][-+]?[0-9]++)?"
)
_NUMERAL = re.compile(
    rf"(?P<sign>(?<![0-9A-Za-z_)\]}}%]){_SIGN})?(?:\\?[$€£¥])?"
    rf"(?:\\[dt]?frac\{{(?P<top>{_SIGN}?{_PLAIN})\}}\{{(?P<bottom>{_SIGN}?{_PLAIN})\}}"
    rf"|(?<![0-9A-Za-z_])(?:(?P<whole>[0-9]++)[ ](?=[0-9]++/[0-9]))?"
    rf"(?P<number>{_PLAIN})(?:[ ]?/[ ]?(?P<under>{_PLAIN}))?"
    rf")(?P<percent>[ ]?\\?%)?"
)
_AS_ASCII = str.maketrans(dict.fromkeys(_MINUS, "-") | {",": None})


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `percent` says that a percent sign followed it, so `50%` has the value 50."""

    value: Fraction
    percent: bool

    def __str__(self) -> str:
        """Write equal numbers alike: as a decimal where one ends, else as a reduced fraction."""
        top, bottom = abs(self.value.numerator), self.value.denominator
        places = next((n for n in range(4 * LONGEST) if 10**n % bottom == 0), None)
        if places is None:
            digits = f"{top}/{bottom}"
        else:
            digits = str(top * 10**places // bottom).rjust(places + 1, "0")
            digits = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        return ("-" if self.value < 0 else "") + digits + ("%" if self.percent else "")


def same_number(a: Number, b: Number) -> bool:
    """Compare exactly. Where one of two has a percent sign, `50%` equals both `50` and `0.5`."""
    if a.percent == b.percent:
        return a.value == b.value
    percent, plain = (a, b) if a.percent else (b, a)
    return plain.value in (percent.value, percent.value / 100)


def numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a text in their order."""
    for match in _NUMERAL.finditer(_tidy(text)):
        number = _read(match)
        if number is not None:
            yield number


def whole_number(text: str) -> Number | None:
    """Return the number that `text` is, but for a closing full stop and dollar or emphasis marks around it."""
    match = _NUMERAL.fullmatch(_tidy(text).strip().strip("*$ ").removesuffix("."))
    return _read(match) if match else None


def _tidy(text: str) -> str:
    """Drop the LaTeX spacing that groups digits."""
    return text.replace("{,}", ",").replace("\\,", "").replace("\\!", "")


def _read(match: re.Match[str]) -> Number | None:
    if match["number"] is not None:
        top, bottom = _exact(match["number"]), _exact(match["under"] or "1")
    else:
        top, bottom = _exact(match["top"]), _exact(match["bottom"])
    whole = _exact(match["whole"] or "0")
    if top is None or whole is None or not bottom:
        return None
    value = whole + top / bottom
    return Number(-value if match["sign"] not in (None, "+") else value, match["percent"] is not None)


def _exact(numeral: str) -> Fraction | None:
    mantissa, _, exponent = numeral.translate(_AS_ASCII).lower().partition("e")
    if len(mantissa) > LONGEST or len(exponent) > LONGEST or abs(int(exponent or "0")) > LONGEST:
        return None
    return Fraction(mantissa) * Fraction(10) ** int(exponent or "0")
