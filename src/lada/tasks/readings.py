"""Finds the plain content of an answer: the number, word or list in a short sentence."""

import re

from lada.tasks.amounts import read_number
from lada.tasks.numerals import whole_number

_SAID = re.compile(r"(?s).*(?:[=:]|\b(?:is|are)\b)\s*+(?!not\b|never\b)(?P<said>.+)")
_DENIED = re.compile(r"\b(?:not|no|never|neither|nor|cannot)\b|n['’]t\b", re.IGNORECASE)


def readings(answer: str, gold: str) -> list[str]:
    """Return an answer unchanged, and the number, word or list that it plainly states if the gold answer is of that
    form.

    This is its number, or the text after its last `=`, `:`, `is` or `are`, unless it contains a negation.
    """
    found = [answer]
    if whole_number(gold) is not None:
        number = read_number(answer)
        found += [] if number is None else [str(number)]
    elif "\n" not in gold.strip("\n") and not _SAID.match(gold):
        said = _SAID.match(answer)
        if said is not None and not _DENIED.search(answer, 0, said.start("said")):
            found.append(said["said"].strip("*`$ \n").rstrip(".!").strip("*`$ \n"))
    return list(dict.fromkeys(found))
