"""A verifier that uses reasoning-gym: each generator scores answers to its own questions."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lada.core.extras import look_for
from lada.core.terms import Sample
from lada.core.thinking import conclusion
from lada.verifiers.base import Asked, Failure
from lada.verifiers.fences import fenced
from lada.verifiers.process import WorkerProcess

FUNCTIONS = Path(__file__).with_name("gym_functions.py")
MEMORY = 8 * 2**30
SCANNED = 10_000
"""How many characters of a text are read, from its end."""
_TAGS = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_MARKER = re.compile(r"\banswer\b[*_ ]{0,4}(?:is\b)?[:=]?[*_ ]{0,4}", re.IGNORECASE)


class GymVerifier:
    """Scores answers with reasoning-gym. A generator receives the answer that LaDa reads from a text."""

    def __init__(self, threshold: float, seconds: float, readings: Callable[[str, str], list[str]]) -> None:
        """Start the worker; `readings(answer, gold)` returns the forms of an answer, and the best-scored form counts.

        Raises InputError if the package is missing or cannot be imported.
        """
        look_for("reasoning-gym", "task.kind: 'reasoning_gym'", "gym")
        self.fingerprint = f"reasoning-gym {version('reasoning-gym')}"
        self.threshold, self._seconds, self._readings = threshold, seconds, readings
        self._worker = WorkerProcess(FUNCTIONS, MEMORY)

    def ask(self, function: str, *arguments: Any, seconds: float) -> Any:
        """Return the result of one of gym_functions, or a Failure."""
        return self._worker.call(function, list(arguments), seconds)

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores. A text without a readable answer scores 0."""
        for each in asked:
            answer = each.answer
            lines = (each.sample.answer or "").strip("\n").count("\n") + 1
            if lines > 1:
                answer = block(each.text, lines)
            if answer is None:
                yield 0.0
            else:
                yield self._best(each.sample, answer)

    def _best(self, sample: Sample, answer: str) -> float | Failure:
        """Return the best score of all readings of an answer; if none has a score, return why the first has none."""
        best: float | Failure | None = None
        for reading in self._readings(answer, sample.answer or ""):
            score = self._worker.call("verify", [sample.entry, reading], self._seconds, score=True)
            if best is None or (isinstance(score, float) and (isinstance(best, Failure) or score > best)):
                best = score
            if best == 1:
                break
        assert best is not None
        return best


def block(text: str, lines: int) -> str:
    """Return an answer of several lines: the text in the last answer tags, else after the last word `answer`.

    Without either, it is the last `lines` lines of the text. If a fenced block is there, the answer is the last such
    block.
    """
    text = conclusion(text)[-SCANNED:].strip("\n")
    if tagged := _TAGS.findall(text):
        text = tagged[-1]
    elif marked := list(_MARKER.finditer(text)):
        text = text[marked[-1].end() :]
    elif not fenced(text):
        text = "\n".join(text.splitlines()[-lines:])
    blocks = fenced(text)
    return (blocks[-1].body if blocks else text).strip("\n")


def entry(generator: str, options: dict[str, Any], seed: int, size: int, index: int) -> str:
    """Return the entry that a sample carries for its verifier."""
    told = {"generator": generator, "options": options, "seed": seed, "size": size, "index": index}
    return json.dumps(told, sort_keys=True)
