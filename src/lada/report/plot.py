"""Charts of a run for notebooks, drawn with matplotlib from the lines that the report draws."""

from typing import Any

from lada.core.errors import InputError, nearest
from lada.core.extras import require
from lada.report.progress import lines
from lada.report.view import MEASURES, View

BAND = 0.15
"""Opacity (0..1) of an interval."""


def plot(view: View, measure: str, axes: Any) -> Any:
    """Draw accuracy in percent by round, one line per party with its 95 % interval; return matplotlib's axes.

    `measure` is one of MEASURES. If `axes` is None, a new figure is made. Raises InputError for an unknown measure, for
    one that no party has, or if matplotlib is missing.
    """
    if measure not in MEASURES:
        known = ", ".join(MEASURES)
        raise InputError(f"plot: {measure!r} is no measure; expected one of {known}{nearest(measure, MEASURES)}")
    drawn = lines(view, measure)
    if not drawn:
        raise InputError(f"plot: no party of this run has {measure!r}; its task has no such questions")
    pyplot = require("matplotlib", "a plot", "notebook", module="matplotlib.pyplot")
    axes = axes or pyplot.subplots()[1]
    for series in drawn:
        rounds, values = [point.x for point in series.points], [point.value for point in series.points]
        style = {"color": f"C{series.style}"} if not series.quiet else {"color": "0.7", "linewidth": 0.8}
        axes.plot(rounds, values, marker="o", label=None if series.quiet else series.name, **style)
        if not series.quiet and all(point.low is not None for point in series.points):
            lows, highs = [point.low for point in series.points], [point.high for point in series.points]
            axes.fill_between(rounds, lows, highs, alpha=BAND, **style)
    axes.set(title=view.results.name, xlabel="round", ylabel=f"right on {MEASURES[measure]}, %", ylim=(0, 100))
    axes.set_xticks(view.rounds)
    axes.legend()
    return axes
