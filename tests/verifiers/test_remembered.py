"""A text is judged once."""

from collections.abc import Iterable, Iterator

import pytest

from lada.core.terms import Sample
from lada.verifiers.base import Asked, Failure
from lada.verifiers.remembered import Remembered


class Counting:
    threshold, fingerprint = 0.5, "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        for each in asked:
            self.asked.append(f"{each.sample.id} {each.text}")
            yield Failure("crashed") if each.text == "x" else float(each.text)


def test_each_text_of_each_question_is_asked_once_and_failures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Counting()
    verifier = Remembered(inner)
    one, two = Sample("1", "a?"), Sample("2", "b?")
    batch = [Asked(one, "0.5", None), Asked(two, "0.5", None), Asked(one, "0.5", None), Asked(one, "x", None)]
    expected = [0.5, 0.5, 0.5, Failure("crashed")]
    assert list(verifier.scores(batch)) == list(verifier.scores(batch)) == expected
    assert list(verifier.scores([*batch, Asked(two, "1", None)])) == [*expected, 1.0]
    assert inner.asked == ["1 0.5", "2 0.5", "1 x", "2 1"]
    assert (verifier.threshold, verifier.fingerprint) == (0.5, "counting")
    monkeypatch.setattr("lada.verifiers.remembered.MOST", 3)
    assert list(verifier.scores(batch[:1])) == [0.5]
    assert len(inner.asked) == 5


def test_what_is_not_reached_is_not_asked() -> None:
    inner = Counting()
    scores = Remembered(inner).scores([Asked(Sample("1", "a?"), text, None) for text in ("0", "1")])
    assert next(scores) == 0.0
    assert inner.asked == ["1 0"]
