"""Summarises the values of many clients: their distribution from minimum to maximum, and their mean."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import numpy as np

TableRow = tuple[str, ...]
PLACES = {"least": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "most": 1.0}
"""The shares (0..1) of the clients at or below each value."""
MEAN = "mean"
LABELS = (MEAN, *PLACES)


def spread(values: Iterable[float | None]) -> dict[str, float] | None:
    """Return the mean of the known values and the value at each of PLACES; None if none is known.

    A place between two values is interpolated. A value that is not finite counts as unknown.
    """
    known = sorted(value for value in values if value is not None and np.isfinite(value))
    if not known:
        return None
    places = np.quantile(known, list(PLACES.values())).tolist()
    return {MEAN: fmean(known), **dict(zip(PLACES, places, strict=True))}


def spread_rows(
    who: str,
    columns: Sequence[tuple[Iterable[float | None], Callable[[float | None], str]]],
    *,
    beside: TableRow = (),
    labels: Sequence[str] = LABELS,
) -> list[TableRow]:
    """Return a row for each of `labels`, with each column and its format; none if nothing is known.

    `who` begins a row's first cell, and the cells `beside` follow it.
    """
    found = [(spread(values), show) for values, show in columns]
    if all(places is None for places, _ in found):
        return []
    return [
        (f"{who}, {label}", *beside, *(show(places[label] if places else None) for places, show in found))
        for label in labels
    ]
