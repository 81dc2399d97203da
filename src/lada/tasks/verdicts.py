"""Whether a text says yes or no."""

import re

from lada.tasks.markers import pointed_at, refused, sentences

_OPENING = re.compile(
    r"\W*(?:(?P<no>(?:(?:absolutely|definitely|certainly|of course|probably|surely|clearly|most likely|likely"
    r"|almost certainly) not|not (?:really|at all|true|correct|so|likely|exactly)|nope|nah|in no way|no way|by no means"
    r"|false|incorrect|untrue|wrong|no)\b)"
    r"|(?:yes|yeah|yep|yup|true|correct|of course|absolutely|definitely|certainly|indeed|affirmative|right)\b)"
    r"(?=[*_\"”'’)\]}.,:;!$—–<\\-]|\s*$|\s*\n|\s(?:because|since|as|it|they|he|she|this|that|the|there|in|for|but|an?"
    r"|and|so|not|you|we|people|(?-i:[A-Z(—–-])))",
    re.IGNORECASE,
)
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
    r"|(?:people|some|they|many) say|were|(?:could|may|might|can) be)\b",
    re.IGNORECASE,
)
_TO_SAY = re.compile(r"\b(?:true|correct|right|false|wrong|incorrect) to say $", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|consequently|overall|in (?:conclusion|short|sum|summary)|finally|conclusion|verdict"
    r"|final)\b",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:because|since|as|although|though|even|while)\b", re.IGNORECASE)
_COPULA = re.compile(
    r"(?:\b(?:is|be|was|are|were|say|evaluates to|returns|it['’]s|that['’]s|seems|sounds)|n['’]t|[:—–])\s+"
    r"(?:[a-z]+ly\s|not\s|also\s|the\s|in fact\s){0,2}[*_\"“(]{0,3}$",
    re.IGNORECASE,
)


def read_verdict(text: str) -> str | None:
    """Return `yes` or `no`, or None where a text says neither or both."""
    for pointed in pointed_at(text):
        said = None if _HEDGED.search(pointed) else _opens(pointed) or _states(pointed, pointed=True)
        if said is not None or _HEDGED.search(pointed) or refused(pointed):
            return said
    told = [sentence for sentence in sentences(text) if not sentence.rstrip(' *_"”)').endswith("?")]
    concluded = next((said for sentence in reversed(told) if (said := _concludes(sentence)) is not None), None)
    if concluded is not None:
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


def _concludes(sentence: str) -> str | None:
    """Return the verdict behind the last word of conclusion: `so yes`, `therefore it is not true`."""
    words = list(_CONCLUDES.finditer(sentence))
    if not words or _HEDGED.search(sentence):
        return None
    behind = sentence[words[-1].end() :].lstrip(" ,:*")
    return _opens(behind) or _states(behind)


def _states(text: str, *, pointed: bool = False) -> str | None:
    """Return the last verdict of a text: `it is not true that`, `the claim is false`, `so, no`.

    Unless it is pointed at, words that need not be a verdict are passed over: `no snow`, `true love`, `if it is true`.
    """
    said, end = None, 0
    for match in _STATED.finditer(text):
        if said is not None and _REASON.search(text[end : match.start()]):
            break
        before = text[max(0, match.start() - 60) : match.start()]
        if _TO_SAY.search(before):
            continue
        predicate = match["flat"] is not None or match["not"] is not None or _COPULA.search(before) is not None
        if not pointed and (match["noun"] or not predicate or _SUPPOSED.search(before[-40:])):
            continue
        positive = match["right"] is not None or (match["flat"] or "").lower() == "yes"
        said, end = "yes" if positive != (match["not"] is not None) else "no", match.end()
    return said
