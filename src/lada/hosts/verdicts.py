"""Which answers are right: by the task's verifier where it has one, else by comparison with the gold answer."""

import time
from collections import Counter
from collections.abc import Sequence
from math import inf

from lada.core.errors import FederationError
from lada.core.terms import Sample
from lada.hosts.party import Party
from lada.verifiers.base import Asked, Failure

Verdict = tuple[str | None, bool | None]
"""What a text answers, and whether that is right; None where nobody knows."""


def verdicts(party: Party, asked: Sequence[tuple[Sample, str]], *, seconds: float = inf) -> list[Verdict]:
    """Return the verdict on each text for its sample, a public or a test one.

    A verifier that fails on an answer costs that answer: it counts as wrong, and a notice counts such answers by their
    reasons. Raises FederationError where all that takes more than `seconds`, as answers made to keep a comparison busy
    do; one without a gold answer is then compared all the same, for it will be with other parties' answers.
    """
    task, began = party.task, time.monotonic()
    found: list[Verdict] = []

    def add(verdict: Verdict) -> None:
        if time.monotonic() - began > seconds:
            raise FederationError(f"paths: their answers took longer to check than limits.check_seconds, {seconds:g}")
        found.append(verdict)

    if task.verifier is None:
        for sample, text in asked:
            said = task.extract(text)
            if sample.answer is None:
                if seconds < inf:
                    task.same(said, "0")
                add((said, None))
            else:
                add((said, task.same(said, sample.answer)))
        return found
    read = [Asked(sample, text, task.extract(text)) for sample, text in asked]
    failures: Counter[str] = Counter()
    for each, score in zip(read, task.verifier.scores(read), strict=True):
        if isinstance(score, Failure):
            failures[score.reason] += 1
        add((each.answer, not isinstance(score, Failure) and score >= task.verifier.threshold))
    if failures:
        reasons = "; ".join(f"{count}: it {reason}" for reason, count in sorted(failures.items()))
        party.note(
            notices=(
                f"{party.name}: the verifier failed on {failures.total()} of {len(read)} answers, which count as wrong "
                f"({reasons})",
            )
        )
    return found


def verdict(party: Party, sample: Sample, text: str) -> Verdict:
    """Return the verdict on one text; see `verdicts`."""
    return verdicts(party, [(sample, text)])[0]
