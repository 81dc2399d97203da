"""Reads numbers exactly, in the forms in which people write them: `-1,234.50`, `10 000`, `2½`, `\\frac12`, `1.2 ×
10^3`, `50%`.

A comma groups digits and a full stop marks decimals, as in English. A minus sign counts only if it touches the number
and nothing before it could be the minuend: `5-3` ends with 3, `x = -3` with -3. Texts that only look like a number are
ignored: the exponent of a unit (`cm^2`), an index (`x_{12}`), a ratio or time (`3:4`), a factor (`2x`, `3\\sqrt{2}`),
one of two (`±5`).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from lada.tasks.remembered import remembered
from lada.tasks.wrappers import unwrap

LONGEST = 100
"""The most digits, and the largest exponent, of a numeral. Larger ones are never an answer, but would be a trap for
`int`."""

_MINUS = "-\u2212\ufe63\uff0d\u2013"
_SIGN = rf"[{_MINUS}+]"
_PLAIN = (
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{2,3}){0,30},[0-9]{3}(?![0-9])|[0-9]++)(?:\.[0-9]++)?|(?<!\w)\.[0-9]++)"
    rf"(?:[eE]{_SIGN}?[0-9]++)?"
)
_ARGUMENT = rf"[ ]?(?:\{{[ ]?{_SIGN}?{_PLAIN}[ ]?\}}|[0-9])"
_POWER = rf"(?:[ ]?\^[ ]?|\*\*)(?:\{{[ ]?{_SIGN}?[0-9]++[ ]?\}}|{_SIGN}?[0-9]++)"
_TIMES = r"[ ]?(?:[xX×✕·⋅∙*]|\\times|\\cdot)[ ]?"
_PARTS = {"half": " 1/2", "quarter": " 1/4"}
_SIZES = {"hundred": 2, "thousand": 3, "k": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMERAL = rf"""
    (?P<sign>(?<![0-9A-Za-z_)\]}}%]){_SIGN})?(?:(?:US|CA|AU)?[$€£¥₹][ ]?)?
    (?:
        (?:(?<![0-9A-Za-z_])(?P<whole>[0-9]++)(?:[ ]and)?[ ]?)?\\[dtc]?frac(?P<top>{_ARGUMENT})(?P<bottom>{_ARGUMENT})
      | (?<![0-9A-Za-z_])(?:(?P<units>[0-9]++)(?:[ ](?:and[ ])?|-)(?=[0-9]++[ ]?/[ ]?[0-9]))?(?P<number>{_PLAIN})
        (?:{_TIMES}10(?P<scale>{_POWER})|(?P<power>{_POWER})|[ ]?/[ ]?(?P<under>{_PLAIN}))?
    )
    (?:(?P<percent>[ ]?(?:%|percent\b|per[ ]cent\b))|[ ]?(?P<size>hundred|thousand|[mb]illion|trillion)\b|(?P<k>k)\b)?
"""
_PASSED = r"""
    (?:±|\\pm)[ ]?[0-9.,]*
  | [\^_][ ]?(?:\{[^{}]{0,60}\}|[-+]?[0-9]++)
  | (?:\\sqrt(?:\[[^][]{0,9}\])?|√)[ ]?(?:\{[^{}]{0,60}\}|[0-9]*)
  | \\[dtc]?frac[ ]?\{[^{}]{0,60}\}[ ]?\{[^{}]{0,60}\}
"""
_TOKEN = re.compile(rf"(?<![0-9A-Za-z_])[0-9]++(?::[0-9]++)+|{_NUMERAL}|{_PASSED}", re.VERBOSE)
_FACTOR = re.compile(r"[ ]?(?:\\sqrt|\\pi\b|√|π|\\frac)|[xyznaqrwuij](?![a-zA-Z'’])|\^(?![ ]?\{?[ ]?\\circ)|/[0-9]")
"""Text after a number that is part of something else."""

_SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺"
_AS_ASCII = str.maketrans(dict.fromkeys(_MINUS, "-") | {",": None})
_SPELT = str.maketrans(
    {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in (*range(0xFF10, 0xFF1A), 0xFF0E, 0xFF0C, 0xFF05)}
    | {
        chr(code): " " + unicodedata.normalize("NFKC", chr(code)).replace("\u2044", "/")
        for code in (*range(0xBC, 0xBF), *range(0x2150, 0x215F))
    }
    | {"\u2044": "/", "\u2215": "/"}
)
"""Full-width figures, and fractions in one character."""
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|[()\[\]])|(?<=[0-9])\{(?=,\})|(?<=[0-9]\{,)\}")
_SPACED = re.compile(r"(?<=[0-9])(?:\\[,;:! ]|~)(?=[0-9]{3})")
_GROUPED = re.compile(
    r"(?<![\w.,])[0-9]{1,3}(?:([ \u00a0\u2007\u2009\u202f'’_])[0-9]{3}(?:\1[0-9]{3})*|(?:\.[0-9]{3}){2,})"
    r"(?![0-9]|[ ]?/)"
)
_SIGN_WORD = re.compile(r"\bnegative (?=[$0-9\\])|(?:(?<=\bis )|(?<=\bbe )|(?<=: )|(?<=\A))minus (?=[$0-9\\])", re.I)


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `percent` means that a percent sign followed, so `50%` has the value 50."""

    value: Fraction
    percent: bool

    def __str__(self) -> str:
        """Write equal numbers alike: as a decimal if it is finite, else as a reduced fraction."""
        top, bottom = abs(self.value.numerator), self.value.denominator
        places = next((n for n in range(4 * LONGEST) if 10**n % bottom == 0), None)
        if places is None:
            digits = f"{top}/{bottom}"
        else:
            digits = str(top * 10**places // bottom).rjust(places + 1, "0")
            digits = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        return ("-" if self.value < 0 else "") + digits + ("%" if self.percent else "")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number and the characters of a tidy text that it was read from."""

    number: Number
    start: int
    end: int


def same_number(a: Number, b: Number) -> bool:
    """Compare exactly. If only one has a percent sign, `50%` equals both `50` and `0.5`."""
    if a.percent == b.percent:
        return a.value == b.value
    percent, plain = (a, b) if a.percent else (b, a)
    return plain.value in (percent.value, percent.value / 100)


def numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a text in their order."""
    return (numeral.number for numeral in numerals(tidy(text)))


def numerals(text: str) -> Iterator[Numeral]:
    """Yield the numbers of a tidy text in their order, with their places."""
    for match in _TOKEN.finditer(text):
        if (number := _read(match)) is not None:
            yield Numeral(number, match.start(), match.end())


@remembered
def whole_number(text: str) -> Number | None:
    """Return the number that `text` is, ignoring a final full stop and dollar or emphasis marks around it."""
    match = _TOKEN.fullmatch(tidy(text).strip().strip("*$ ").removesuffix(".").strip("*$ "))
    return _read(match) if match else None


def tidy(text: str) -> str:
    """Rewrite a text so that equal numbers have fewer forms: no LaTeX layout, no marks that group digits."""
    text = text.translate(_SPELT).replace("\\%", "%").replace("\\$", "$")
    text = re.sub(rf"[{_SUPERSCRIPT}]++", lambda run: f"^{{{unicodedata.normalize('NFKC', run[0])}}}", text)
    text = _SPACED.sub("", _LAYOUT.sub("", unwrap(text)))
    text = re.sub(r"\\[,;:! ]|~", " ", text)
    text = re.sub(r"(?<=[0-9]) and (?:a|one)[- ](half|quarter)\b", lambda part: _PARTS[part[1]], text)
    text = _GROUPED.sub(lambda group: group[0].replace(group[1] or ".", ""), text)
    return _SIGN_WORD.sub("-", text)


def _read(match: re.Match[str]) -> Number | None:
    """Return the number of a token, or None if it is not a number or is part of something else."""
    if (match["number"] is None and match["top"] is None) or _FACTOR.match(match.string, match.end()):
        return None
    if match["top"] is not None:
        value = _ratio(match["top"], match["bottom"])
    elif match["power"] is not None:
        value = _power(_exact(match["number"]), match["power"])
    else:
        value = _ratio(match["number"], match["under"] or "1")
    whole = _exact(match["whole"] or match["units"] or "0")
    if value is None or whole is None:
        return None
    value += whole
    scale = _scale(match["scale"] or f"^{_SIZES.get(match['size'] or match['k'], 0)}")
    if scale is None:
        return None
    return Number(
        value * scale * (-1 if match["sign"] not in (None, "+") else 1),
        match["percent"] is not None,
    )


def _ratio(top: str, bottom: str) -> Fraction | None:
    a, b = _exact(top), _exact(bottom)
    return None if a is None or not b else a / b


def _power(base: Fraction | None, exponent: str) -> Fraction | None:
    """Return a power, or None if it is undefined or longer than a numeral may be."""
    digits = exponent.translate(_AS_ASCII).strip(" ^*{}")
    if base is None or len(digits) > LONGEST or abs(int(digits)) > LONGEST or (not base and int(digits) <= 0):
        return None
    size = max(len(str(base.numerator)), len(str(base.denominator)))
    return base ** int(digits) if base == 10 or size * abs(int(digits)) <= LONGEST else None


@remembered
def _scale(exponent: str) -> Fraction | None:
    return _power(Fraction(10), exponent)


@remembered
def _exact(numeral: str) -> Fraction | None:
    mantissa, _, exponent = numeral.translate(_AS_ASCII).strip(" {}").lower().partition("e")
    if len(mantissa) > LONGEST or len(exponent) > LONGEST or abs(int(exponent or "0")) > LONGEST:
        return None
    return Fraction(mantissa) * Fraction(10) ** int(exponent or "0")
