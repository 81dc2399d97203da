"""Comparing runs: the same numbers of each side by side, and what differs in their configurations."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from lada.core.errors import InputError
from lada.core.results import PartyInfo
from lada.report.charts import Change, Point, Series, dumbbell, line_chart
from lada.report.page import write
from lada.report.reading import read_results
from lada.report.view import FEW, Figure, Table, View
from lada.report.words import NONE, difference, duration, number, size, whole_percent

Who = Callable[[View], Sequence[PartyInfo]]

MEASURES: dict[str, tuple[Who, str]] = {
    "clients, all domains": (lambda view: view.clients, "overall"),
    "clients, own domains": (lambda view: view.clients, "own"),
    "clients, other domains": (lambda view: view.clients, "other"),
    "LLM, all domains": (lambda view: view.servers, "overall"),
    "LLM, clients’ domains": (lambda view: view.servers, "other"),
}


def compare(run_folders: Sequence[Path], target: Path) -> Path:
    """Write a page that compares runs, each with the first, from their results.json; return `target`.

    Accuracies are means over the clients that have them, each client counting once. Raises InputError where no folder
    is given or one of them has no readable results.json.
    """
    views = read_runs(run_folders)
    notices: dict[str, list[str]] = {}
    for name, view in views.items():
        for notice in view.results.notices:
            notices.setdefault(notice, []).append(name)
    return write(
        "compare.html.j2",
        target,
        names=list(views),
        table_of_runs=table_of_runs(views),
        ends=_ends(views),
        rounds=_rounds(views),
        settings=_settings(views),
        notices=notices,
    )


def read_runs(run_folders: Sequence[Path]) -> dict[str, View]:
    """Return runs by their names, in order. Raises InputError as `compare` does."""
    if not run_folders:
        raise InputError("compare: no run folder was named; expected one or more, the first is what others compare to")
    return _named([(folder, View(read_results(folder))) for folder in run_folders])


def _named(runs: Sequence[tuple[Path, View]]) -> dict[str, View]:
    """Key runs by their name; where two share one, by name and folder."""
    names = [view.results.name for _, view in runs]
    return {
        name if names.count(name) == 1 else f"{name} ({folder})": view
        for name, (folder, view) in zip(names, runs, strict=True)
    }


def _value(view: View, measure: str, end: int) -> float | None:
    """Return a measure before the first round (end 0) or after the last (end -1), percent."""
    who, field = MEASURES[measure]
    return view.mean_of(who(view), field, view.rounds[end]) if view.rounds else None


def table_of_runs(views: Mapping[str, View]) -> Table:
    """Return accuracy, traffic and time of each run, compared with the first."""
    first = next(iter(views.values()))

    def accuracy(view: View, measure: str) -> str:
        before, after = _value(view, measure, 0), _value(view, measure, -1)
        reference = _value(first, measure, -1)
        if after is None:
            return NONE
        cell = Markup("{} <small>from {}</small>").format(number(after), number(before))
        if view is first or reference is None:
            return cell
        kind = "rise" if after >= reference else "fall"
        return cell + Markup(' <em class="{}">{}</em>').format(kind, difference(after - reference))

    def amount(view: View, of: Callable[[View], float], show: Callable[[float], str]) -> str:
        change = of(view) - of(first)
        if view is first:
            return show(of(view))
        return Markup("{} <em>{}{}</em>").format(show(of(view)), "−" if change < 0 else "+", show(abs(change)))

    rows = [
        (
            name,
            *(accuracy(view, measure) for measure in MEASURES),
            amount(view, lambda v: sum(row.bytes for row in v.results.traffic), size),
            amount(view, lambda v: v.results.wall_clock.seconds, duration),
        )
        for name, view in views.items()
    ]
    caption = (
        "Percent right after the last round, from before the first; coloured: difference to the first run in points. "
        "Clients’ values are means over clients."
    )
    return Table(("run", *MEASURES, "traffic", "time"), rows, caption)


def _ends(views: Mapping[str, View]) -> Figure:
    charts = []
    for measure in MEASURES:
        rows = [Change(name, _value(view, measure, 0), _value(view, measure, -1)) for name, view in views.items()]
        if any(row.after is not None for row in rows):
            description = f"Percent right ({measure}) before the first round and after the last, by run."
            charts.append(dumbbell(measure, description, [("", rows)]))
    return Figure(
        "A ring is the share of test questions answered right before the first round, a disc after the last; the "
        "number is the change in points within the run.",
        charts,
    )


def _rounds(views: Mapping[str, View]) -> Figure:
    charts = []
    for measure, (who, field) in MEASURES.items():
        series = []
        for i, (name, view) in enumerate(views.items()):
            values = [(round, view.mean_of(who(view), field, round)) for round in view.rounds]
            points = [Point(round, value) for round, value in values if value is not None]
            if points:
                series.append(Series(name, points, i % (FEW + 1)))
        if series:
            description = f"Percent right ({measure}) by round, one line per run."
            charts.append(line_chart(measure, description, series, show=whole_percent, top=100))
    return Figure("Each line is one run; its name stands at its end.", charts)


def _flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings as `{"study.steps": "400"}`."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = f"{value}"
    return flat


def _settings(views: Mapping[str, View]) -> Table:
    """Return the settings that are not the same in every run."""
    flat = [_flat(view.results.config) for view in views.values()]
    keys = list(dict.fromkeys(key for settings in flat for key in settings))
    rows = [
        (key, *(settings.get(key, NONE) for settings in flat))
        for key in keys
        if len({settings.get(key) for settings in flat}) > 1
    ]
    return Table(("setting", *views), rows, "Settings that are not the same in every run.", 1 + len(views))
