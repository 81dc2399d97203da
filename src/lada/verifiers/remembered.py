"""Remembers verdicts: a text is judged once, however often a process reads it."""

import hashlib
import json
from collections.abc import Iterable, Iterator

from lada.verifiers.base import Asked, Failure, Verifier

MOST = 200_000
"""The most verdicts that are kept; beyond this, all are forgotten."""


class Remembered:
    """A verifier's scores and failures, by question and text. A slow answer is slow only once, and verdicts never
    change."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._known: dict[bytes, float | Failure] = {}
        self.threshold, self.fingerprint = verifier.threshold, verifier.fingerprint

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores."""
        if len(self._known) > MOST:
            self._known.clear()
        keyed = [(_key(each), each) for each in asked]
        new = self._verifier.scores(list({key: each for key, each in keyed if key not in self._known}.values()))
        for key, _ in keyed:
            if key not in self._known:
                self._known[key] = next(new)
            yield self._known[key]


def _key(asked: Asked) -> bytes:
    sample = asked.sample
    return hashlib.sha256(json.dumps([sample.id, sample.question, sample.entry, asked.text]).encode()).digest()
