"""Reads the answer of a text literally, and compares two such answers."""

import re
import unicodedata
from collections.abc import Iterator

from lada.tasks.markers import LONGEST, is_cut, pointed_at
from lada.tasks.wrappers import unwrap

_EDGES = "\"'“”‘’`([{<>}])*_!?,;:"
_INNER = re.compile(r"(?<!\d)[^\w\s+#](?!\d)")
_SPAN = re.compile(
    r"\$\$(?P<block>[^$]+)\$\$|\$(?P<line>[^$]+)\$|\\\((?P<round>.+?)\\\)|\\\[(?P<square>.+?)\\\]", re.DOTALL
)
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_REASON = re.compile(
    r",? (?:because|since|given that|due to)\b|, (?:as|which|who|so|not|and not|for|but|where)\b|[;(—–]| - "
)
_AFTER = re.compile(r"[^0-9\\=$]*|,? (?:because|since|as)\b.*", re.DOTALL)
"""Text that may follow a formula that is the whole answer."""
_LABEL = re.compile(r"\s*(?:[(\[]([A-J])[)\]]|([A-J])[.):])[\s:]+(?=\S)")
_SO = re.compile(
    r"\W*(?:so|therefore|thus|hence|in conclusion|consequently)\b.*?\b(?:is|are|was|were|be)[: ]+", re.IGNORECASE
)

_OPERATOR = re.compile(r"[0-9+*/^=_<>(\[{]|\\(?!text|math|mbox)[a-zA-Z]+")
_BASE = re.compile(r"[0-9]_\{?([0-9]+)\}?$")
_WORDING = re.compile(r"\\(?:text|mathrm|mbox)[ ]?\{[ ]*([^{}]*?)[ ]*\}")
_BRACKETED = re.compile(r"(?:\\left)?\\?([(\[{]).*,.*?(?:\\right)?\\?([)\]}])", re.DOTALL)
_FACTORIAL = re.compile(r"(?<=[0-9])!(?!=)|(?<![^\W_])[a-z]!(?!=)|(?<=[\W_0-9][0-9a-z]\))!(?!=)")
_SIGN = re.compile(
    rf"(?P<sign>{_FACTORIAL.pattern}|!=|(?<![\w)])!(?=[\w(])|(?<![\w)\]}}])-(?=[\w\\(∞])|[&^]|(?<!\w)[@\\](?=\w)|(?<![\w.])\.(?=[a-z])"
    r"|\b[A-Za-z]{1,2}-(?!\S)|(?<![\w'‘])[a-zA-Z]['′]+(?!\w)|(?<=\s)[-*/](?=\s+\w)(?<=\w\s.)|\b[a-z][-*/](?=[a-z]\b))|[^\w\s]"
)
"""Characters that change an answer although they are neither letters nor digits, in addition to Unicode's mathematical
symbols."""
_ASCII = str.maketrans({"\u2212": "-", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "⇒": "=>"})


def read_final(text: str) -> str | None:
    """Return the text after the answer marker, else the last line; math delimiters and bold marks are dropped."""
    pointed = next(pointed_at(text), None)
    if pointed is not None:
        return _bare(next(line for line in pointed.splitlines() if any(map(str.isalnum, line)))) or None
    if not text or is_cut(text):
        return None
    last = text.splitlines()[-1]
    bold = _BOLD.findall(last)
    return _bare(bold[0] if len(bold) == 1 else last) or None


def read_formula(text: str) -> str | None:
    """Return the result of `read_final` or, without a marker, the only formula of the last line."""
    final = read_final(text)
    if final is not None and next(pointed_at(text), None) is None:
        spans = [next(filter(None, span.groups())) for span in _SPAN.finditer(text.splitlines()[-1])]
        if len(spans) == 1 and spans[0].strip() == spans[0]:
            return _bare(spans[0]) or None
    return final


def same_text(answer: str, gold: str) -> bool:
    """Compare without case, articles, punctuation, a choice's label and a reason given at the end."""
    golden = _normal(gold)
    signs = _signs(gold)
    return not differ_in_frame(answer, gold) and any(
        _normal(form) == golden and _signs(form) == signs for form in _forms(answer)
    )


def differ_in_frame(answer: str, gold: str) -> bool:
    """Return whether two answers differ in the brackets of an interval or pair, the base of a numeral or the unit of a
    size."""
    pairs = ((_frame(answer), _frame(gold)), (_WORDING.findall(answer), _WORDING.findall(gold)))
    return any(a and b and a != b for a, b in pairs)


def is_words(text: str) -> bool:
    """Return whether a text consists only of words."""
    text = unwrap(text)
    return re.search(r"[^\W\d_]{3}|^(?:[A-Z][A-Za-z]|[a-z][A-Z])$", text) is not None and not _OPERATOR.search(text)


def has_factorial(text: str) -> bool:
    """Return whether an exclamation mark follows a number or a variable."""
    return _FACTORIAL.search(text) is not None


def _signs(text: str) -> list[str]:
    """Return the operators and signs of a text in order; angle brackets around the whole text do not count."""
    text = re.sub(r"^<([^<>]*)>$", r"\1", unicodedata.normalize("NFKC", text).translate(_ASCII).strip())
    found = _SIGN.finditer(text)
    return [match[0] for match in found if match["sign"] or unicodedata.category(match[0]) == "Sm"]


def _frame(text: str) -> tuple[str, ...] | None:
    """Return the brackets around a pair or interval, or the base of a numeral; None if there is neither."""
    if len(text) > LONGEST:
        return None
    text = re.sub(r"^.*(?:=|\\in\b)", "", text).strip()
    found = _BRACKETED.fullmatch(text) or _BASE.search(text)
    return found.groups() if found else None


def _bare(text: str) -> str:
    """Strip an answer's surroundings: math delimiters, emphasis, `\\text{}` around all of it, a full stop."""
    before = None
    while text != before and len(text) <= LONGEST:
        before = text
        text = text.strip().strip("*").strip().removesuffix(".").strip()
        spans = list(_SPAN.finditer(text))
        if spans and not spans[0].start() and _AFTER.fullmatch(text[spans[0].end() :]):
            inner = next(group for group in spans[0].groups() if group is not None)
            rest = text[spans[0].end() :]
            text = inner + (rest if re.match(r" ?(?:%|\w+$)", rest) and inner.strip() else "")
        elif text.startswith("\\[") or text.startswith("\\(") or text.startswith("$$"):
            text = text[2:].removesuffix("\\]").removesuffix("\\)").removesuffix("$$")
        text = text.strip("$") if text.count("$") != 1 or not re.match(r"-?\$-?[0-9.]", text) else text
        if re.fullmatch(r"\\[a-z]+[ ]?\{[^{}]*\}", text):
            text = unwrap(text)
    return text


def _forms(answer: str) -> Iterator[str]:
    """Yield an answer unchanged and with parts of its surroundings stripped."""
    yield answer
    unlabelled = _LABEL.sub("", answer, count=1)
    yield unlabelled
    for form in (answer, unlabelled):
        reason = _REASON.search(form, 1)
        if reason:
            yield form[: reason.start()]
    if so := _SO.match(answer):
        yield answer[so.end() :]


def _normal(text: str) -> str:
    """Drop case, articles and punctuation, except punctuation that touches a digit: `-5` is not `5`, and `1.5` is not
    `15`."""
    text = unwrap(text)
    words = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").split()
    articles = () if _signs(text) else ("a", "an", "the")
    bare = [_INNER.sub("", word.strip(_EDGES).rstrip(_EDGES + ".")) for word in words if word not in articles]
    return " ".join(filter(None, bare)) or " ".join(text.split())
