"""Texts of models, data and other parties, as they may be shown: nothing in them acts, moves or hides anything."""

import re
from typing import TypeVar

from markupsafe import Markup

S = TypeVar("S", bound=str)

# C0 and C1 controls with DEL, by which terminals are steered; separators that some take for the end of a line;
# embeddings, overrides and isolates of direction, after which a line reads otherwise than it is; annotations and tags,
# which nobody sees; and halves of surrogate pairs, which cannot be written.
ACTS = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
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
