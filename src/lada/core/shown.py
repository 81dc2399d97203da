"""Texts of models, data and other parties, as they may be shown: nothing in them acts, moves or hides anything."""

import re
from typing import TypeVar

from markupsafe import Markup

S = TypeVar("S", bound=str)

# The joiners U+200C and U+200D stay: Persian, the scripts of India and emoji are misread without them.
ACTS = (
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls with DEL, by which terminals are steered
    "\u2028\u2029"  # separators, which some take for the end of a line
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks of direction, after which a line reads otherwise than it is
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff"  # soft hyphens, spaces without width, invisible operators
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # annotations and controls of notation, which nobody sees
    "\ud800-\udfff"  # halves of surrogate pairs, which cannot be written
    "\U000e0000-\U000e007f"  # tags: a hidden copy of ASCII
)
"""A class of a regular expression, without its brackets."""
_IN_LINES = re.compile(f"(?![\n\t])[{ACTS}]")
_IN_A_LINE = re.compile(f"[{ACTS}]")


def shown(text: S) -> S:
    """Return a text with whatever acts in it spelled out, as `\\x1b`; line feeds and tabs stay."""
    return _spelled(_IN_LINES, text)


def in_one_line(text: S) -> S:
    """Return the same in one line: line feeds and tabs are spelled out too."""
    return _spelled(_IN_A_LINE, text)


def shown_json(text: str) -> str:
    """Return JSON with whatever acts in its texts as JSON's own escapes: it says the same."""
    return _IN_LINES.sub(lambda found: _utf16(found[0]), text)


def _spelled(pattern: re.Pattern[str], text: S) -> S:
    told = pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return Markup(told) if isinstance(text, Markup) else told  # pyright: ignore[reportReturnType]


def _utf16(character: str) -> str:
    code = ord(character)
    units = [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code - 0x10000 & 0x3FF)]
    return "".join(f"\\u{unit:04x}" for unit in units)
