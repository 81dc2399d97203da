"""Finds where a text states its answer: `\\boxed{}`, `<answer>`, `####`, `the answer is`, a heading `Answer`.

Only the last SCANNED characters are read: the answer is at the end, and a runaway path then costs no more than a long
one. Text after a correction (`Wait, …`) takes precedence over what it corrects. An invented next question does not
count.
"""

import re
from collections.abc import Iterator
from itertools import islice

SCANNED = 10_000
"""How many characters of a text are read, from its end."""
LONGEST = 500
"""How many characters after a marker are examined."""
MOST = 10
"""How many boxes may form one answer, and how many invented turns are examined."""
MARKERS = 100
"""How many markers are examined, from the last one back."""

_PADDING = r"[*_:\"“ \t]{0,6}"
_EMPHASIS = r"[*_\"” \t]{0,6}"
_ABOUT = (
    r"(?:[ \t]+(?:choice|option|here|(?:to|for|of|in)[ \t][^.\n:=?]{1,80}?"
    r"|(?:that[ \t])?(?:we|I)[ \t](?:get|got|found|find|obtain|choose|chose|want)))?"
    r"[,*_\"]{0,4}[ \t]?(?:(?:therefore|thus|hence|then|so)[ \t]?,?[ \t]?)?"
)
_IS = (
    r"(?:(?:(?:should|must|would|will|has[ \t]to|ought[ \t]to|might|could|may)[ \t](?:therefore[ \t])?(?:be|equal)"
    r"|is|was|are|equals|comes[ \t](?:out[ \t])?(?:to[ \t]be|to|as))\b|[:=→])"
)
_NOUN = r"(?:(?:answers?|ans)\b\.?(?!>)|(?:correct|right|best|final)[ ](?:choice|option|result|value|total|verdict)\b)"
_MARKER = re.compile(
    r"(?P<tag><(?:final_?)?answer>)"
    r"|(?P<box>\\(?:boxed|fbox)(?:[ ]?(?P<brace>\{)|[ ]))"
    r"|(?P<hashes>\#{4}(?!\#))"
    r"|(?P<heading>^[#*_>\s]{0,12}(?:the[ ])?(?:(?:final|correct)[ ])?(?:answer|result|conclusion)[*_: \t]*\n)"
    rf"|(?P<said>\b{_NOUN}{_EMPHASIS}(?::|{_ABOUT}{_IS}){_PADDING})"
    r"|(?P<short>\bans\b\.[ ]?)"
    r"|(?P<bare>\banswer\b[*_ ]{1,4}"
    r"(?!(?:from|to|for|of|in|with|by|on|at|and|or|but|based|using|because|this|that)\b))",
    re.IGNORECASE | re.MULTILINE,
)
_UNMEANT = re.compile(
    r"\b(?:(?:wrong|incorrect|tempting|na[iï]ve|mistaken|first|initial|previous|earlier|obvious|common|myth|untrue|doubtful|false|this|that|each|if"
    r"|whether|suppose|assume|assuming|what|which|unless)\b[ ,*_\"]{0,3}"
    r"(?:(?:is|that|the|their|his|her|my|correct)[ ]){0,3}|would have thought the |\bto "
    r"|\b(?:people|students?|beginners?|they|others|some|many|most|who|you|nobody|no[ ]one)[ ]"
    r"(?:should|would|will|often|usually|might|may|could|always)[ ]"
    r"|\b(?:thought|believed|assumed|suspected|guessed)[ ](?:that[ ])?(?:the[ ])?"
    r"|\b(?:you|one|he|she|they|some|many|most|others?|people|students?|(?:some|any)(?:one|body))[ ](?:\w+[ ]){0,3}"
    r"(?:think|say|claim|argue|believe|guess|assume|suppose|expect|feel)[ ](?:that[ ])?(?:the[ ])?(?:correct[ ])?"
    r"|\b(?:mistaken?|error|fallacy|tempt\w+|easy|natural)[ ](?:\w+[ ]){0,3}"
    r"(?:think|say|claim|conclude|believe|guess|assume|suppose)[ ](?:that[ ])?(?:the[ ])?(?:correct[ ])?)$",
    re.IGNORECASE,
)
"""Text before a marker that does not point at an answer: `a wrong answer is`, `if the answer is`, `this answer is`."""
_IDLE = re.compile(
    r"\W*(?:correct|right|reasonable|consistent|confirmed|verified|as follows|found|obtained|given|shown|below|above"
    r"|rounded|clear|simple|expressed)\b",
    re.IGNORECASE,
)
"""Words about an answer instead of the answer itself."""
_WORD = re.compile(r"\W*\w+\W*")
_EXCLAIMED = re.compile(r"(?<=[0-9])!+\s*$")
"""The end of a sentence; outside a formula, an exclamation mark is not a factorial."""
_NAMED = re.compile(
    r"\W*(?:step|final|answer|result|conclusion|solution|explanation|analysis|work|given|summary|check|verif|part"
    r"|option|choice|case|reason|understand|calculat|comput|find|note|looking|consider|problem|approach|method|setup|key"
    r"|the )",
    re.IGNORECASE,
)
"""How a heading starts."""
_SENTENCE_END = re.compile(r"(?:(?<!\b[A-Z])(?<!\b(?:St|Dr|Mr|Ms|Mt|Ft))(?<!\bMrs)\.|[!?])[*_\"”)]{0,3}\s+(?=[A-Z(*])")
_ITEM = re.compile(r"[\s#*_]*[0-9]{1,2}")
"""The start of a list item; its full stop does not end a sentence."""
_BETWEEN = re.compile(r"(?:[\s$,;.]|\\[()]|\\(?:text|quad)\b|[{}])*(?:or|and|,)(?:[\s$]|\\[()]|[{}])*", re.IGNORECASE)
_TURN = re.compile(
    r"\n\s{0,4}(?:#+ ?|\*\*)?(?:(?:Question|Problem|Exercise|User|Human|Instruction)\s{0,4}\d{0,4}|Q)\**\s{0,4}:",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"(?:(?<=[.!?)}$*\n…—])\s{0,3}|(?<=[,;–—] ))(?:(?:hmm+|oh|but|no|ah|um)\b[,. …]{1,3})?"
    r"(?:wait\b(?! (?:for|until|at|in|on|another|a|an|the|[0-9]))|hold on\b|correction\b|oops\b|sorry\b|scratch that\b"
    r"|my mistake\b|on second thoughts?\b|I (?:made|see) (?:a|an|my) (?:\w+ )?(?:mistake|error)\b|I (?:was|am) wrong\b"
    r"|I (?:forgot|misread|miscounted|overlooked)\b"
    r"|(?:no, )?that(?:'s|’s| is| was) (?:wrong|incorrect|not right|a mistake)\b|let me (?:re|correct|fix)\w*\b"
    r"|actually,? (?:no|wait|the|it|that|I)\b|(?:or rather|make that|I mean)\b)|(?<=[;–—] )no, ",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")
_TAKEN_BACK = re.compile(
    r"\b(?:wrong|incorrect|mistaken?|error|(?:not|isn['’]t) (?:right|correct)|forgot|misread|miscounted|overlooked)\b",
    re.IGNORECASE,
)
_CONFIRMED = re.compile(r"\b(?:correct|right|confirmed|confirms|checks? out|holds|matches|consistent)\b", re.IGNORECASE)
_REFUSED = re.compile(
    r"\b(?:can(?:not|['’]t| not)|could(?: not|n['’]t)|unable to|impossible to|no way to|not possible to|hard to) "
    r"(?:\w+ )?(?:be (?:determined|answered|solved|known|said|computed|calculated|found|decided|concluded|inferred)"
    r"|be sure|determine|answer|solve|say|tell|know|compute|calculate|help|assist|decide|choose|conclude|give an?)\b"
    r"|\b(?:not enough|insufficient|too little|lacks?|missing) (?:information|data|context|details?)\b"
    r"|\b(?:I|we)(?:['’]m| am| are)? (?:do not|don['’]t|did not|didn['’]t|not|have no|no) (?:really |quite |actually )?"
    r"(?:know|sure|certain|idea|have enough)\b|\bno idea\b|\bno (?:valid |correct )?answer\b|\bdepends on\b"
    r"|\bas an? (?:AI|(?:large )?language model)\b|\bnone of (?:the above|these|them)\b"
    r"|(?:\b(?:is|are|remains?) |^\W*)(?:undetermined|unknown|indeterminate|unclear)\b",
    re.IGNORECASE,
)


def endings(text: str) -> Iterator[str]:
    """Yield the parts of a text in which to search for the answer, the best first: the text after a correction, then
    all."""
    text = _STRUCK.sub("", text[-SCANNED:]).strip()
    for turn in islice(_TURN.finditer(text), MOST):
        if next(pointed_at(text[: turn.start()]), None) is not None:
            text = text[: turn.start()].rstrip()
            break
    corrections = [match.start() for match in _CORRECTION.finditer(text)]
    if not corrections:
        yield text
        return
    after = text[corrections[-1] :].strip()
    taken_back = _TAKEN_BACK.search(after)
    if not taken_back and _CONFIRMED.search(after) and next(pointed_at(after), None) is None:
        yield text
    yield after
    if not taken_back:
        yield text


def pointed_at(text: str) -> Iterator[str]:
    """Yield the texts that the answer markers point at, from the last marker back; none is blank."""
    markers = list(_MARKER.finditer(text))[-MARKERS:]
    for place in reversed(range(len(markers))):
        marker = markers[place]
        rest = text[marker.end() : marker.end() + LONGEST]
        line = next((line.lstrip(" *") for line in rest.splitlines() if _says(line)), "")
        if marker["box"]:
            denied = re.search(
                r"\b(?:not|instead of|rather than)[\s$*(]{0,4}$", text[max(0, marker.start() - 20) : marker.start()]
            )
            content = None if denied else _boxes(text, markers[max(0, place - MOST) : place + 1])
        elif marker["tag"]:
            content = re.split(r"</", rest, maxsplit=1)[0]
        elif marker["hashes"]:
            content = None if _is_heading(text, marker) else _EXCLAIMED.sub("", rest.partition("\n")[0])
        elif marker["heading"]:
            content = rest.lstrip().partition("\n\n")[0]
        else:
            end = _SENTENCE_END.search(line)
            content = line[: end.start() + 1] if end else line
            idle = _IDLE.match(line) and not (":" in marker[0] and _WORD.fullmatch(line))
            meant = not (idle or _UNMEANT.search(text[max(0, marker.start() - 60) : marker.start()]))
            content = _EXCLAIMED.sub("", content)
            passed = marker["bare"] and "\n" in rest.rstrip()
            if not meant or passed or content.rstrip(" *_").endswith("?") or "\\boxed" in content:
                content = None
        content = content and re.sub(r"</?\w{0,20}answer>", "", content)
        if content and _says(content):
            yield content.strip()


def _says(text: str) -> bool:
    return any(map(str.isalnum, text))


def refused(text: str) -> bool:
    """Return whether a text says that it has no answer, without a `but` afterwards."""
    refusal = _REFUSED.search(text)
    return refusal is not None and re.search(r"\bbut\b", text[refusal.end() :]) is None


def sentences(text: str) -> list[str]:
    """Return the nonblank sentences and lines of a text."""
    parts: list[str] = []
    for line in text.splitlines():
        start = 0
        for end in _SENTENCE_END.finditer(line):
            if not _ITEM.fullmatch(line[start : end.start()][:LONGEST]):
                parts.append(line[start : end.end()])
                start = end.end()
        parts.append(line[start:])
    return [part for part in parts if part.strip()]


def is_cut(text: str) -> bool:
    """Return whether a text breaks off where its answer should be."""
    box = text.rfind("\\boxed{")
    if box >= 0 and _boxed(text[box + len("\\boxed{") :][:LONGEST]) is None:
        return True
    return (
        re.search(
            r"(?:[=+×·−(:/]|\\times|\\frac|(?<=\s)(?:is|are|equals|the|of|and|than|to|has|have|get))[\s$*\\({]*$",
            text[-40:],
        )
        is not None
    )


def _boxed(text: str) -> str | None:
    """Return the text before the brace that closes a box; braces inside may nest. None if the text breaks off."""
    depth = 1
    for end, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:end]
    line, newline, _ = text.partition("\n")
    closed = re.search(r"\$|\\[)\]]|\.(?:\s|$)", line)  # a brace is missing, but the formula ends
    return line[: closed.start()] if closed else (line if newline else None)


def _boxes(text: str, markers: list[re.Match[str]]) -> str | None:
    """Return the content of the last marker, a box, together with preceding boxes that belong to the same answer.

    An example is `\\boxed{2} or \\boxed{3}`.
    """
    marker = markers[-1]
    rest = text[marker.end() : marker.end() + LONGEST]
    content = _boxed(rest) if marker["brace"] else re.split(r"[\s$]", rest, maxsplit=1)[0]
    if content is None or len(markers) < 2 or not markers[-2]["brace"]:
        return content
    former = markers[-2].end()
    before = _boxed(text[former : former + LONGEST])
    if before is None or not _BETWEEN.fullmatch(text[former + len(before) + 1 : marker.start()]):
        return content
    return f"{_boxes(text, markers[:-1])}, {content}"


def _is_heading(text: str, hashes: re.Match[str]) -> bool:
    """Return whether `####` starts a Markdown heading rather than an answer in GSM8K's form."""
    line = text[hashes.end() : hashes.end() + LONGEST].partition("\n")[0]
    start = text.rfind("\n", 0, hashes.start()) + 1
    follows = text[hashes.end() + len(line) :].strip()
    line = line.strip()
    if text[start : hashes.start()].strip() or not follows:
        return False
    if re.match(r"[-+$€£(*\\]{0,4}[0-9.]", line):
        return re.match(r"\**[0-9]{1,2}(?:[.):]\**[ ]+\S|[ ]*[-–:][ ])", line) is not None
    named = _NAMED.match(line)
    return bool(named) or not text[:start].strip() or line.endswith((":", "?")) or len(line.split()) > 4
