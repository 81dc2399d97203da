"""The allowed range of every number in a record, one range per field, so that absurd finite numbers are refused.

The ranges are wide: no honest run comes near them, and no number within them breaks a sum, page or date. Limits that
depend on the run, such as its age, are checked in lada.rounds.reports.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lada.core.results import (
    AllocationRecord,
    Evaluation,
    Interval,
    Membership,
    PartyInfo,
    PhaseTime,
    Record,
    StudyRecord,
    Withheld,
)


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`; with `broken` also the results of a broken model: NaN and both infinities."""

    low: float
    high: float
    broken: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a value is in range."""
        if isinstance(value, float) and not math.isfinite(value):  # an integer may be too large for a float
            return self.broken
        return self.low <= value <= self.high


LOSS = 1e6
"""Nats. A party reports a loss beyond it as infinite."""
ROUND, PERCENT, SHARE = Range(0, 10**9 - 1), Range(0, 100), Range(0, 1)
SAMPLES, COUNT = Range(0, 10**9 - 1), Range(0, 10**12)
SECONDS = Range(0, 10**10)
MEMORY = Range(0, 2**47)
"""Bytes: 128 TiB."""
LOSSES = Range(-LOSS, LOSS, broken=True)
RANGES: Mapping[type[Record], Mapping[str, Range]] = {
    Interval: {"value": PERCENT, "low": PERCENT, "high": PERCENT, "count": SAMPLES},
    Evaluation: {
        "round": ROUND,
        "step_validity": PERCENT,
        "calibration_error": SHARE,
        "agreement": PERCENT,
        "fidelity": PERCENT,
        "self_bleu": PERCENT,
        "cut": SAMPLES,
    },
    StudyRecord: {
        "round": ROUND,
        "steps": COUNT,
        "lessons": SAMPLES,
        "pairs": SAMPLES,
        "soft": SAMPLES,
        "replayed": SAMPLES,
        "skipped": COUNT,
        "cut": SAMPLES,
        "unfinished": SAMPLES,
        "tokens": Range(0, 2**53 - 1),
        "first_loss": LOSSES,
        "last_loss": LOSSES,
        "epsilon": Range(0, 1e15, broken=True),
        "delta": SHARE,
    },
    AllocationRecord: {
        "round": ROUND,
        "candidates": SAMPLES,
        "chosen": SAMPLES,
        "from_teacher": SAMPLES,
        "right": PERCENT,
        "sound": PERCENT,
        "styles": SAMPLES,
        "agreement": PERCENT,
        "trial_tokens": Range(0, 2**53 - 1),
        "diagnostics": Range(-1e12, 1e12, broken=True),
    },
    PhaseTime: {"round": ROUND, "start": SECONDS, "seconds": SECONDS, "peak_memory": MEMORY},
    PartyInfo: {"parameters": Range(0, 10**14), "private_samples": SAMPLES},
    Membership: {
        "round": ROUND,
        "auc": SHARE,
        "low": SHARE,
        "high": SHARE,
        "tpr": SHARE,
        "members": SAMPLES,
        "others": SAMPLES,
    },
    Withheld: {
        "round": ROUND,
        "paths": SAMPLES,
        "sampled_again": SAMPLES,
        "withheld": SAMPLES,
        "scores": SAMPLES,
    },
}


def out_of_range(record: Record) -> Iterator[str]:
    """Yield the fields of a record and its nested records whose numbers are out of range. A table has one range."""
    for name in type(record).model_fields:
        for value in _values(getattr(record, name)):
            if isinstance(value, Record):
                yield from out_of_range(value)
            elif not RANGES[type(record)][name].holds(value):
                yield name


def _values(value: object) -> Iterator[Record | float]:
    """Yield the records and numbers in the value of a field."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _values(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, Record) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        yield value
