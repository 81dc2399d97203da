"""A verifier that asks an LLM behind an API how good an answer is."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from lada.models.api import ApiLearner
from lada.verifiers.base import Asked, Failure
from lada.verifiers.options import JudgeOptions

SCANNED = 10_000
"""How many characters of a text the judge sees, from its end."""
_PLACE = re.compile(r"\bscore\b[^\w.,]{0,8}(?=[.,]?[0-9])", re.IGNORECASE)
_NUMBER = r"(?:[0-9]{1,30}+(?:[.,][0-9]{1,30}+)?|[.,][0-9]{1,30}+)(?:e[+\-]?[0-9]{1,3}+)?"
_VALUE = re.compile(
    rf"(?P<number>{_NUMBER})"
    rf"(?:[*_` ]{{0,4}}(?P<percent>%|percent\b|per cent\b)"
    rf"|[*_` ]{{0,4}}[(]?(?:[/÷⁄∕]|(?:out )?of\b)[*_` ]{{0,4}}(?P<whole>{_NUMBER}))?",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"\w|[.,]?[0-9]|[*_` ]{0,4}(?:[%‰/÷⁄∕^×·]|of\b|[^\n]{0,30}\b(?:out of|scale)\b"
    r"|(?:(?:[x:~≈+\-−–—]|to\b|or\b|and\b) ?)?[.,]?[0-9])",
    re.IGNORECASE,
)
"""Text that changes the meaning of the number before it: a power, a range, an unknown scale."""
_THOUSANDS = re.compile(r"[1-9][0-9]*,[0-9]{3}")


class JudgeVerifier:
    """Scores answers by the number that a judge writes after its last `Score:`."""

    def __init__(self, options: JudgeOptions, base: Path) -> None:
        """Raises InputError if the API's key is missing."""
        self.threshold = options.threshold
        self.fingerprint = f"judge {options.api.base_url} {options.api.model} {options.prompt}"
        self._prompt = options.prompt
        self._judge = ApiLearner(options.api, base)

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores. All requests are sent at once; raises as ApiLearner.answer does."""
        answers = self._judge.answer([self._fill(each) for each in asked], seed=0)
        for answer in answers:
            score = score_of(answer.text[-SCANNED:])
            yield Failure("got no score from the judge") if score is None else score

    def _fill(self, asked: Asked) -> str:
        told = {
            "question": asked.sample.question,
            "answer": asked.sample.answer or "(not known)",
            # The text cannot close the tags around it.
            "text": re.sub(r"</?\s*text\s*>", "", asked.text[-SCANNED:], flags=re.IGNORECASE),
        }
        return re.sub(r"\{(question|answer|text)\}", lambda place: told[place[1]], self._prompt)


def score_of(text: str) -> float | None:
    """Return the number from 0 to 1 after the last `score`; None if it is not clear.

    It may be a decimal (`0.5`, `0,5`, `5e-1`), a fraction (`1/2`, `5 out of 10`) or a percentage (`50 %`).
    """
    places = list(_PLACE.finditer(text))
    if not places or re.search(r"[-−–]", places[-1][0]):
        return None
    value = _VALUE.match(text, places[-1].end())
    if value is None or _MORE.match(text, value.end()):
        return None
    number, whole = _number(value["number"]), _number("100" if value["percent"] else value["whole"] or "1")
    if number is None or not whole or number > whole:
        return None
    return number / whole


def _number(written: str) -> float | None:
    """Return a number; None if a comma may separate thousands."""
    return None if _THOUSANDS.fullmatch(written) else float(written.replace(",", "."))
