"""Finds personal data with a recognisable form, by pattern and, where they exist, check digits.

These are heuristics: a match is likely to be personal data, but some data is missed. Names and addresses have no form.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import NamedTuple

import regex

MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"


class Form(NamedTuple):
    """The form of one kind: `shorten` returns how many characters of a match are such data, 0 if none are."""

    pattern: str
    shorten: Callable[[str], int] = len


def _parts(text: str) -> Iterator[int]:
    """Yield the places where a text may end: its end, then before each space or hyphen, from the back."""
    yield len(text)
    yield from (place for place in range(len(text) - 1, 0, -1) if text[place] in " -")


def luhn(digits: str) -> bool:
    """Return whether a number satisfies the check of ISO/IEC 7812-1 (every second digit from the back doubled)."""
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[::2]) % 10 == -sum(sum(divmod(2 * value, 10)) for value in values[1::2]) % 10


def iban(text: str) -> bool:
    """Return whether a text without spaces satisfies the check of ISO 13616 (modulo 97)."""
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _card(text: str) -> int:
    for end in _parts(text):
        digits = "".join(filter(str.isdigit, text[:end]))
        if 13 <= len(digits) <= 19 and luhn(digits):
            return end
    return 0


def _account(text: str) -> int:
    for end in _parts(text):
        whole = text[:end].replace(" ", "")
        if 15 <= len(whole) <= 34 and iban(whole):
            return end
    return 0


def _address(text: str) -> int:
    text = text.rstrip(".:")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    return len(text)


def _number(text: str) -> int:
    return len(text) if 8 <= sum(map(str.isdigit, text)) <= 15 else 0


FORMS: dict[str, Form] = {
    "url": Form(r"(?:https?|ftp)://\S+|www\.\S+", lambda text: len(text.rstrip(".,;:!?)]}'\""))),
    "email": Form(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"),
    "iban": Form(r"(?<!\w)[a-z]{2}[0-9]{2}(?: ?[0-9a-z]){11,40}(?!\w)", _account),
    "credit_card": Form(r"(?<![\w.])[2-6][0-9]{3}(?:[ -]?[0-9]){9,30}(?!\w)", _card),
    "ip": Form(r"(?<![\w:.])[0-9a-f]*[:.][0-9a-f:.]+(?!\w)", _address),
    "date": Form(
        r"(?<![\w./-])(?:[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{4}|[0-9]{2})"
        rf"|[0-9]{{1,2}}(?:st|nd|rd|th|\.)? {MONTHS} [0-9]{{4}}"
        rf"|{MONTHS} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}})(?![\w/-])"
    ),
    "phone": Form(
        r"(?<![\w.+])(?:(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,5}\)?){2,6}"
        r"|\(?0[0-9]{1,4}\)?(?:[ ./-]?[0-9]{2,5}){1,5}|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4})(?!\w)",
        _number,
    ),
}
"""The kinds, in the order in which they are searched: a card's number is not a phone's."""
PATTERNS = {kind: regex.compile(form.pattern, regex.IGNORECASE) for kind, form in FORMS.items()}


def redact(kind: str, text: str, timeout: float) -> str:
    """Return a text in which `[KIND]` replaces all data of a kind. Raises TimeoutError after that many seconds."""

    def put(match: regex.Match[str]) -> str:
        whole = match.group()
        end = FORMS[kind].shorten(whole)
        return f"[{kind.upper()}]{whole[end:]}" if end else whole

    return PATTERNS[kind].sub(put, text, timeout=timeout)


def found(kind: str, text: str, timeout: float) -> Iterator[tuple[int, int]]:
    """Yield where data of a kind starts and ends, in characters. TimeoutError after so many seconds."""
    for match in PATTERNS[kind].finditer(text, timeout=timeout):
        if size := FORMS[kind].shorten(match.group()):
            yield match.start(), match.start() + size
