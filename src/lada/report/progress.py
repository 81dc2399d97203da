"""The sections on the parties' accuracy: by round, by domain and difficulty, and the soundness of their answers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

from markupsafe import Markup, escape

from lada.core.plural import MANY
from lada.core.results import Evaluation, Interval, PartyInfo, StudyRecord
from lada.report.charts import Change, Point, Series, dumbbell, line_chart
from lada.report.spread import spread, spread_rows
from lada.report.view import FEW, MEASURES, Figure, Table, View
from lada.report.words import difference, interval, number, whole_percent

SOUNDNESS: dict[str, tuple[str, str, Callable[[float], str], float | None]] = {
    "agreement": ("agreement", "Agreement with the LLM, %", whole_percent, 100),
    "fidelity": ("rationale fidelity", "Rationale fidelity, BLEU", whole_percent, 100),
    "self_bleu": ("self-BLEU", "Self-BLEU", whole_percent, 100),
    "step_validity": ("valid steps", "Valid steps, %", whole_percent, 100),
    "calibration_error": ("calibration error", "Calibration error, 0 to 1", lambda value: f"{value:.3g}", None),
}
"""Per field of Evaluation: short name, title, how a value is written, where the axis ends (None: where values do)."""


def lines(view: View, field: str) -> list[Series]:
    """Return one line per party for a field of Evaluation; many clients are drawn quietly, with their mean.

    With too many clients for that, the band covers the middle 80 %. The servers' lines come last, so that they are on
    top.
    """
    known = {party.name: _points(view, party, field) for party in view.parties}
    if view.many:
        crowd = _crowd([point for party in view.clients for point in known[party.name]])
        middle = [Series("client median", crowd, 1)] if crowd else []
        return [*middle, *(Series(p.name, known[p.name], 0) for p in view.servers if known[p.name])]
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


def _crowd(points: Sequence[Point]) -> list[Point]:
    """Return by round the median of values, with the middle 80 % as its interval."""
    rounds: dict[float, list[float]] = {}
    for point in points:
        rounds.setdefault(point.x, []).append(point.value)
    found = [(x, spread(values)) for x, values in sorted(rounds.items())]
    return [Point(x, each["median"], each["10 %"], each["90 %"]) for x, each in found if each]


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
    """Return accuracy by round, one chart for each measure that any party has."""
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
        for party in view.listed
        for measure in MEASURES
        if any(values := [view.value(party.name, round, measure) for round in view.rounds])
    ]
    told = (
        "Each line is the percentage of test questions that a party answers right after a round. The band around it is "
        "the 95 % interval over test questions."
    )
    if view.many:
        told += f" The band around the median of the {view.crowd} holds the middle 80 % of them."
        for measure in MEASURES:
            values = [[view.value(c.name, round, measure) for c in view.clients] for round in view.rounds]
            columns = [([each and each.value for each in column], number) for column in values]
            rows += spread_rows(view.crowd, columns, beside=(MEASURES[measure],))
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
    """Return the changes of the keys that a party has, labelled."""
    changes = _changes_by_key(view, party, part, keys, prefix)
    return [change for change in changes if change.before is not None or change.after is not None]


def _changes_by_key(view: View, party: PartyInfo, part: str, keys: Sequence[str], prefix: str = "") -> list[Change]:
    """Return the change of each key; both ends are unknown for a key that the party lacks."""
    first, last = view.ends(party.name)

    def value(end: Evaluation | None, key: str) -> float | None:
        found: Mapping[str, Interval] = {} if end is None else getattr(end, part)
        return found[key].value if key in found else None

    return [Change(f"{prefix}{key}", value(first, key), value(last, key)) for key in keys]


def domains(view: View) -> tuple[Figure, Figure, list[Table]]:
    """Return before and after by domain and by difficulty: charts of the first parties, of the rest, and tables.

    The charts of a run with many clients are split, so that the page is short at first.
    """
    charts = []
    named, counted = _keys(view, "domains"), _keys(view, "difficulty")
    for party in view.listed:
        first, second, owned = _halves(view, party)
        groups = [
            (first, _changes(view, party, "domains", [key for key in named if key in owned])),
            (second, _changes(view, party, "domains", [key for key in named if key not in owned])),
            ("by difficulty", _changes(view, party, "difficulty", counted, "level ")),
        ]
        if any(rows for _, rows in groups):
            description = f"Percent right before the first round and after the last, of {party.name}."
            charts.append(dumbbell(party.name, description, groups))
    if view.many:
        groups = [
            ("by domain", _mean_changes(view, "domains", named)),
            ("by difficulty", _mean_changes(view, "difficulty", counted, "level ")),
        ]
        description = f"Percent right before the first round and after the last, mean of {view.crowd}."
        charts.append(dumbbell(f"{view.crowd}, mean", description, groups))
    told = (
        "A ring is the percentage that a party answered right before the first round, a disc that after the last. The "
        "number is the change in points. A dashed line is a fall."
    )
    tables = [
        _ends_table(view, "domains", named, "Percent right by domain, before → after."),
        _ends_table(view, "difficulty", counted, "Percent right by difficulty (reasoning steps), before → after."),
    ]
    cut = FEW + 1
    return Figure(told, charts[:cut]), Figure("", charts[cut:]), [table for table in tables if len(table.head) > 1]


def _mean_changes(view: View, part: str, keys: list[str], prefix: str = "") -> list[Change]:
    """Return by key the means over the clients that have the value at both ends."""
    ends: dict[str, list[tuple[float, float]]] = {key: [] for key in keys}
    for client in view.clients:
        for key, change in zip(keys, _changes_by_key(view, client, part, keys), strict=True):
            if change.before is not None and change.after is not None:
                ends[key].append((change.before, change.after))
    return [
        Change(f"{prefix}{key}", fmean(before for before, _ in both), fmean(after for _, after in both))
        for key, both in ends.items()
        if both
    ]


def _halves(view: View, party: PartyInfo) -> tuple[str, str, set[str]]:
    """Return the headings of a party's two groups of domains and which domains are in the first."""
    skill = (
        " and general skill"
        if any(end is not None and end.general is not None for end in view.ends(party.name))
        else ""
    )
    if party.role == "server":
        clients = {domain for client in view.clients for domain in client.domains}
        return "the clients’ domains", f"domains no client owns{skill}" if clients else "by domain", clients
    return "own domains", f"other domains{skill}" if party.domains else "by domain", set(party.domains)


def _ends_table(view: View, part: str, keys: list[str], caption: str) -> Table:
    rows = []
    for party in view.listed:
        own = party.domains if part == "domains" else ()
        changes = _changes_by_key(view, party, part, keys)
        rows.append((party.name, *(_moved(change, "◆ " if change.label in own else "") for change in changes)))
    if view.many:
        mean = {change.label: change for change in _mean_changes(view, part, keys)}
        rows.append((f"{view.crowd}, mean", *(_moved(mean.get(key, Change(key, None, None))) for key in keys)))
        rows.append((f"{view.crowd}, lost", *_losers(view, part, keys)))
        caption += " The last row counts the clients that lost accuracy."
    if part == "domains":
        caption += " ◆ marks a domain of the party’s own."
    return Table(("party", *keys), rows, caption)


def _moved(change: Change, mark: str = "") -> Markup:
    """Return `before → after +change` after a mark, or the only end that is known."""
    if change.before is None or change.after is None:
        return escape(number(change.before if change.after is None else change.after))
    moved = change.after - change.before
    kind = "rise" if moved >= 0 else "fall"
    return Markup('{}{} → {} <em class="{}">{}</em>').format(
        mark, number(change.before), number(change.after), kind, difference(moved)
    )


def _losers(view: View, part: str, keys: Sequence[str]) -> list[str]:
    """Return by key how many clients score lower at the end than before."""
    lost = Counter[str]()
    for client in view.clients:
        for change in _changes_by_key(view, client, part, keys):
            lost[change.label] += (
                change.before is not None and change.after is not None and change.after < change.before
            )
    return [f"{lost[key]}" for key in keys]


def soundness(view: View) -> tuple[Figure, Table]:
    """Return agreement with the LLM, fidelity to it, variety, validity of steps and calibration error by round."""
    charts, rows = [], []
    for field, (name, title, show, top) in SOUNDNESS.items():
        series = lines(view, field)
        if series:
            charts.append(line_chart(title, f"{title}, of each party, by round.", series, show=show, top=top))
        digits = partial(number, digits=1 if top else 3)
        for party in view.listed:
            values = {int(point.x): point.value for point in _points(view, party, field)}
            if values:
                rows.append((party.name, name, *(digits(values.get(round)) for round in view.rounds)))
        if view.many:
            ends = [[view.evaluation(c.name, round) for c in view.clients] for round in view.rounds]
            columns = [([each and getattr(each, field) for each in column], digits) for column in ends]
            rows += spread_rows(view.crowd, columns, beside=(name,))
    told = (
        "Agreement: how often a party gives the LLM’s answer to a test question. Rationale fidelity: how much of the "
        "wording of the LLM’s path its own path shares (BLEU). Self-BLEU: how alike its own paths are. Valid steps: "
        "how many steps of its reasoning follow from the rules and the step before. Calibration error: how far its "
        "confidence lies from how often it is right (0 is best)."
    )
    head = ("party", "measure", *(f"round {round}" for round in view.rounds))
    return Figure(told, charts), Table(
        head, rows, "Agreement, BLEU and valid steps in percent, calibration error 0 to 1.", 2
    )


def studies(view: View) -> Table:
    """Return each party's training data and, for studies under differential privacy, the privacy spent."""
    head = ("party", "phase", "round", "steps", "lessons", "pairs", "replayed", "tokens", "first loss", "last loss")
    listed = {party.name for party in view.listed}
    rows: list[tuple[str, ...]] = [
        (s.party, s.phase, f"{s.round}", f"{s.steps}", f"{s.lessons}", f"{s.pairs}", f"{s.replayed}", f"{s.tokens}",
         number(s.first_loss, 3), number(s.last_loss, 3), number(s.epsilon, 2))
        for s in view.results.studies if not view.many or s.party in listed
    ]  # fmt: skip
    if view.many:
        rows += _studies_of_many(view)
    caption = (
        "Every study: optimiser steps, lessons, contrastive pairs among them, replayed samples, tokens, and the mean "
        "loss over the first and last tenth of the steps."
    )
    if faulty := view.results.faulty_studies():
        more = f"; and {len(faulty) - MANY} more, see results.json" if len(faulty) > MANY else ""
        caption += f" Problems: {'; '.join(faulty[:MANY])}{more}."
    if all(s.epsilon is None for s in view.results.studies):
        return Table(head, [row[:-1] for row in rows], caption, 2)
    caption += (
        " ε is the privacy spent by all of a party’s studies under differential privacy so far. The party does not "
        "report their losses and tokens."
    )
    return Table((*head, "ε"), rows, caption, 2)


def _studies_of_many(view: View) -> list[tuple[str, ...]]:
    """Return the median of the clients' studies by phase and round, and the maximum of the privacy spent."""
    groups: dict[tuple[str, int], list[StudyRecord]] = {}
    servers = {party.name for party in view.servers}
    for study in view.results.studies:
        if study.party not in servers:
            groups.setdefault((study.phase, study.round), []).append(study)
    counts, losses = ("steps", "lessons", "pairs", "replayed", "tokens"), ("first_loss", "last_loss")
    rows = []
    for (phase, round), studies in groups.items():
        columns = [([getattr(s, name) for s in studies], partial(number, digits=0)) for name in counts]
        columns += [([getattr(s, name) for s in studies], partial(number, digits=3)) for name in losses]
        columns.append(([s.epsilon for s in studies], partial(number, digits=2)))
        who = f"{len(studies)} clients"
        rows += spread_rows(who, columns, beside=(phase, f"{round}"), labels=("least", "median", "most"))
    return rows


def memberships(view: View) -> Table:
    """Return how well an attacker distinguishes a client's training samples from others of its domains; with many
    clients, those who are recognised best."""
    found = view.results.memberships
    if view.many:
        found = sorted(found, key=lambda m: -m.auc)[:MANY]
    rows = [
        (m.party, m.attack, f"{m.round}", f"{number(m.auc, 3)} ({number(m.low, 3)}–{number(m.high, 3)})",
         number(100 * m.tpr), f"{m.members}", f"{m.others}")
        for m in found
    ]  # fmt: skip
    caption = (
        "Membership inference asks whether the model has studied a sample. AUC is the chance that a studied sample (a "
        "member) looks more familiar to the model than another sample of the same domains; 0.5 is guessing. Found is "
        "the percentage of members that are recognised if 1 % of the others are taken for members."
    )
    if len(found) < len(view.results.memberships):
        caption += f" The table has the highest of {len(view.results.memberships)} rows; results.json has all."
    return Table(("party", "attack", "round", "AUC (95 %)", "found", "members", "others"), rows, caption, 2)
