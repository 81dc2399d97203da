"""Turns one party's paths for the test questions into an `Evaluation`."""

from collections.abc import Callable, Sequence

import numpy as np

from lada.core.errors import InputError
from lada.core.plural import plural
from lada.core.results import Evaluation, Interval
from lada.core.seeds import seed_of
from lada.core.terms import Path, Sample
from lada.evaluation.agreement import same_questions
from lada.evaluation.calibration import expected_calibration_error
from lada.evaluation.statistics import bootstrap_interval

DIGITS = 4
"""The number of decimals kept, so that results.json is the same even where the last bits of a sum differ."""


def evaluate(
    party: str,
    round: int,
    samples: Sequence[Sample],
    paths: Sequence[Path],
    *,
    own: frozenset[str],
    other: frozenset[str],
    general: frozenset[str],
    new: frozenset[str] = frozenset(),
    mixed: frozenset[str] = frozenset(),
    steps: Callable[[Sample, str], list[tuple[str, bool]]] | None,
    agreement: float | None,
    seed: int,
) -> Evaluation:
    """Return the evaluation of `party`: `paths[i]` answers `samples[i]`, and its `right` is known.

    `own`, `other`, `general`, `new` and `mixed` are sets of domain names. Questions of `general` domains count only in
    `general` and in `domains`; overall accuracy, difficulty, steps and calibration cover all others. A group without
    questions is None or absent. Questions of unknown domain or difficulty are absent from the respective tables.
    Confidence is exp(mean token log-prob), at most 1; `calibration_error` is None if a log-prob is NaN. `agreement` is
    passed through. Bootstrap intervals are drawn from `seed`, each with its own address.

    Raises InputError if no question lies outside `general`; ValueError if the paths do not belong to the samples or
    lack a verdict.
    """
    same_questions([sample.id for sample in samples], [path.sample_id for path in paths])
    unknown = [path.sample_id for path in paths if path.right is None]
    if unknown:
        raise ValueError(f"the path for {unknown[0]!r} has no verdict; expected verified paths")
    domains = np.array([sample.domain for sample in samples], dtype=object)
    levels = np.array([sample.difficulty for sample in samples], dtype=object)
    right = np.array([path.right for path in paths], dtype=bool)
    counted = ~_among(domains, general)
    if not counted.any():
        raise InputError(
            f"task: {len(samples)} {plural(len(samples), 'test question')}, none of them outside the general domains "
            f"({', '.join(sorted(general)) or 'none'}); expected at least 1; add test questions of a domain"
        )

    def interval(mask: np.ndarray, *address: str) -> Interval:
        return _interval(right[mask], seed_of(seed, *address))

    def group(name: str, members: frozenset[str]) -> Interval | None:
        mask = _among(domains, members)
        return interval(mask, name) if mask.any() else None

    return Evaluation(
        party=party,
        round=round,
        overall=interval(counted, "overall"),
        own=group("own", own),
        other=group("other", other),
        general=group("general", general),
        new=group("new", new),
        mixed=group("mixed", mixed),
        domains={name: interval(domains == name, "domain", name) for name in sorted({*domains} - {""})},
        difficulty={
            str(level): interval(counted & (levels == level), "difficulty", str(level))
            for level in sorted({*levels[counted]} - {None})
        },
        step_validity=_step_validity(samples, paths, counted, steps),
        calibration_error=_calibration_error(paths, right, counted),
        agreement=agreement,
        cut=sum(path.cut for path in paths),
    )


def _among(domains: np.ndarray, names: frozenset[str]) -> np.ndarray:
    return np.array([name in names for name in domains], dtype=bool)


def _interval(right: np.ndarray, seed: int) -> Interval:
    value, low, high = (round(100 * x, DIGITS) for x in bootstrap_interval(right, seed=seed))
    return Interval(value=value, low=low, high=high, count=len(right))


def _step_validity(
    samples: Sequence[Sample],
    paths: Sequence[Path],
    counted: np.ndarray,
    steps: Callable[[Sample, str], list[tuple[str, bool]]] | None,
) -> float | None:
    if steps is None:
        return None
    verdicts = [
        good
        for sample, path, counts in zip(samples, paths, counted, strict=True)
        if counts
        for _, good in steps(sample, path.text)
    ]
    return round(100 * sum(verdicts) / len(verdicts), DIGITS) if verdicts else None


def _calibration_error(paths: Sequence[Path], right: np.ndarray, counted: np.ndarray) -> float | None:
    mean = np.array([path.likelihood.mean for path in paths])[counted]
    if np.isnan(mean).any() or not all(path.likelihood.known for path in paths):
        return None
    return round(expected_calibration_error(np.exp(np.minimum(mean, 0)), right[counted]), DIGITS)
