"""Which answers count as right: by comparison, or by a verifier that may fail."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from actors import TEST, make_party

from lada.core.errors import FederationError
from lada.core.terms import Sample
from lada.rounds.party import Party
from lada.rounds.steps import gold_lessons
from lada.rounds.verdicts import checked, verdicts
from lada.verifiers.base import Asked, Failure


class Scores:
    """Scores a text by the number in it; one without a number fails by its own words."""

    threshold = 0.5
    fingerprint = "scores"

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        for each in asked:
            try:
                yield float(each.text)
            except ValueError:
                yield Failure(each.text)


@pytest.fixture
def party(tmp_path: FilePath) -> Party:
    return make_party("a", {0}, tmp_path)


@pytest.fixture
def scored(party: Party) -> Party:
    party.task = replace(party.task, verifier=Scores())
    return party


def test_without_a_verifier_the_gold_answer_decides(party: Party) -> None:
    texts = ["so answer GOLD0", "so answer gold1", "so"]
    unknown = Sample("x", "?")
    asked = [(sample, text) for sample, text in zip((TEST[0], TEST[0], unknown), texts, strict=True)]
    found = verdicts(party, asked, "here")
    assert [right for _, right in found] == [True, False, None]
    assert [said for said, _ in found] == [party.task.extract(text) for text in texts]
    assert party.report.notices == ()


def test_a_verifier_decides_with_its_threshold_and_needs_no_gold_answer(scored: Party) -> None:
    asked = [(TEST[0], "0.5"), (TEST[1], "0.49"), (Sample("x", "?"), "1")]
    assert [right for _, right in verdicts(scored, asked, "here")] == [True, False, True]
    assert verdicts(scored, [(TEST[0], "0")], "here") == [(scored.task.extract("0"), False)]
    assert scored.report.notices == ()


def test_answers_that_it_fails_on_are_wrong_and_counted_by_reason(scored: Party) -> None:
    asked = [(TEST[0], text) for text in ("crashed", "1", "took longer than 9 s", "crashed")]
    assert [right for _, right in verdicts(scored, asked, "here")] == [False, True, False, False]
    assert scored.report.notices == (
        "here: the verifier of a failed on 3 of 4 answers, which count as wrong (2: it crashed; 1: it took longer than "
        "9 s)",
    )


@pytest.mark.parametrize("verifier", [None, Scores()])
def test_it_may_not_take_longer_than_the_limit(
    party: Party, monkeypatch: pytest.MonkeyPatch, verifier: Scores | None
) -> None:
    party.task = replace(party.task, verifier=verifier)
    for texts, fits in ((["1", "1"], True), (["1", "1", "1"], False)):
        now = iter(range(0, 1000, 10))
        monkeypatch.setattr("lada.rounds.verdicts.time.monotonic", lambda now=now: next(now))
        asked = [(TEST[0], text) for text in texts]
        if fits:
            assert len(checked(party, asked, Counter(), 25)) == 2
        else:
            with pytest.raises(FederationError, match=r"longer than limits.check_seconds, 25"):
                checked(party, asked, Counter(), 25)


def test_rationales_without_answers_are_lessons_where_a_verifier_judges(party: Party, scored: Party) -> None:
    program = Sample("c", "Write double.", rationale="def double(n): return 2 * n")
    assert [lesson.chosen for lesson in gold_lessons(scored, [program])] == [program.rationale]
    scored.task = replace(scored.task, verifier=None)
    assert gold_lessons(scored, [program]) == []
