"""Makes texts of models, data and other parties safe to show: nothing in them acts, moves or hides anything."""

from typing import TypeVar

import regex
from markupsafe import Markup

S = TypeVar("S", bound=str)

# The joiners U+200C and U+200D stay: Persian, the scripts of India and emoji are misread without them.
_ACTS = (
    r"[\p{Default_Ignorable_Code_Point}--[\u200c\u200d\ufe0f]]"  # invisible characters, and those that reverse a line
    r"\p{Cc}\p{Cs}"  # controls, which can control a terminal, and halves of surrogate pairs, which cannot be written
    r"\u2028\u2029"  # separators, which some programs treat as the end of a line
    r"\ufff9-\ufffb\U00013430-\U0001343f"  # annotations, and characters that move and merge hieroglyphs
)
_NO_EMOJI = r"(?<![\p{Emoji}--[0-9#*]]|[0-9#*](?=\ufe0f\u20e3))\ufe0f"
"""The emoji selector where it has no effect: after other characters, and after a digit that is not on a keycap."""
_IN_LINES = regex.compile(rf"(?V1)(?![\n\t])[{_ACTS}]|{_NO_EMOJI}")
_IN_A_LINE = regex.compile(rf"(?V1)[{_ACTS}]|{_NO_EMOJI}")


def shown(text: S) -> S:
    """Return a text with all active characters spelled out, such as `\\x1b`; line feeds and tabs stay."""
    return _spelled(_IN_LINES, text)


def in_one_line(text: S) -> S:
    """Return the same in one line: line feeds and tabs are spelled out too."""
    return _spelled(_IN_A_LINE, text)


def shown_json(text: str) -> str:
    """Return equivalent JSON in which active characters in texts are JSON escapes."""
    return _IN_LINES.sub(lambda found: _utf16(found[0]), text)


def _spelled(pattern: regex.Pattern[str], text: S) -> S:
    told = pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return Markup(told) if isinstance(text, Markup) else told  # pyright: ignore[reportReturnType]


def _utf16(character: str) -> str:
    code = ord(character)
    units = [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
    return "".join(f"\\u{unit:04x}" for unit in units)
