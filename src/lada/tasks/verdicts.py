"""Tells whether a text says yes or no."""

import re

from lada.tasks.markers import pointed_at, refused, sentences

_OPENING = re.compile(
    r"\W*(?:(?P<no>(?:(?:absolutely|definitely|certainly|of course|probably|surely|clearly|most likely|likely"
    r"|almost certainly) not|not (?:really|at all|true|correct|so|likely|exactly)|nope|nah|in no way|no way|by no means"
    r"|I (?:do not|don['’]t) (?:think|believe) so|false|incorrect|untrue|wrong|no)\b)"
    r"|(?:I (?:think|believe) so|yes|yeah|yep|yup|true|correct|of course|absolutely|definitely|certainly"
    r"|indeed|affirmative|right)\b)"
    r"(?=[*_\"”'’)\]}.,:;!$—–<\\-]|\s*$|\s*\n|\s(?:because|since|as|it|they|he|she|this|that|the|there|in|for|but|an?"
    r"|and|so|not|you|we|people|(?-i:[A-Z(—–-])))",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"\W*sure(?:ly)?, (?:it|this|that|he|she|they|you|we|there)\b"
    r"(?!.*(?:n['’]t|\b(?:not|no|never|cannot|but|question|let))\b)",
    re.IGNORECASE | re.DOTALL,
)
"""A sentence that agrees and is the whole text."""
_STATED = re.compile(
    r"(?P<not>(?:n['’]t|\b(?:not|cannot|can['’]t|never|neither|hardly|nor))\s"
    r"(?:(?:likely to be|likely|be|been|necessarily|quite|really|actually|entirely|the)\s){0,2})?"
    r"\b(?:(?P<flat>yes|no)|(?P<right>true|correct|right|case)|(?P<wrong>false|untrue|incorrect|wrong))\b"
    r"(?P<noun> (?!(?:that|because|since|as|for|in|and|but|when|if|so|by|based|according|it|they|to|the|or|here|given)"
    r"\b)[a-z]+)?",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:(?:yes|true)(?: and |/| or )(?:no|false)|(?:no|false)(?: and |/| or )(?:yes|true)"
    r"|neither (?:yes|no|true|false))\b",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|claims that|claimed|thinks?|believes?|believed|said|says"
    r"|myth that|(?:claim|notion|idea|belief)s? that (?:it|this)"
    r"|(?:people|some|they|many) say|were|(?:could|may|might|can) be)\b",
    re.IGNORECASE,
)
_TO_SAY = re.compile(r"\b(?:true|correct|right|false|wrong|incorrect) to say $", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|consequently|overall|in (?:conclusion|short|sum|summary)|finally|conclusion|verdict"
    r"|final)\b",
    re.IGNORECASE,
)
_BUT = r"(?:but|however|(?:al)?though only|yet|except|only|if|unless|in (?:theory|principle|legend))\b"
_TURNED = re.compile(
    rf"^\W*(?:\w+ )?\w+[^\w!?]+{_BUT}"
    r"|^(?!\W*no\b).*\b(?:but|however|though)\b[^.!?]*(?:n['’]t|\b(?:not|never|cannot|nor))\b",
    re.IGNORECASE | re.DOTALL,
)
"""Text that retracts a verdict within its sentence."""
_TURNS = re.compile(r"\W*(?:but|however|yet|still|nevertheless|in (?:reality|fact|practice))\b", re.IGNORECASE)
"""The beginning of a sentence that retracts the text before it."""
_WOULD = re.compile(r"\b(?:would|might|could)(?: (?:only|have|also|still|not))* (?:be|been) $", re.IGNORECASE)
_UNREAL = re.compile(r"[^.!?]*\b(?:if|had|were|unless|only)\b", re.IGNORECASE)
_REASON = re.compile(r"\b(?:because|since|as|although|though|even|while)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"(?:\b(?:is|be|was|are|were|say|evaluates to|returns|it['’]s|that['’]s|seems|sounds)|n['’]t|[:—–])\s+"
    r"(?:[a-z]+ly\s|not\s|also\s|the\s|in fact\s){0,2}[*_\"“(]{0,3}$",
    re.IGNORECASE,
)


def read_verdict(text: str) -> str | None:
    """Return `yes` or `no`, or None if a text says neither or both."""
    for pointed in pointed_at(text):
        turned = _HEDGED.search(pointed) or _TURNED.search(pointed)
        said = None if turned else _opens(pointed) or _states(pointed, pointed=True)
        if said is not None or turned or refused(pointed):
            return said
    told = [sentence for sentence in sentences(text) if not sentence.rstrip(' *_"”)').endswith("?")]
    sure = "yes" if len(told) == 1 and _SURE.match(text) else None
    concluded = next((said for sentence in reversed(told) if (said := _concludes(sentence)) is not None), sure)
    if concluded is not None or any(map(_TURNS.match, told[1:])) or any(map(_takes_back, told)):
        return concluded
    if told and not _HEDGED.search(told[0][:20]) and (said := _opens(told[0])) is not None:
        return said
    for sentence in reversed(told):
        said = _opens(sentence) or _states(sentence)
        if said is not None or refused(sentence) or _HEDGED.search(sentence):
            return None if refused(sentence) or _HEDGED.search(sentence) else said
    return None


def _opens(text: str) -> str | None:
    """Return the verdict that a text starts with: `No, …`, `Of course not.`"""
    match = _OPENING.match(text)
    return None if match is None else "no" if match["no"] else "yes"


def _takes_back(sentence: str) -> bool:
    """Return whether a sentence gives a verdict and qualifies it: `Yes, but …`, `It is true, though he could not.`"""
    return _TURNED.search(sentence) is not None and (_opens(sentence) or _states(sentence)) is not None


def _concludes(sentence: str) -> str | None:
    """Return the verdict after the last word of conclusion: `so yes`, `therefore it is not true`."""
    words = list(_CONCLUDES.finditer(sentence))
    if not words or _HEDGED.search(sentence) or _TURNED.search(sentence[words[-1].end() :]):
        return None
    behind = sentence[words[-1].end() :].lstrip(" ,:*")
    return _opens(behind) or _states(behind)


def _states(text: str, *, pointed: bool = False) -> str | None:
    """Return the last verdict of a text: `it is not true that`, `the claim is false`, `so, no`.

    Without a marker, words that need not be a verdict are ignored: `no snow`, `true love`, `if it is true`.
    """
    said, end = None, 0
    for match in _STATED.finditer(text):
        if said is not None and _REASON.search(text[end : match.start()]):
            break
        before = text[max(0, match.start() - 60) : match.start()]
        if _TO_SAY.search(before) or (_WOULD.search(before) and _UNREAL.match(text, match.end())):
            continue
        if said is not None and text[end : match.start()].strip() == "that":
            return None  # `it is not the case that yes is right`
        predicate = match["flat"] is not None or match["not"] is not None or _COPULA.search(before) is not None
        if not pointed and (match["noun"] or not predicate or _SUPPOSED.search(before[-40:])):
            continue
        positive = match["right"] is not None or (match["flat"] or "").lower() == "yes"
        said, end = "yes" if positive != (match["not"] is not None) else "no", match.end()
    return said
