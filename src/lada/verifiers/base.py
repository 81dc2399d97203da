"""The contract of a verifier: it gives each answer a score from 0 to 1, or a reason why it cannot."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from lada.core.terms import Sample


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer to be verified: the whole text, and what the task's answer kind reads from it (or None)."""

    sample: Sample
    text: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer has no score; `reason` follows a number, such as "took longer than 10 s", and quotes no text."""

    reason: str


class Verifier(Protocol):
    """Scores answers. If it fails on an answer, it yields a Failure and continues with the next."""

    @property
    def threshold(self) -> float:
        """Return the minimum score of a right answer."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies this verifier: a resumed run needs the same one."""
        ...

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """Yield one score (0 to 1) or failure for each answer, in their order."""
        ...
