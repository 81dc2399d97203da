"""Find the answer in a reasoning path and say whether it is the gold one.

How to read an answer is a *kind*, chosen by name; see `answer_kind`. Thinking in tags (see
lada.core.thinking) is passed over. Of what follows it, only the last SCANNED characters are read: an answer stands at
the end, and a runaway path costs no more than a long one.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lada.core.errors import InputError, nearest
from lada.core.thinking import conclusion
from lada.tasks.latex import missing, same_latex
from lada.tasks.numerals import Number, numbers, same_number, whole_number

SCANNED = 10_000
"""Characters of a text that are read, from its end."""


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """How the answers of a corpus are found and compared.

    `extract(text)` returns the answer a path ends in, or None; it never raises. A path whose thinking has not ended has
    no answer. Kinds `number`, `choice` and `yesno` return a canonical form, so equal answers are equal strings.
    `same(answer, gold)` says whether an extracted answer is the gold one; None never is. A gold answer may be a whole
    path that ends in the answer, as in GSM8K.
    """

    name: str
    extract: Callable[[str], str | None]
    same: Callable[[str | None, str], bool]

    def reads(self, gold: str) -> bool:
        """Return whether a path could ever match this gold answer."""
        return self.same(self.extract(gold) or gold, gold)


def answer_kind(name: str) -> AnswerKind:
    """Return an answer kind.

    word: the word after the last `answer` (the built-in corpus); number: the last number, in `\\boxed{}` or after
    `####` where there is one, compared exactly; choice: a letter A to J; yesno: yes or no, true or false; text: what
    follows the answer marker, else the last line, compared without case, punctuation and articles; latex: the same,
    compared by math-verify; auto: like text, but compared as numbers where both are.

    Raises InputError for an unknown name, and for `latex` where math-verify is not installed.
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


_MARKER = re.compile(
    r"(?P<box>\\(?:boxed|fbox) ?\{)|(?P<hashes>####)"
    r"|\banswer\b[*_ ]{0,4}(?:(?:is|was)\b|[:=→])[*_: ]{0,4}|(?P<bare>\banswer\b[*_ ]{1,4})",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<!\b[A-Z])(?<!\b(?:St|Dr|Mr|Ms|Mt|Ft))(?<!\bMrs)[.!?]\s+(?=[A-Z])")
_LONGEST = 500
"""Characters behind a marker that are looked at."""


def _pointed_at(text: str, *, formal: bool) -> Iterator[str]:
    """Yield what the answer markers of a text point at, from the last one back.

    Formal markers are boxes and `####`; the others are `answer is`, `answer:` and, in the last line, a bare `answer`.
    """
    for marker in reversed(list(_MARKER.finditer(text))):
        rest = text[marker.end() : marker.end() + _LONGEST]
        line = rest.partition("\n")[0]
        if marker["box"]:
            yield _inside(rest)
        elif marker["hashes"]:
            yield line
        elif not formal and not (marker["bare"] and "\n" in rest.rstrip()):
            yield _SENTENCE_END.split(line, maxsplit=1)[0]


def _inside(text: str) -> str:
    """Return what stands before the brace that closes a box; braces inside may nest."""
    depth = 1
    for end, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:end]
    return text


def _marked(text: str) -> str | None:
    """Return what the last answer marker that is followed by anything points at."""
    for content in _pointed_at(text, formal=False):
        if any(character.isalnum() for character in content):
            return content.strip().strip("*").strip()
    return None


def _final(text: str) -> str | None:
    """Return what the answer marker points at, else the last line; dollar signs around it are dropped."""
    text = text[-SCANNED:].strip()
    content = _marked(text)
    if content is None:
        content = text.splitlines()[-1] if text else ""
    return content.strip().removesuffix(".").strip().strip("$").strip() or content or None


def _number(text: str) -> Number | None:
    text = text[-SCANNED:]
    for content in (*_pointed_at(text, formal=True), text):
        found = list(numbers(content))
        if found:
            return found[-1]
    return None


def _extract_number(text: str) -> str | None:
    found = _number(text)
    return None if found is None else str(found)


def _same_number(answer: str | None, gold: str) -> bool:
    a, b = _number(answer or ""), _number(gold)
    return a is not None and b is not None and same_number(a, b)


_LETTER = re.compile(r"(?<![\w'’])(?:\(([A-Ja-h])\)|\[([A-Ja-h])\]|([B-E]|A(?! [a-z])))(?![\w'’])")
_LEADING = re.compile(r"[^\w]{0,10}(?:([A-HJ]|I(?! [a-z]))(?![\w'’])|([a-h])(?![\w'’]| \w))")
_ALONE = re.compile(r"[^\w]{0,10}([A-Ja-h])[^\w]{0,10}")


def _extract_choice(text: str) -> str | None:
    text = text[-SCANNED:].strip()
    marked = _marked(text)
    if marked is not None and (match := _LEADING.match(marked)):
        return (match[1] or match[2]).upper()
    if marked is None and text and (match := _ALONE.fullmatch(text.splitlines()[-1])):
        return match[1].upper()
    letters = [match[match.lastindex or 0].upper() for match in _LETTER.finditer(text if marked is None else marked)]
    return (letters[-1] if marked is None else letters[0]) if letters else None


_YES_NO = re.compile(r"\b(yes|true|no|false)\b", re.IGNORECASE)


def _extract_yes_no(text: str) -> str | None:
    text = text[-SCANNED:].strip()
    marked = _marked(text)
    found = list(_YES_NO.finditer(text if marked is None else marked))
    if not found:
        return None
    # `Yes, because there is no …`: a word that opens the text, or follows the marker, is the verdict.
    verdict = found[0] if marked is not None or found[0].start() == 0 else found[-1]
    return "yes" if verdict[1].lower() in ("yes", "true") else "no"


def _same_canonical(extract: Callable[[str], str | None]) -> Callable[[str | None, str], bool]:
    def same(answer: str | None, gold: str) -> bool:
        return answer is not None and answer == extract(gold)

    return same


_EDGES = "\"'“”‘’`([{<>}])*_!?,;:"
_INNER = re.compile(r"(?<!\d)[^\w\s](?!\d)")


def _normal(text: str) -> str:
    """Drop case, articles and punctuation, but none that touches a digit: `-5` is not `5`, nor `1.5` `15`."""
    words = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").split()
    words = [_INNER.sub("", word.strip(_EDGES).rstrip(_EDGES + ".")) for word in words]
    return " ".join(word for word in words if word and word not in ("a", "an", "the")) or " ".join(text.split())


def _same_text(answer: str | None, gold: str) -> bool:
    return answer is not None and _normal(answer) == _normal(_final(gold) or "")


def _same_auto(answer: str | None, gold: str) -> bool:
    if answer is None:
        return False
    a, b = whole_number(answer), whole_number(_final(gold) or "")
    return same_number(a, b) if a is not None and b is not None else _same_text(answer, gold)


def _same_latex(answer: str | None, gold: str) -> bool:
    if answer is None:
        return False
    gold = _final(gold) or ""
    return answer == gold or same_latex(answer, gold)


def _kind(name: str, read: Callable[[str], str | None], same: Callable[[str | None, str], bool]) -> AnswerKind:
    return AnswerKind(name, lambda text: read(conclusion(text)), same)


_KINDS: dict[str, AnswerKind] = {
    kind.name: kind
    for kind in (
        _kind("word", _after_word, _same_word),
        _kind("number", _extract_number, _same_number),
        _kind("choice", _extract_choice, _same_canonical(_extract_choice)),
        _kind("yesno", _extract_yes_no, _same_canonical(_extract_yes_no)),
        _kind("text", _final, _same_text),
        _kind("latex", _final, _same_latex),
        _kind("auto", _final, _same_auto),
    )
}

extract_answer = _KINDS["word"].extract
same_answer = _KINDS["word"].same
