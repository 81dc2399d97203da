"""Which answers are right: decided by the task's verifier, if there is one, else by comparison with the gold answer."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf

from lada.core.errors import FederationError
from lada.core.plural import counted
from lada.core.terms import Sample
from lada.rounds.party import Party
from lada.verifiers.base import Asked, Failure

Verdict = tuple[str | None, bool | None]
"""A text's answer, and whether it is right; None if unknown."""


def verdicts(party: Party, asked: Sequence[tuple[Sample, str]], where: str) -> list[Verdict]:
    """Return the verdict on each text that a party wrote for its sample, a public or a test one.

    A verifier that fails on an answer costs that answer: it counts as wrong, and a notice that begins with `where`
    counts such answers by their reasons.
    """
    failures: Counter[str] = Counter()
    found = list(judged(party, asked, failures))
    note_failures(party, where, failures, len(found))
    return found


def checked(
    party: Party, asked: Sequence[tuple[Sample, str]], failures: Counter[str], seconds: float = inf
) -> list[Verdict]:
    """Return the verdict on each text that another party sent; count those that a verifier fails on in `failures`.

    It changes nothing and records no notice. Raises FederationError if this takes longer than `seconds`, as with
    answers made to keep a comparison busy. An answer without a gold answer is checked too, since it will be compared
    with other parties' answers.
    """
    began, found = time.monotonic(), []
    for verdict in judged(party, asked, failures, compare_all=seconds < inf):
        if time.monotonic() - began > seconds:
            raise FederationError(f"paths: checking their answers took longer than limits.check_seconds, {seconds:g}")
        found.append(verdict)
    return found


def judged(
    party: Party, asked: Sequence[tuple[Sample, str]], failures: Counter[str], *, compare_all: bool = False
) -> Iterator[Verdict]:
    """Yield the verdict on each text; count those that a verifier fails on in `failures`, by reason."""
    task = party.task
    if task.verifier is None:
        for sample, text in asked:
            said = task.extract(text)
            right = None
            if sample.answer is not None:
                right = task.same(said, sample.answer)
            elif compare_all:
                task.same(said, "0")
            yield said, right
        return
    read = [Asked(sample, text, task.extract(text)) for sample, text in asked]
    for each, score in zip(read, task.verifier.scores(read), strict=True):
        if isinstance(score, Failure):
            failures[score.reason] += 1
        yield each.answer, not isinstance(score, Failure) and score >= task.verifier.threshold


def note_failures(party: Party, where: str, failures: Counter[str], total: int) -> None:
    """Note on how many of `total` answers a verifier failed, and why."""
    if not failures:
        return
    reasons = "; ".join(f"{count}: it {reason}" for reason, count in sorted(failures.items()))
    notice = (
        f"{where}: the verifier of {party.name} failed on {failures.total()} of {counted(total, 'answer')}, "
        f"which count as wrong ({reasons})"
    )
    if not party.noted.has("notices", notice):  # a message is read more than once
        party.note(notices=(notice,))
