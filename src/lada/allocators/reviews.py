"""What the parties of a round answered, and how likely they find each other's paths: the evidence of peer review."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lada.core.errors import InputError
from lada.core.terms import Likelihood

NOTHING = -1
"""Stands for a party without an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Reviews:
    """The answers of p parties to n questions, and log-probs of their paths.

    In a row of `answers`, int64 [n, p] of -1..p - 1, equal numbers are answers that the task considers equal; -1 is no
    answer. `log_probs` has float64 [n] for a judge and a writer, by their places among `parties`: how likely the judge
    finds the writer's paths, nats per byte (<= 0). All other values are unknown.
    """

    parties: tuple[str, ...]
    answers: np.ndarray
    log_probs: Mapping[tuple[int, int], np.ndarray]

    def __post_init__(self) -> None:
        """Raise InputError for arrays that do not fit, or numbers that are no answers."""
        n, p = len(self.answers), len(self.parties)
        if self.answers.shape != (n, p) or self.answers.dtype.kind != "i":
            raise InputError(
                f"reviews: answers {list(self.answers.shape)} of {self.answers.dtype}; expected integers [n, {p}]"
            )
        if n and not (self.answers.min() >= NOTHING and self.answers.max() < p):
            raise InputError(f"reviews: an answer that is not in {NOTHING}..{p - 1}")
        for pair, each in self.log_probs.items():
            if not all(0 <= place < p for place in pair) or each.shape != (n,):
                raise InputError(f"reviews: log-probs {list(each.shape)} of {pair}; expected [{n}] of two parties")

    def of(self, parties: Sequence[str], rows: Sequence[int]) -> Reviews:
        """Return these rows, with `parties` first and the others after them."""
        names = (*parties, *(name for name in self.parties if name not in parties))
        at = [self.parties.index(name) for name in names]
        place = {old: new for new, old in enumerate(at)}
        chosen = np.array(rows, dtype=np.int64)
        log_probs = {(place[j], place[w]): each[chosen] for (j, w), each in self.log_probs.items()}
        return Reviews(names, self.answers[chosen][:, at], log_probs)


def numbered(answers: Sequence[str | None], same: Callable[[str | None, str], bool]) -> list[int]:
    """Return a number for each answer, 0, 1, … in order of appearance, equal for those that are the `same`."""
    known: list[str] = []

    def number(answer: str) -> int:
        if answer in known:
            return known.index(answer)
        alike = [place for place, other in enumerate(known) if same(answer, other)]
        known.extend([] if alike else [answer])
        return alike[0] if alike else len(known) - 1

    return [NOTHING if answer is None else number(answer) for answer in answers]


def per_byte(likelihood: Likelihood) -> float:
    """Return a log-prob in nats per byte; NaN if it is unknown."""
    return -likelihood.per_byte if likelihood.known else float("nan")
