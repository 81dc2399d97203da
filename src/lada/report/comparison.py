"""Compares runs: the same numbers of each side by side, and the differences of their configurations.

A difference in accuracy has a colour only if its paired 95 % interval is on one side of 0.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from lada.core.errors import InputError
from lada.core.results import PartyInfo, Record
from lada.evaluation.comparison import Effect
from lada.report.charts import Change, Point, Series, dumbbell, line_chart
from lada.report.page import write
from lada.report.pairing import Answers, paired, same_questions
from lada.report.reading import read_results
from lada.report.view import FEW, Figure, Table, View
from lada.report.words import NONE, difference, duration, number, size, whole_percent

Who = Callable[[View], Sequence[PartyInfo]]

MEASURES: dict[str, tuple[Who, str]] = {
    "clients, all domains": (lambda view: view.clients, "overall"),
    "clients, own domains": (lambda view: view.clients, "own"),
    "clients, other domains": (lambda view: view.clients, "other"),
    "clients, general skill": (lambda view: view.clients, "general"),
    "LLM, all domains": (lambda view: view.servers, "overall"),
    "LLM, clients’ domains": (lambda view: view.servers, "other"),
    "LLM, general skill": (lambda view: view.servers, "general"),
}


class Standing(Record):
    """One run's value of one measure, percent, and its difference from the first run, percentage points."""

    run: str
    measure: str
    before: float | None
    after: float | None
    difference: float | None = None
    """The difference from the first run after the last round; None for the first run itself."""
    low: float | None = None
    """With `high`: the 95 % interval of the difference, paired by question; None if unknown."""
    high: float | None = None


def compare(run_folders: Sequence[Path], target: Path) -> Path:
    """Write a page that compares runs, each with the first, from their results.json; return `target`.

    Accuracies are means over the clients that have them, each client counting once. Raises InputError if no folder is
    given, or if one has no readable results.json.
    """
    answers = read_answers(run_folders)
    views = {name: each.view for name, each in answers.items()}
    notices: dict[str, list[str]] = {}
    for name, view in views.items():
        for notice in view.results.notices:
            notices.setdefault(notice, []).append(name)
    return write(
        "compare.html.j2",
        target,
        names=list(views),
        warnings=task_warnings(answers),
        table_of_runs=table_of_runs(answers),
        ends=_ends(answers),
        rounds=_rounds(views),
        settings=_settings(views),
        notices=notices,
    )


def read_answers(run_folders: Sequence[Path]) -> dict[str, Answers]:
    """Return runs by their names, in order. Raises InputError as `compare` does."""
    if not run_folders:
        raise InputError("compare: no run folder was named; give at least one. All others are compared with the first")
    runs = [(folder, View(read_results(folder))) for folder in run_folders]
    return {name: Answers(*run) for name, run in zip(_named(runs), runs, strict=True)}


def _named(runs: Sequence[tuple[Path, View]]) -> list[str]:
    """Return the name of each run, with the folder if two share a name."""
    names = [view.results.name for _, view in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({folder})" for name, (folder, _) in zip(names, runs, strict=True)
    ]


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Return each name without the words with which all begin and end, since a chart has little room."""
    words = [name.split("-") for name in names]
    most = min(map(len, words)) - 1
    head = next((i for i in range(most) if len({each[i] for each in words}) > 1), most)
    tail = next((i for i in range(most - head) if len({each[-1 - i] for each in words}) > 1), most - head)
    if len(names) == 1:
        return {name: name for name in names}
    return {name: "-".join(each[head : len(each) - tail]) for name, each in zip(names, words, strict=True)}


def _value(view: View, measure: str, end: int) -> float | None:
    """Return a measure before the first round (end 0) or after the last (end -1), percent."""
    who, field = MEASURES[measure]
    return view.mean_of(who(view), field, view.rounds[end]) if view.rounds else None


def _paired(mine: tuple[Answers, int], theirs: tuple[Answers, int], measure: str) -> Effect | None:
    """Return the paired difference between two ends, each a run and 0 for before or -1 for after.

    None if the two have different parties, or if one was never evaluated.
    """
    who, field = MEASURES[measure]
    parties = [who(answers.view) for answers, _ in (mine, theirs)]
    evaluated = all(answers.view.rounds for answers, _ in (mine, theirs))
    if not evaluated or {party.name for party in parties[0]} != {party.name for party in parties[1]}:
        return None
    first, second = ((answers, answers.view.rounds[end]) for answers, end in (mine, theirs))
    return paired(first, second, parties[0], field)


def _is_noise(effect: Effect | None) -> bool:
    return effect is None or _holds_zero(effect.low, effect.high)


def _holds_zero(low: float | None, high: float | None) -> bool:
    """Return whether a difference may be zero: its interval contains 0 or is unknown."""
    return low is None or high is None or low <= 0 <= high


def task_warnings(answers: Mapping[str, Answers]) -> list[tuple[str, str]]:
    """Return for each run how its task differs from the first run's, and why differences have no interval."""
    (first_name, first), *others = answers.items()
    task, found = _flat({"task": first.view.results.config.get("task")}), list[tuple[str, str]]()
    for name, other in others:
        mine = _flat({"task": other.view.results.config.get("task")})
        if keys := [key for key in dict.fromkeys((*task, *mine)) if task.get(key) != mine.get(key)]:
            told = f"has another task than {first_name} ({', '.join(keys)}), which may explain a difference"
            found.append((name, told))
        if first.task is None or other.task is None:
            found.append((name, "has no intervals of differences, since the test questions of a run cannot be read"))
        elif not same_questions(first, other):
            found.append((name, f"answered other test questions than {first_name}, so differences have no interval"))
    return found


def standings(answers: Mapping[str, Answers]) -> dict[tuple[str, str], Standing]:
    """Return each run's standing, by its name and one of MEASURES."""
    first = next(iter(answers.values()))

    def standing(name: str, each: Answers, measure: str) -> Standing:
        before, after = _value(each.view, measure, 0), _value(each.view, measure, -1)
        found = Standing(run=name, measure=measure, before=before, after=after)
        base = _value(first.view, measure, -1)
        if each is first or after is None or base is None:
            return found
        effect = _paired((each, -1), (first, -1), measure) or Effect(after - base)
        return found.model_copy(update={"difference": after - base, "low": effect.low, "high": effect.high})

    return {(name, measure): standing(name, each, measure) for name, each in answers.items() for measure in MEASURES}


def table_of_runs(answers: Mapping[str, Answers]) -> Table:
    """Return accuracy, traffic and time of each run, compared with the first."""
    views = {name: each.view for name, each in answers.items()}
    first = next(iter(views.values()))
    known = standings(answers)

    def accuracy(name: str, measure: str) -> str:
        its = known[name, measure]
        if its.after is None:
            return NONE
        cell = Markup("{} <small>from {}</small>").format(number(its.after), number(its.before))
        if its.difference is None:
            return cell
        kind = "noise" if _holds_zero(its.low, its.high) else "rise" if its.difference > 0 else "fall"
        between = "" if its.low is None else f" [{difference(its.low)}, {difference(its.high)}]"
        return cell + Markup('<br><em class="{}">{}{}</em>').format(kind, difference(its.difference), between)

    def amount(view: View, of: Callable[[View], float], show: Callable[[float], str]) -> str:
        change = of(view) - of(first)
        if view is first:
            return show(of(view))
        return Markup("{} <em>{}{}</em>").format(show(of(view)), "−" if change < 0 else "+", show(abs(change)))

    rows = [
        (
            name,
            *(accuracy(name, measure) for measure in MEASURES),
            amount(view, lambda v: sum(row.bytes for row in v.results.traffic), size),
            amount(view, lambda v: v.results.wall_clock.seconds, duration),
        )
        for name, view in views.items()
    ]
    caption = (
        "Percent of test questions right after the last round, and before the first. Below it is the difference from "
        "the first run in points, with its 95 % interval, paired by question. It has a colour if the interval does not "
        "contain 0. The interval does not cover other seeds. Values of clients are means over clients."
    )
    return Table(("run", *MEASURES, "traffic", "time"), rows, caption)


def _ends(answers: Mapping[str, Answers]) -> Figure:
    charts, labels = [], _labels(list(answers))
    for measure in MEASURES:
        rows = [
            Change(
                labels[name],
                _value(each.view, measure, 0),
                _value(each.view, measure, -1),
                _is_noise(_paired((each, -1), (each, 0), measure)),
            )
            for name, each in answers.items()
        ]
        if any(row.after is not None for row in rows):
            description = f"Percent right ({measure}) before the first round and after the last, by run."
            charts.append(dumbbell(measure, description, [("", rows)]))
    return Figure(
        "A ring is the percentage of test questions answered right before the first round, a disc that after the last. "
        "The number is the change in points within the run. It is grey if its paired interval contains 0 or is not "
        "known.",
        charts,
    )


def _rounds(views: Mapping[str, View]) -> Figure:
    charts, labels = [], _labels(list(views))
    for measure, (who, field) in MEASURES.items():
        series = []
        for i, (name, view) in enumerate(views.items()):
            values = [(round, view.mean_of(who(view), field, round)) for round in view.rounds]
            points = [Point(round, value) for round, value in values if value is not None]
            if points:
                series.append(Series(labels[name], points, i % (FEW + 1)))
        if series:
            description = f"Percent right ({measure}) by round, one line per run."
            charts.append(line_chart(measure, description, series, show=whole_percent, top=100))
    return Figure(
        "Each line is one run. The label at its end is the part of its name that differs from the others.", charts
    )


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
