"""A verifier by reasoning-gym: each generator scores answers to its own questions."""

import json
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lada.core.errors import InputError
from lada.core.thinking import conclusion
from lada.verifiers.base import Asked, Failure
from lada.verifiers.process import WorkerProcess

FUNCTIONS = Path(__file__).with_name("gym_functions.py")
MEMORY = 8 * 2**30
SCANNED = 10_000
"""Characters of a text that are read, from its end."""
_TAGS = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_MARKER = re.compile(r"\banswer\b[*_ ]{0,4}(?:is\b)?[:=]?[*_ ]{0,4}", re.IGNORECASE)


class GymVerifier:
    """Scores by reasoning-gym. The answer that LaDa reads from a text is what a generator is given."""

    def __init__(self, threshold: float, seconds: float) -> None:
        """Start the worker. Raises InputError where the package is missing or cannot be imported."""
        try:
            self.fingerprint = f"reasoning-gym {version('reasoning-gym')}"
        except PackageNotFoundError:
            raise InputError(
                "task.kind: 'reasoning_gym' needs the package reasoning-gym; install it with: pip install 'lada[gym]'"
            ) from None
        self.threshold, self._seconds = threshold, seconds
        self._worker = WorkerProcess(FUNCTIONS, MEMORY)

    def ask(self, function: str, *arguments: Any, seconds: float) -> Any:
        """Return what one of gym_functions returns, or a Failure."""
        return self._worker.call(function, list(arguments), seconds)

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores. A text in which nothing can be read has 0."""
        for each in asked:
            answer = each.answer
            lines = (each.sample.answer or "").strip("\n").count("\n") + 1
            if lines > 1:
                answer = block(each.text, lines)
            if answer is None:
                yield 0.0
            else:
                yield self._worker.call("verify", [each.sample.entry, answer], self._seconds, score=True)


def block(text: str, lines: int) -> str:
    """Return an answer of several lines: what stands in the last answer tags, else behind the last word `answer`.

    Without either it is the last `lines` of the text.
    """
    text = conclusion(text)[-SCANNED:].strip("\n")
    if tagged := _TAGS.findall(text):
        return tagged[-1].strip("\n")
    if marked := list(_MARKER.finditer(text)):
        return text[marked[-1].end() :].strip("\n")
    return "\n".join(text.splitlines()[-lines:])


def entry(generator: str, options: dict[str, Any], seed: int, size: int, index: int) -> str:
    """Return what a sample carries for its verifier."""
    told = {"generator": generator, "options": options, "seed": seed, "size": size, "index": index}
    return json.dumps(told, sort_keys=True)
