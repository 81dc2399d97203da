"""What a verifier is: it gives each answer a score from 0 to 1, or says why it cannot."""

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
    """Gives answers their scores. One that fails on an answer yields a Failure and goes on with the next."""

    @property
    def threshold(self) -> float:
        """Return the least score of a right answer."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return what tells this verifier from another: a run that is resumed needs the same."""
        ...

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """Yield one score (0 to 1) or failure for each answer, in their order."""
        ...
