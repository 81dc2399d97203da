"""Sections on how good the parties are: by round, by domain and difficulty, and how sound their answers are."""

from collections.abc import Callable, Mapping
from statistics import fmean

from markupsafe import Markup

from lada.core.results import Evaluation, Interval, PartyInfo
from lada.report.charts import Change, Point, Series, dumbbell, line_chart
from lada.report.view import FEW, MEASURES, Figure, Table, View
from lada.report.words import difference, interval, number, whole_percent

SOUNDNESS: dict[str, tuple[str, str, Callable[[float], str], float | None]] = {
    "agreement": ("agreement", "Agreement with the LLM, %", whole_percent, 100),
    "step_validity": ("valid steps", "Valid steps, %", whole_percent, 100),
    "calibration_error": ("calibration error", "Calibration error, 0 to 1", lambda value: f"{value:.3g}", None),
}
"""Per field of Evaluation: short name, title, how a value is written, where the axis ends (None: where values do)."""


def lines(view: View, field: str) -> list[Series]:
    """Return one line per party for a field of Evaluation; many clients are drawn quietly, with their mean.

    The lines of the servers come last, so that they lie on top.
    """
    known = {party.name: _points(view, party, field) for party in view.parties}
    series = [
        Series(party.name, known[party.name], view.style(party), quiet=view.crowded and party.role != "server")
        for party in reversed(view.parties)
        if known[party.name]
    ]
    if view.crowded:
        points = [point for party in view.clients for point in known[party.name]]
        means = [Point(x, fmean(p.value for p in points if p.x == x)) for x in sorted({p.x for p in points})]
        series += [Series("client mean", means, 1)] if means else []
    return series


def _points(view: View, party: PartyInfo, field: str) -> list[Point]:
    points = []
    for round in view.rounds:
        evaluation = view.evaluation(party.name, round)
        value: Interval | float | None = None if evaluation is None else getattr(evaluation, field)
        if isinstance(value, Interval):
            points.append(Point(round, value.value, value.low, value.high))
        elif value is not None:
            points.append(Point(round, value))
    return points


def accuracy(view: View) -> tuple[Figure, Table]:
    """Return accuracy by round, one chart per measure that anybody has."""
    charts = []
    for measure, title in MEASURES.items():
        series = lines(view, measure)
        if series:
            description = f"Percent of the test questions on {title} that each party answers right, by round."
            if measure == "general":
                description = "Percent of the questions that need skill and no domain knowledge, by round."
            charts.append(line_chart(title.capitalize(), description, series, show=whole_percent, top=100))
    head = ("party", "questions", *(f"round {round}" for round in view.rounds))
    rows = [
        (party.name, _measure_of(party, measure), *map(interval, values))
        for party in view.parties
        for measure in MEASURES
        if any(values := [view.value(party.name, round, measure) for round in view.rounds])
    ]
    told = (
        "Each line is the share of test questions a party answers right after a round; the band around it is the "
        "95 % interval: with other questions of the same kind, the value would most likely lie in it."
    )
    return Figure(told, charts), Table(head, rows, "Percent right after each round, with 95 % intervals.", 2)


def _measure_of(party: PartyInfo, measure: str) -> str:
    if party.role == "server" and measure in ("own", "other"):
        return "domains no client owns" if measure == "own" else "the clients’ domains"
    return MEASURES[measure]


def _natural(key: str) -> tuple[bool, int, str]:
    return (not key.isdigit(), int(key) if key.isdigit() else 0, key)


def _keys(view: View, part: str) -> list[str]:
    """Return every domain or difficulty that was evaluated, in natural order."""
    return sorted({key for e in view.results.evaluations for key in getattr(e, part)}, key=_natural)


def _changes(view: View, party: PartyInfo, part: str, keys: list[str], prefix: str = "") -> list[Change]:
    first, last = view.ends(party.name)

    def value(end: Evaluation | None, key: str) -> float | None:
        found: Mapping[str, Interval] = {} if end is None else getattr(end, part)
        return found[key].value if key in found else None

    changes = [Change(f"{prefix}{key}", value(first, key), value(last, key)) for key in keys]
    return [change for change in changes if change.before is not None or change.after is not None]


def domains(view: View) -> tuple[Figure, Figure, list[Table]]:
    """Return before and after by domain and by difficulty: charts of the first parties, of the rest, and tables.

    The charts of a run with many clients are split, so that the page opens short.
    """
    charts = []
    named, counted = _keys(view, "domains"), _keys(view, "difficulty")
    for party in view.parties:
        first, second, owned = _halves(view, party)
        groups = [
            (first, _changes(view, party, "domains", [key for key in named if key in owned])),
            (second, _changes(view, party, "domains", [key for key in named if key not in owned])),
            ("by difficulty", _changes(view, party, "difficulty", counted, "level ")),
        ]
        if any(rows for _, rows in groups):
            description = f"Percent right before the first round and after the last, of {party.name}."
            charts.append(dumbbell(party.name, description, groups))
    told = (
        "A ring is the share a party answered right before the first round, a disc after the last; the number is the "
        "change in points, and a dashed line is a fall."
    )
    tables = [
        _ends_table(view, "domains", named, "Percent right by domain, before → after."),
        _ends_table(view, "difficulty", counted, "Percent right by difficulty (reasoning steps), before → after."),
    ]
    cut = FEW + 1
    return Figure(told, charts[:cut]), Figure("", charts[cut:]), [table for table in tables if len(table.head) > 1]


def _halves(view: View, party: PartyInfo) -> tuple[str, str, set[str]]:
    """Return the headings of a party's two groups of domains and which domains are in the first."""
    if party.role == "server":
        clients = {domain for client in view.clients for domain in client.domains}
        return "the clients’ domains", "domains no client owns" if clients else "by domain", clients
    return "own domains", "other domains" if party.domains else "by domain", set(party.domains)


def _ends_table(view: View, part: str, keys: list[str], caption: str) -> Table:
    rows = []
    for party in view.parties:
        cells = []
        for key in keys:
            change = next(iter(_changes(view, party, part, [key])), Change(key, None, None))
            if change.before is None or change.after is None:
                cells.append(number(change.before if change.after is None else change.after))
                continue
            moved = change.after - change.before
            kind = "rise" if moved >= 0 else "fall"
            own = part == "domains" and key in party.domains
            cells.append(
                Markup('{}{} → {} <em class="{}">{}</em>').format(
                    "◆ " if own else "", number(change.before), number(change.after), kind, difference(moved)
                )
            )
        rows.append((party.name, *cells))
    if part == "domains":
        caption += " ◆ marks a domain of the party’s own."
    return Table(("party", *keys), rows, caption)


def soundness(view: View) -> tuple[Figure, Table]:
    """Return agreement with the LLM, validity of steps and calibration error by round."""
    charts, rows = [], []
    for field, (name, title, show, top) in SOUNDNESS.items():
        series = lines(view, field)
        if series:
            charts.append(line_chart(title, f"{title}, of each party, by round.", series, show=show, top=top))
        for party in view.parties:
            values = {int(point.x): point.value for point in _points(view, party, field)}
            if values:
                cells = (number(values.get(round), 1 if top else 3) for round in view.rounds)
                rows.append((party.name, name, *cells))
    told = (
        "Agreement: how often a party gives the LLM’s answer to a public question. Valid steps: how many steps of its "
        "reasoning follow from the rules and the step before. Calibration error: how far its confidence lies from how "
        "often it is right (0 is best)."
    )
    head = ("party", "measure", *(f"round {round}" for round in view.rounds))
    return Figure(told, charts), Table(head, rows, "Agreement and valid steps in percent, calibration error 0 to 1.", 2)


def studies(view: View) -> Table:
    """Return what each party trained on, with what differential privacy has spent where a study was under it."""
    head = ("party", "phase", "round", "steps", "lessons", "pairs", "replayed", "tokens", "first loss", "last loss")
    rows = [
        (s.party, s.phase, f"{s.round}", f"{s.steps}", f"{s.lessons}", f"{s.pairs}", f"{s.replayed}", f"{s.tokens}",
         number(s.first_loss, 3), number(s.last_loss, 3), number(s.epsilon, 2))
        for s in view.results.studies
    ]  # fmt: skip
    caption = (
        "Every study: optimiser steps, lessons, contrastive pairs among them, replayed samples, tokens, and the mean "
        "loss over the first and last tenth of the steps."
    )
    if faulty := view.results.faulty_studies():
        caption += f" Not as it should be: {'; '.join(faulty)}."
    if all(s.epsilon is None for s in view.results.studies):
        return Table(head, [row[:-1] for row in rows], caption, 2)
    caption += (
        " ε: spent by a party’s studies under differential privacy by then; their losses and tokens are not told."
    )
    return Table((*head, "ε"), rows, caption, 2)


def memberships(view: View) -> Table:
    """Return how well an attacker tells what a client studied from other samples of its domains."""
    rows = [
        (m.party, m.attack, f"{m.round}", f"{number(m.auc, 3)} ({number(m.low, 3)}–{number(m.high, 3)})",
         number(100 * m.tpr), f"{m.members}", f"{m.others}")
        for m in view.results.memberships
    ]  # fmt: skip
    caption = (
        "Membership inference: the chance that a studied sample looks more familiar to the model than another of the "
        "same domains (0.5 is guessing), and percent of members found where 1 % of the others are taken for members."
    )
    return Table(("party", "attack", "round", "AUC (95 %)", "found", "members", "others"), rows, caption, 2)
