"""Finds the choice, A to J, that a text picks.

A letter in a text is not yet a choice: `A dog`, `vitamin C`, `5 J`, `pipe B`, `not D`. It counts after a marker (see
lada.tasks.markers), if it stands alone, or with certain words around it: `option B`, `so C.`, `D is correct`.
"""

import re
from collections.abc import Iterator

from lada.tasks.markers import pointed_at, sentences
from lada.tasks.wrappers import unwrap

LETTERS = "ABCDEFGHIJ"
"""The letters of choices."""

_NO_ARTICLE = (
    "because|since|as|for|is|was|would|will|must|should|has|and|or|due|given|by|which|that|based|in|on|at|from|if|when"
    "|not|but|so|with|while|whereas|fits?|works?|seems|looks|matches|holds|describes|says|follows|gives|best|correct"
    "|correctly|only|alone|can|cannot|could|does|rather|instead|too|here|makes|states|satisfies|represents|applies"
    "|remains|stands|wins|it"
)
"""Words that follow the letter A but rarely the article."""
_CAPITAL = rf"(?:[B-HJ]|A(?! (?!(?:{_NO_ARTICLE})\b)[a-zé])|I(?! (?!is\b)[a-z]))"
_NOT_WITHIN = r"(?!['’]?\w|[+#]|-\w|-$|\.[a-zA-Z]|\. (?:coli|elegans|melanogaster|subtilis)\b)"
"""Texts whose first letter is not a choice: `A's`, `C++`, `B-cell`, `E.g.`, `E. coli`."""
_OPEN, _CLOSE = r"[\s*_\"“'‘`$(\[{<]", r"[\s)\]}*_\"”'’`$>]"
_WRAP = rf"(?:\\(?:text(?:bf|it|rm|sf)?|math(?:rm|bf|it|sf)|mbox|boxed|fbox)\{{|{_OPEN}|\\[(\[ ])*"

_LETTER = re.compile(
    rf"(?<![\w'’.-])(?:[(\[](?P<bracketed>[A-Ja-j])[)\]]|(?P<labelled>[A-Ja-j])\)|(?P<bare>{_CAPITAL})){_NOT_WITHIN}"
)
_LEADING = re.compile(
    rf"{_WRAP}(?:(?:the|option|choice|letter|answer|alternative|statement|definitely|clearly|likely|probably|indeed"
    rf"|most likely|simply|just|certainly|actually|therefore|thus|hence|either|is)\b[\s:]*{_WRAP}){{0,4}}?"
    rf"(?:(?-i:({_CAPITAL}|[a-j](?!\w| \w)))|([a-j])(?=[)\]}}])){_NOT_WITHIN}",
    re.IGNORECASE,
)
"""The letter with which text after a marker starts."""
_ALONE = re.compile(rf"{_WRAP}([A-Ja-j])(?![+#]|-$)[\W_]*")
_EQUATION = re.compile(r"[\s*_]*=(?P<value>\s*\$?-?[0-9.,]+(?![^\s.,]|\s*\\))?")
"""Text after a letter that is a variable, unless a plain number follows: `E = mc^2`, but `B = 12`."""
_LABEL = re.compile(rf"{_WRAP}([A-J])[*_]*(?:[.):\]}}]|\\\)|\s(?=\())[\s*_}}\\]*(?=\S)(?!['’])")
"""The letter of a line such as `(B) Paris`."""

_PICKED = re.compile(
    r"(?:\b(?:answer|choose|chose|choosing|select(?:ed|ing)?|pick(?:ed|ing)?|go(?:ing)? with"
    r"|went with|leaves|leaving|left with|corresponds? to|corresponding to|closest to|matches|namely|points? to"
    r"|pointing to|be|it['’]s|that['’]s|would say|guess)\b|→|=>|⇒)[\s,:]{0,3}"
    r"(?:(?:us |me )?(?:with |only |just )?(?:the )?"
    rf"(?:correct |right |best |final )?(?:option|choice|letter|answer)?(?: is)?[\s:]{{0,2}})?{_OPEN}{{0,4}}$",
    re.IGNORECASE,
)
"""Text before a letter that is picked."""
_SO = re.compile(rf"(?:\b(?:is|therefore|thus|hence|so|but|means|say)\b|=)[\s,:]{{0,3}}{_OPEN}{{0,4}}$", re.IGNORECASE)
"""Text before a letter that is picked if nothing follows about it: `so C.`, but not `so C alone needs`."""
_OPTION = re.compile(rf"\b(?:options?|choices?)[\s:]{{1,3}}{_OPEN}{{0,4}}$", re.IGNORECASE)
"""Text before a letter that is picked if no more follows about it: `option C.`, but not `option C gives 3`."""
_SAID = re.compile(rf"{_CLOSE}*(?:$|[.,;:!–—]|(?:because|since|as|given|for|and not|not|but)\b)")
_RIGHT = re.compile(
    rf"{_CLOSE}{{0,4}}[.:]?(?:\s*\([^()]{{0,40}}\))?,?\s+(?:(?:is|must be|would be|has to be|should be|seems|looks"
    r"|remains)\s(?:(?:therefore|thus|clearly|definitely|indeed|the|only|most|best|one|that is|to be|our|my)\s){0,4}"
    r"(?:correct|right|true|answer|best|better|appropriate|likely|closest|accurate|fitting|suitable|plausible|winner|choice|option|valid|one"
    r"|remaining|left)\b|(?:works|fits|holds|wins|matches|remains|it is|describes)\b"
    r"|(?:(?:emerges|counts|qualifies|(?:stands|comes) out) )?(?:as )?the (?:\w{1,12} ){0,2}?(?:answer|choice|option)\b"
    r"|(?:is|does)[.!]?$)",
    re.IGNORECASE,
)
"""Text after a letter that is picked."""
_MORE_SAID = re.compile(rf"{_CLOSE}*\s[a-z]")
_END = re.compile(rf"(?:{_CLOSE}|[.!])*$")
_BREAK = re.compile(
    rf"(?:^|[.,;:!?–—]|\s-|\b(?:last|finally|definitely|certainly|clearly|or|and))\s*{_OPEN}*$", re.IGNORECASE
)
"""Text before a letter that is picked if nothing follows it."""
_DENIED = re.compile(
    r"(?:\b(?:(?:not|isn['’]t|aren['’]t|can['’]?t|cannot|wouldn['’]t|don['’]t|never)\s"
    r"(?:(?!so\b|but\b|thus\b|hence\b|therefore\b|it\b|then\b|pick\b)\w+\s){0,4}?"
    r"|(?:neither|nor|eliminat\w*|rul\w+ out|exclud\w*|discard\w*|reject\w*|unlike|except|instead of|rather than|than"
    r"|wrong|incorrect|whether|between|if|confused with|tempting|over|against|without|cross\w* out|why|dismiss\w*"
    r"|avoid\w*|look(?:ing)? at|consider(?:ing)?|examin\w+|check(?:ing)?|evaluat\w+|analy[sz]\w+|try(?:ing)?"
    r"|(?:anything|everything|all) but|(?:many|most|some|people|others|students?|they|he|she)\s"
    r"(?:(?:would|might|may|could) )?(?:choose|chose|pick|picked|select|say|guess))[\s:]{1,2}"
    r"(?:(?:be|is|it['’]s|the|an?|option|choice|answer|both|either|out)\s){0,3}))"
    rf"{_OPEN}{{0,3}}$",
    re.IGNORECASE,
)
_FAULTY = re.compile(
    rf"{_CLOSE}{{0,4}}[.:]?(?:\s*\([^()]{{0,40}}\))?,?\s+(?:(?:is|are|was|would be|must be|seems|looks)\s"
    r"(?:clearly |definitely |also |therefore |obviously |thus |just ){0,2}(?:not|wrong|incorrect|false|too|out"
    r"|impossible|eliminated|ruled|excluded|tempting|a (?:trap|distractor|mistake)"
    r"|irrelevant|unrelated|never)|isn['’]t|aren['’]t|fails?|can['’]?t"
    r"|cannot|can not|does(?:n['’]t| not)|don['’]t|do not|contradicts?)\b",
    re.IGNORECASE,
)
_LIST = re.compile(r"^(?:\)?\s*(?:,|and\b|or\b|&)\s*(?:(?:and|or)\s)?\(?[A-J]\b)+")
"""Further letters of the same statement."""
_NAMED = re.compile(
    r"(?:\b(?:vitamin|hepatitis|plan|grade|type|points?|person|people|figures?|angles?|sides?|class|groups?"
    r"|teams?|city|cities|towns?|lines?|section|part|column|row|trains?|machines?|pipes?|cars?|sets?|events?|box|bag|jar"
    r"|workers?|tanks?|students?|company|companies|solutions?|vessels?|area|state|countr(?:y|ies)|shop|store|runners?"
    r"|bus|boats?|particles?|blocks?|blood|note|key|appendix|exhibit|chapter|item|man|boy|girl|cells?|gene|allele"
    r"|locations?|stations?|villages?|substance|samples?|objects?|planet|matrix|mixture|firm|account|term|variables?"
    r"|pairs?|magnets?|distance)\s(?:and\s|[A-J]\s(?:and|to)\s)?)$",
    re.IGNORECASE,
)
"""Words that make a letter a name of something else."""
_MEASURED = re.compile(r"(?:[0-9°]|(?<!\w)[a-z]\s?=)\s?$")
"""Text that makes a letter a unit or a variable."""
_ASKED = re.compile(r"(?<!right)\?\W*$")
_HEDGED = re.compile(rf"\b(?:maybe|perhaps|possibly|could be|might be|may be) {_OPEN}{{0,3}}$", re.IGNORECASE)
_MORE = re.compile(
    rf"{_CLOSE}*(?:(?:and|&|,)\s*(?:also\s*)?(?:option\s|choice\s)?{_OPEN}*([A-J])(?![\w'’])(?!\)?\s+[a-z])"
    rf"|(?:,?\s*(?:or|and/or)|/)\s*(?:maybe\s|perhaps\s|possibly\s|even\s|option\s|choice\s)?{_OPEN}*([A-J])(?![\w'’]))"
)
"""Another letter as an alternative."""
_BEFORE = re.compile(
    rf"(?<![\w'’])([A-J])[)\]]?[*_]*(?P<join>,?\s*(?:or|and/or|and)\s|,\s*|/)\s*(?:option\s|choice\s)?{_OPEN}{{0,3}}$"
)


def read_choice(text: str) -> str | None:
    """Return the letter that a text picks, or None if it picks none or two."""
    for pointed in pointed_at(text):
        if (said := next(_said(pointed), None)) is not None:
            return said or None
    lines = text.splitlines()
    alone = [match[1].upper() for line in lines if (match := _ALONE.fullmatch(line))]
    if len(set(alone)) > 1:
        return None
    labels = [match[1] for line in lines if (match := _LABEL.match(line))]
    if alone and (_ALONE.fullmatch(lines[-1]) or (len(labels) <= 1 and _ALONE.fullmatch(lines[0]))):
        return alone[0]
    only = labels[0] if len(labels) == 1 and (_LABEL.match(lines[0]) or _LABEL.match(lines[-1])) else None
    return _told(sentences(text)) or only


def _told(parts: list[str]) -> str | None:
    """Return the letter that prose picks, or the only one in brackets if that is in the last sentence."""
    for sentence in reversed(parts):
        if not _ASKED.search(sentence) and (picks := list(_picks(sentence))):
            return picks[-1] or None
    bracketed = {match["bracketed"] for part in parts for match in _LETTER.finditer(part)} - {None}
    return next((pick for pick in _picks(parts[-1], bracketed=True) if pick), None) if len(bracketed) == 1 else None


def _said(content: str) -> Iterator[str]:
    """Yield the letter in text after a marker, "" if it says none or two; yield nothing if it says neither."""
    content = unwrap(content)
    leading = _LEADING.match(content)
    equation = leading and _EQUATION.match(content, leading.end())
    if leading and equation:
        yield next(
            reversed(list(_picks(content, bracketed=True))), (leading[1] or leading[2]) if equation["value"] else ""
        )
    elif leading and not _FAULTY.match(content, leading.end()):
        letter = (leading[1] or leading[2]).upper()
        yield "" if _offers_more(content, leading.end(), letter) else letter
    elif re.match(r"\W*(?:neither|none|both)\b", content, re.IGNORECASE):
        yield ""
    elif not re.match(r"\W*not\b(?!.*\bbut\b)", content, re.IGNORECASE | re.DOTALL):
        yield from list(_picks(content, bracketed=True))[-1:]


def _picks(sentence: str, *, bracketed: bool = False) -> Iterator[str]:
    """Yield the letters that a sentence picks; "" stands for one of two. With `bracketed`, any letter in brackets is
    picked."""
    letters = list(_LETTER.finditer(sentence))
    for match in letters:
        before, behind = sentence[max(0, match.start() - 60) : match.start()], sentence[match.end() :][:80]
        if _DENIED.search(before) or _NAMED.search(before) or (match["bare"] and _MEASURED.search(before)):
            continue
        if _FAULTY.match(_LIST.sub("", behind, count=1)):
            continue
        ends = _SAID.match(behind)
        picked = (
            _PICKED.search(before)
            or (_SO.search(before) and (match["bare"] is None or ends))
            or (_OPTION.search(before) and (ends or not _MORE_SAID.match(behind)))
        )
        letter = match[match.lastgroup or 0]
        if letter.islower() and not (picked or bracketed):
            continue
        letter, right = letter.upper(), _RIGHT.match(behind)
        closes = _END.match(behind) and (match["bare"] is None or _BREAK.search(before))
        if picked or right or closes or (bracketed and match["bracketed"]):
            former = _BEFORE.search(before)
            beside = former and former[1] != letter and not (right and former["join"].strip() == ",")
            hedged = _HEDGED.search(before) and any(other[other.lastgroup or 0].upper() != letter for other in letters)
            yield "" if beside or hedged or _offers_more(sentence, match.end(), letter) else letter


def _offers_more(text: str, end: int, letter: str) -> bool:
    more = _MORE.match(text, end)
    return more is not None and (more[1] or more[2]) != letter
