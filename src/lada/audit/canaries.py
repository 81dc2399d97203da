"""Texts that must not have left, in all forms in which they could have."""

import base64
import json
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

from lada.core.errors import InputError
from lada.core.plural import counted

LEAST, MOST = 6, 10_000
"""The allowed characters of a canary, without spaces: shorter ones occur by chance, longer ones do not fit the search's
windows."""


def folded(text: str) -> str:
    """Return a text without case, spaces, line ends and compatibility forms of characters, which readers overlook."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Canary:
    """One text to search for; reports use `name` instead of the text."""

    name: str
    folded: str
    patterns: tuple[tuple[str, bytes], ...]

    def forms_in(self, data: bytes, text: str) -> list[str]:
        """Return the forms in which it occurs in `data`, whose folded text is `text`."""
        found = list(dict.fromkeys(form for form, pattern in self.patterns if pattern in data))
        return found or ["but for case and spaces"] * (self.folded in text)


def make_canary(name: str, text: str) -> Canary:
    """Return the canary for a text. Raises InputError, which does not repeat the text, if it is too short or too
    long."""
    short = folded(text)
    if len(short) < LEAST or len(text) > MOST:
        raise InputError(
            f"{name}: {counted(len(short), 'character')} without spaces; expected {LEAST} to {MOST}, since shorter "
            "ones turn up "
            "by chance"
        )
    data = text.encode("utf-8", "surrogatepass")
    forms = [
        ("as it is", data),
        ("backwards", text[::-1].encode("utf-8", "surrogatepass")),
        ("UTF-16", text.encode("utf-16-le", "surrogatepass")),
        ("UTF-16", text.encode("utf-16-be", "surrogatepass")),
        ("hexadecimal", data.hex().encode()),
        ("hexadecimal", data.hex().upper().encode()),
        ("JSON escapes", json.dumps(text)[1:-1].encode()),
        ("percent escapes", quote(data).encode()),
        *(("base64", core) for shift in range(3) for core in _base64(data, shift)),
    ]
    return Canary(name, short, tuple({pattern: (form, pattern) for form, pattern in reversed(forms)}.values())[::-1])


def _base64(data: bytes, shift: int) -> tuple[bytes, bytes]:
    """Return the characters that every base64 form of `data` after `shift` bytes (modulo 3) contains, in both
    alphabets.

    The characters at the ends are omitted, since they depend on the surrounding bytes.
    """
    first, last = -(-8 * shift // 6), 8 * (shift + len(data)) // 6
    whole = bytes(shift) + data
    return base64.b64encode(whole)[first:last], base64.urlsafe_b64encode(whole)[first:last]
