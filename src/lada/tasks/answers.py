"""Finds the answer in a reasoning path and compares it with the gold answer.

A *kind*, chosen by name, determines how an answer is read; see `answer_kind`. Thinking in tags (see lada.core.thinking)
is ignored; lada.tasks.markers finds the answer in the rest.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lada.core.errors import InputError, nearest
from lada.core.thinking import conclusion
from lada.tasks.amounts import read_amount, read_number
from lada.tasks.choices import read_choice
from lada.tasks.latex import missing, same_latex
from lada.tasks.markers import SCANNED, endings
from lada.tasks.numerals import Number, same_number, whole_number
from lada.tasks.remembered import remembered
from lada.tasks.texts import differ_in_frame, has_factorial, is_words, read_final, read_formula, same_text
from lada.tasks.verdicts import read_verdict

Reader = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """How the answers of a corpus are found and compared.

    `extract(text)` returns the answer with which a path ends, or None; it never raises. A path whose thinking has not
    ended has no answer. Kinds `number`, `choice` and `yesno` return a canonical form, so equal answers are equal
    strings. `same(answer, gold)` returns whether an extracted answer equals the gold one; None never does. A gold
    answer may be a whole path that ends in the answer, as in GSM8K.
    """

    name: str
    extract: Callable[[str], str | None]
    same: Callable[[str | None, str], bool]

    def reads(self, gold: str) -> bool:
        """Return whether a path could ever match this gold answer."""
        return self.same(self.extract(gold) or gold, gold)


def answer_kind(name: str) -> AnswerKind:
    """Return an answer kind.

    word: the word after the last `answer` (the built-in corpus); number: the number that a text marks as its answer or
    ends with, compared exactly; choice: a letter A to J; yesno: yes or no, true or false; text: what follows the answer
    marker, else the last line, compared without case, punctuation and articles; auto: the same, but compared as a
    number, letter or yes and no if the gold answer is one; latex: like auto, and by math-verify.

    Raises InputError for an unknown name, and for `latex` if math-verify is not installed.
    """
    if name not in _KINDS:
        raise InputError(
            f"answer: unknown kind {name!r}; expected one of {', '.join(sorted(_KINDS))}{nearest(name, _KINDS)}"
        )
    if name == "latex" and (reason := missing()):
        raise InputError(f"answer: kind 'latex' {reason}")
    return _KINDS[name]


def _after_word(text: str) -> str | None:
    words = text[-SCANNED:].split()
    last = max((i for i, word in enumerate(words) if word == "answer"), default=len(words))
    return words[last + 1] if last + 1 < len(words) else None


def _same_word(answer: str | None, gold: str) -> bool:
    return answer == gold


def _read_number(text: str) -> str | None:
    number = read_number(text)
    return None if number is None else str(number)


@remembered
def _number_of(gold: str) -> Number | None:
    return next((found for part in endings(gold) if (found := read_number(part))), None)


def _same_number(answer: str, gold: str) -> bool:
    a, b = whole_number(answer), _number_of(gold)
    return a is not None and b is not None and same_number(a, b)


def _canonical(read: Reader) -> Callable[[str, str], bool]:
    """Compare with a gold answer that is read in the same way as paths."""
    read_gold = remembered(partial(_last, read))
    return lambda answer, gold: answer == read_gold(gold)


@remembered
def _text_of(gold: str) -> str:
    return _last(read_final, gold) or gold


def _same_as_text(answer: str, gold: str) -> bool:
    return same_text(answer, _text_of(gold))


def _same_auto(answer: str, gold: str) -> bool:
    """Compare as numbers, choices or verdicts if the gold answer is one, else as text."""
    gold = _text_of(gold)
    number = whole_number(gold)
    if number is None and whole_number(answer) is not None and _SIZE.fullmatch(gold):
        number = read_amount(gold)  # an answer may omit the unit
    if number is not None:
        if has_factorial(answer):
            return False
        said = whole_number(answer) or read_amount(answer)
        return said is not None and same_number(said, number)
    for read in (read_choice, read_verdict):
        if gold.strip("()").lower() in _CLOSED and (wanted := read(gold)) is not None:
            return read(answer) == wanted
    return same_text(answer, gold)


def _same_formula(answer: str, gold: str) -> bool:
    """Compare as `auto`. Then compare by math-verify, except words (to it, products of letters) and plain numbers."""
    gold = _last(read_formula, gold) or gold
    if _same_auto(answer, gold):
        return True
    if whole_number(gold) is not None and whole_number(answer) is not None:
        return False
    values = answer.rpartition("=")[2], gold.rpartition("=")[2]
    if len({tuple(sign in value for sign in (":", "'", "^T", "^{T", "^*", "top")) for value in values}) > 1:
        return False  # math-verify reads a ratio as a quotient, and ignores a prime or transpose
    return not (is_words(answer) or is_words(gold) or differ_in_frame(answer, gold)) and same_latex(answer, gold)


def _last(read: Reader, text: str) -> str | None:
    """Read what a text says last; a correction takes precedence over what it corrects."""
    return next((answer for part in endings(conclusion(text)) if (answer := read(part)) is not None), None)


def _kind(name: str, read: Reader, same: Callable[[str, str], bool]) -> AnswerKind:
    return AnswerKind(
        name, lambda text: _last(read, text), lambda answer, gold: answer is not None and same(answer, gold)
    )


_SIZE = re.compile(r"[$€£¥]?[0-9][0-9.,]* [^\W\d_]{2,15}(?: [^\W\d_]{2,15}){0,2}")
_CLOSED = {*"abcdefghij", "yes", "no", "true", "false"}

_KINDS: dict[str, AnswerKind] = {
    kind.name: kind
    for kind in (
        AnswerKind("word", lambda text: _after_word(conclusion(text)), _same_word),
        _kind("number", _read_number, _same_number),
        _kind("choice", read_choice, _canonical(read_choice)),
        _kind("yesno", read_verdict, _canonical(read_verdict)),
        _kind("text", read_final, _same_as_text),
        _kind("latex", read_formula, _same_formula),
        _kind("auto", read_final, _same_auto),
    )
}

extract_answer = _KINDS["word"].extract
same_answer = _KINDS["word"].same
