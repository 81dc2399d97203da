"""Texts as readers see them: without case, spacing, punctuation and the many forms of one character."""

import html
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words."""
TOKEN = regex.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
WORD = regex.compile(rf"[{UNSPACED}]|[^\W\d_{UNSPACED}]+|\d+")
GROUPED = regex.compile(r"(?<![\d,.])\d{1,3}(?:[,.' ]\d{3})+(?!\d)")
"""Numbers with digits in groups of three, such as 48,250."""
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Base of a polynomial hash modulo 2^64. It is odd, so that no position is lost."""


HIDDEN = str.maketrans("", "", "\u115f\u1160\u3164\uffa0")
"""Fillers: letters by category, but invisible."""
STROKES = str.maketrans("ıłøđħŧ", "ilodht")
"""Letters whose strokes, or missing dot, Unicode does not take apart."""
LOOK_ALIKES = str.maketrans("аеорсухкмтнвіјѕһԁԛԝαβεζηικμνορτυχىیکةٱ", "aeopcyxkmthbijshdqwabezhikmnoptyxييكها")
"""Small letters of Cyrillic and Greek, and Latin ones that look like them or like their capitals; Arabic letters that
are written for each other."""
LIGATURES = str.maketrans({"æ": "a", "œ": "o", "þ": "th", "ŋ": "ng"})
FORMS = STROKES | LOOK_ALIKES | LIGATURES
SPELLED_OUT = regex.compile("ae|oe|ue|aa")
"""How ä, ö, ü and å are written without marks."""
COMPOUND = regex.compile(r"[^\W\d_]+(?:['’‘-][^\W\d_]+)+")
EMAIL = regex.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+")
ESCAPE = regex.compile(r"\\u([0-9a-fA-F]{4})|\\[nrt]")
TAG = regex.compile(r"<[^<>]{1,40}>")


@lru_cache(maxsize=16)  # one text is split in several ways, one after another
def plain(text: str) -> str:
    """Return a text without case, compatibility forms, marks on letters and invisible characters.

    Digits of all scripts become ASCII digits, and letters that look Latin become Latin. Spelled-out marks, as in
    Mueller, are dropped.
    """
    return SPELLED_OUT.sub(lambda found: found[0][0], _folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text.translate(HIDDEN)).casefold())
    kept = (each for each in decomposed if unicodedata.category(each) not in ("Mn", "Me", "Cf"))
    return "".join(map(_digit, kept)).translate(FORMS)


def _digit(character: str) -> str:
    return str(unicodedata.decimal(character, character))


def words_of(text: str) -> list[str]:
    """Return the words of a text: runs of letters, runs of digits, or single characters of a script without spaces."""
    return WORD.findall(plain(text))


def tokens_of(text: str) -> list[str]:
    """Return the runs of letters and digits between spaces and signs."""
    return TOKEN.findall(plain(text))


def compounds_of(text: str) -> list[str]:
    """Return words with apostrophes or hyphens, without these."""
    return [_bare(word) for word in COMPOUND.findall(plain(text))]


def identifiers_of(text: str) -> list[str]:
    """Return the identifiers in a text, without signs: e-mail addresses, numbers of at least five digits (also in
    groups of three), and letters mixed with digits, of at least four characters."""
    text = plain(text)
    numbers = [_bare(number) for number in GROUPED.findall(text)]
    tokens = [token for token in TOKEN.findall(text) if not token.isalpha() and any(map(str.isdigit, token))]
    mixed = [token for token in tokens if len(token) >= (5 if token.isdigit() else 4)]
    addresses = EMAIL.findall(text) if "@" in text else []
    return [*map(_bare, addresses), *(n for n in numbers if len(n) >= 5), *mixed]


def unescaped(text: str) -> str:
    """Return a text with its escapes resolved (JSON, URLs, HTML) and its tags removed."""

    def resolved(found: regex.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else " "

    text = TAG.sub("", html.unescape(ESCAPE.sub(resolved, text)))
    return urllib.parse.unquote(text) if "%" in text else text


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def same_question(text: str) -> str:
    """Return a key that is equal for questions that differ only in case, spaces and compatibility forms."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def windows(codes: np.ndarray, sizes: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each of the ascending `sizes` (>= 1) the hashes of all runs of that many codes (uint64 [n]), uint64."""
    values = codes ^ (codes >> np.uint64(29))
    total, done = np.zeros(len(values), np.uint64), 0
    for size in sizes:
        for place in range(done, size):
            total = total[: max(len(values) - place, 0)] * BASE + values[place:]
        done = size
        yield size, total ^ (total >> np.uint64(31))
