"""Texts as what readers take them for: without case, spacing, punctuation and the many forms of one character."""

import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts that put no spaces between words."""
TOKEN = regex.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
WORD = regex.compile(rf"[{UNSPACED}]|[^\W\d_{UNSPACED}]+|\d+")
GROUPED = regex.compile(r"(?<![\d,.])\d{1,3}(?:[,.' ]\d{3})+(?!\d)")
"""Numbers whose digits stand in groups of three, such as 48,250."""
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of a polynomial hash modulo 2^64; odd, so that no place is lost."""


HIDDEN = str.maketrans("", "", "\u115f\u1160\u3164\uffa0")
"""Fillers: letters by their category, which nothing shows."""
STROKES = str.maketrans("ıłøđħŧ", "ilodht")
"""Letters whose strokes, or missing dot, Unicode does not take apart."""
LOOK_ALIKES = str.maketrans("аеорсухкмтнвіјѕһԁԛԝαβεζηικμνορτυχ", "aeopcyxkmthbijshdqwabezhikmnoptyx")
"""Small letters of Cyrillic and Greek, and Latin ones that look like them or like their capitals."""
FORMS = STROKES | LOOK_ALIKES


def plain(text: str) -> str:
    """Return a text without case, compatibility forms, marks on letters and invisible characters.

    Digits of all scripts are those of ASCII, and letters that look like Latin ones are these.
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text.translate(HIDDEN)).casefold())
    kept = (each for each in decomposed if unicodedata.category(each) not in ("Mn", "Me", "Cf"))
    return "".join(map(_digit, kept)).translate(FORMS)


def _digit(character: str) -> str:
    return str(unicodedata.decimal(character, character))


def words_of(text: str) -> list[str]:
    """Return the words of a text: letters in a row, and digits in a row; a character of a script without spaces."""
    return WORD.findall(plain(text))


def tokens_of(text: str) -> list[str]:
    """Return what stands between spaces and signs: letters and digits in a row make one."""
    return TOKEN.findall(plain(text))


def grouped_numbers_of(text: str) -> list[str]:
    """Return the numbers of a text whose digits stand in groups of three, without what separates these."""
    return ["".join(filter(str.isdigit, number)) for number in GROUPED.findall(plain(text))]


def same_question(text: str) -> str:
    """Return what questions share that differ in case, spaces and compatibility forms alone; signs and marks count."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def windows(codes: np.ndarray, sizes: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield for each of the ascending `sizes` (>= 1) a hash of each so many codes (uint64 [n]) in a row, uint64."""
    values = codes ^ (codes >> np.uint64(29))
    total, done = np.zeros(len(values), np.uint64), 0
    for size in sizes:
        for place in range(done, size):
            total = total[: max(len(values) - place, 0)] * BASE + values[place:]
        done = size
        yield size, total ^ (total >> np.uint64(31))
