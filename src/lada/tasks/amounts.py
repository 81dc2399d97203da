"""Finds the number in a text that is its answer.

After a marker (see lada.tasks.markers), it is the first number, or the value of a sum that comes first. In prose, it is
the last number of the last sentence with one, except numbers that only qualify another: `42 apples after 3 days`. Two
alternative numbers, a bound (`more than 5`) and a sum without its value are no answer.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from lada.tasks.markers import LONGEST, is_cut, pointed_at, refused, sentences
from lada.tasks.numerals import Number, Numeral, numerals, same_number, tidy

_ONES = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen"
)
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_WORDS = {word: value for value, word in enumerate(_ONES.split("|"))} | {
    word: 10 * value for value, word in enumerate(_TENS.split("|"), start=2)
}
_BIG = {"hundred": 100, "thousand": 1000, "million": 10**6}

_NUMBER_WORD = rf"(?:{_ONES}|{_TENS}|hundred|thousand|million)"
_IN_WORDS = re.compile(
    rf"\W*(?:total|sum|result|altogether|count)\W+({_NUMBER_WORD}(?:(?:-|[ ]|[ ]and[ ]){_NUMBER_WORD})*)\W*",
    re.IGNORECASE,
)
_UNIT = "(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?|cents?|dollars?|inch(?:es)?|feet|foot)"
_RESTATED = re.compile(
    rf"(?<=[a-z]),? (?:which is|or|that is|i\.e\.),? [0-9]+ {_UNIT},?(?: and)? [0-9]+ {_UNIT}\b", re.IGNORECASE
)
"""The same size in two units: `160 minutes, which is 2 hours and 40 minutes`."""

_CLOSE_BY = 60
"""How many characters before a number are examined."""
_NEGATED = re.compile(
    r"\b(?:not|isn['’]t|wasn['’]t|never|neither|nor|rather than|instead of|no longer) "
    r"(?:(?:be|is|the|just|simply|equal to|exactly|about|answer) ){0,3}[$*\\(]{0,4}$",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:[<>≤≥≠]|\\[lg]eq?\b|\\neq?\b|\\[lg]t\b|\b(?:more|less|fewer|greater|larger|smaller|higher|lower|bigger) than"
    r"|\bbetween|\bover|\bunder|\bbelow|\babove)[ ]?[$*(]{0,3}$",
    re.IGNORECASE,
)
"""Text that turns the number after it into a bound."""
_BOUNDS = re.compile(r"[ ]?(?:[<>](?!/|[a-z]{1,6}>)|[≤≥≠]|\\[lg]e?q?\b|\\[lg]t\b)")
_OPERATOR = re.compile(r"[^\w=≈,;(]{0,9}(?:[a-z]{1,2}\b)?[^\w=≈,;(]{0,9}(?:[-+*/×·÷^–−x]|times|cdot|div)[^\w=≈]{0,12}")
_ASIDES = (
    r"[(;]|\b(?:since|because|as|where|when|if|and|but|or|not|while|whereas|though|although|so|rather|than"
    r"|(?:reject|discard|exclud|ignor|dismiss)\w*)\b|,\s?[a-z]\s?="
)
"""Text which shows that an equation is not the one that a sentence starts with."""
_EQUALS = re.compile(rf"(?:(?!{_ASIDES})[^=≈]){{0,25}}(?:=|≈|\\approx|\bequals\b|\bmakes\b)[^=≈]{{0,20}}")
_OR = re.compile(
    r"(?: ?[^\W\d]{1,12}){0,2}[$*\\) ]{0,3}(?:(?:,? ?\b(?:or|and|to)\b|/|;)[$*\\( ]{0,3}"
    r"(?:(?:about|maybe|perhaps|possibly|[a-z] =) )?)|\$?, ?\$?(?:[a-z] ?= ?)?",
    re.IGNORECASE,
)
"""Text between two numbers when neither is the answer."""
_ASIDE = re.compile(
    r"\b(?:after|in|every|per|for|of|each|than|from|within|by|with|during|at|steps?|part|equation|question|problem|line"
    r"|day|over|on|onto|into|across|through|until|since|before|among|between|if|when|all|the|an?|this|that|its) "
    r"(?:(?:the|his|her|their|those|these|next|first|last) ){0,2}[$*(]{0,3}$",
    re.IGNORECASE,
)
_RELATIVE = re.compile(
    r" (?:\w{1,12} )?(?:more|less|fewer|older|younger|longer|shorter|taller|larger|smaller|faster|slower|heavier"
    r"|lighter|earlier|later) than\b|-[a-z]{3}|(?<=%) of\b| times (?:as|more)\b| more \w{1,15} would\b",
    re.IGNORECASE,
)
"""Text after such a number."""
_SUBORDINATE = re.compile(
    r"\b(?:after|before|when|while|because|since|if|than|until|who|whose|where|(?:by|for|from|without|of|in) \w+ing"
    r"|to (?!round|get|make|give|obtain|find|reach|be\b|have|a\b|the\b)[a-z]{2,}"
    r"|but (?:my|his|her|their|some|others?|another|an?|many)"
    r"|which (?!(?:is|are|makes?|gives?|leaves?|equals?|means|comes?|totals?|costs?)\b))\b",
    re.IGNORECASE,
)
"""Text between the main number of a sentence and such a number."""
_TOTAL = re.compile(
    r"\b(?:total|sum|product|average|mean|profit|price|cost|rate|speed|age|number|amount|out|result) (?:of|for|by|in) "
    r"[$*(]{0,3}$",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:.{0,60}=)?(?:[\W_]|\b(?:about|approximately|approx|exactly|roughly|around|only|just|simply|clearly|therefore"
    r"|thus|now|rs|usd|eur|inr|a total of|at least|at most|up to)\b)*",
    re.IGNORECASE | re.DOTALL,
)
"""Text that may stand between a marker and its number; anything else is prose."""
_CHECK = re.compile(r"[\s(*_#]*(?:check|verif|to verify|proof|note\b|double-check|ps\b|p\.s\.)", re.IGNORECASE)
_CHATTER = re.compile(r"\W*(?:I hope|let me know|feel free|if you|thank|please|good luck)\b|.*\?\W*$", re.IGNORECASE)
_MAYBE = re.compile(r"\b(?:maybe|perhaps|might|possibly)\b", re.IGNORECASE)
_GOES_ON = re.compile(r"\b(?:so|therefore|thus|hence|but|still|however|then|must)\b|=", re.IGNORECASE)
_ITEM = re.compile(r"[\s#*_]*")
_WRONG = re.compile(r"\**\s(?:(?:is|was|are) (?:not|wrong|incorrect|too|impossible)|isn['’]t|wasn['’]t)\b")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")


def read_number(text: str) -> Number | None:
    """Return the number that a text gives as its answer, or None if it gives none."""
    for pointed in pointed_at(text):
        for said in _said(tidy(pointed)):
            return said
    return None if is_cut(text) else _concluded(text)


def read_amount(answer: str) -> Number | None:
    """Return the number of an extracted answer, such as `12 apples` or `x = 12`; None if it is not a number."""
    return next(_said(tidy(answer)), None)


def _said(text: str) -> Iterator[Number | None]:
    """Yield the number in text after a marker, or None if it says that there is no answer; yield nothing if it says
    neither."""
    instead = re.match(r"\W*not\b.*?\bbut\b", text, re.DOTALL)
    text = text[instead.end() :] if instead else text
    found = _meant(text)
    if not found:
        if (value := _in_words(text)) is not None:
            yield Number(Fraction(value), percent=False)
        elif refused(text) or re.search(r"[0-9]", text):
            yield None
    elif not _LEAD.fullmatch(text[: found[0].start]):
        yield _concluded(text)
    else:
        yield _value(text, found)


def _value(text: str, found: list[Numeral]) -> Number | None:
    """Return the number that a text starts with, or the value of a sum that it starts with: `3 + 4 = 7`."""
    chosen, unfinished = found[0], False
    for following in found[1:]:
        gap = text[chosen.end : following.start]
        if _EQUALS.fullmatch(gap):
            unfinished = False
        elif _OPERATOR.fullmatch(gap):
            unfinished = True
        else:
            break
        chosen = following
    factorial = text.startswith("!", chosen.end)
    return None if unfinished or factorial or not _is_sole(text, chosen) else chosen.number


def _concluded(text: str) -> Number | None:
    """Return the number with which prose ends."""
    parts = [_RESTATED.sub("", tidy(part[-LONGEST:])) for part in sentences(text)]
    for place in reversed(range(len(parts))):
        part, earlier = parts[place], parts[:place]
        if refused(part):
            return None
        found = _meant(part)
        if not found and (total := _IN_WORDS.fullmatch(part)):
            return Number(Fraction(_in_words(total[1]) or 0), percent=False)
        if not found or _CHATTER.match(part) or (_CHECK.match(part) and any(map(_meant, earlier))):
            continue
        if any(map(refused, earlier)) and not _GOES_ON.search(part):
            return None
        free = [numeral for numeral in found if not _is_bound(part, numeral)]
        if not free and any(map(_meant, earlier)):
            continue  # `That is more than 50!`
        chosen = _main(part, free or found)
        return chosen.number if _is_sole(part, chosen) and len(_MAYBE.findall(part)) < 2 else None
    return None


def _main(part: str, found: list[Numeral]) -> Numeral:
    """Return the main number of a sentence: the only bold one, else the last one that is not an aside."""
    if part.count("**") == 2:
        bold = [numeral for numeral in found if part[: numeral.start].rstrip("$").endswith("**")]
        if bold:
            return bold[-1]
    for place in reversed(range(len(found))):
        numeral = found[place]
        before = part[max(0, numeral.start - _CLOSE_BY) : numeral.start]
        between = part[found[place - 1].end : numeral.start] if place else ""
        bracketed = place > 0 and part.count("(", 0, numeral.start) > part.count(")", 0, numeral.start)
        if bracketed or _SUBORDINATE.search(between) or _RELATIVE.match(part, numeral.end):
            continue
        if not _ASIDE.search(before) or _TOTAL.search(before):
            return numeral
    return found[-1]


def _meant(text: str) -> list[Numeral]:
    """Return the numbers of a tidy text, except negated ones, and except ordinals if there are other numbers."""
    found = [
        numeral
        for numeral in numerals(text)
        if not _NEGATED.search(text[max(0, numeral.start - _CLOSE_BY) : numeral.start])
        and not _WRONG.match(text, numeral.end)
        and not (_ITEM.fullmatch(text[: numeral.start]) and re.match(r"[.)]\**[ ]+\S", text[numeral.end :]))
    ]
    return [numeral for numeral in found if not _ORDINAL.match(text, numeral.end)] or found


def _is_sole(text: str, chosen: Numeral) -> bool:
    """Return whether a number is not a bound and has no alternative next to it."""
    if _is_bound(text, chosen):
        return False
    for other in numerals(text):
        gap = text[chosen.end : other.start] if other.start >= chosen.end else text[other.end : chosen.start]
        if other.start != chosen.start and _OR.fullmatch(gap) and not same_number(other.number, chosen.number):
            return False
    return True


def _is_bound(text: str, numeral: Numeral) -> bool:
    before = text[max(0, numeral.start - _CLOSE_BY) : numeral.start]
    return (_BOUND.search(before) or _BOUNDS.match(text, numeral.end)) is not None


def _in_words(text: str) -> int | None:
    """Return the value of a text that starts with a spelled-out number: `twenty-one apples`."""
    total, part, read = 0, 0, False
    for word in re.findall(r"[a-z]+", text.lower())[:12]:
        if word in _WORDS:
            part += _WORDS[word]
        elif word in _BIG and read:
            part *= _BIG[word]
            if _BIG[word] > 100:
                total, part = total + part, 0
        elif word != "and" or not read:
            break
        read = True
    return total + part if read else None
