"""The section on the allocator's choices and reasons: per pair of parties, both directions, rounds side by side."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from lada.core.plural import counted
from lada.core.results import AllocationRecord
from lada.report.charts import Change, dumbbell
from lada.report.reading import Candidate
from lada.report.strip import Dot, strip
from lada.report.view import Table, View, mean
from lada.report.words import NONE, number

DRAWN = 240
"""The most candidates that are drawn in one chart, taken evenly from all."""
DOTS = 60
"""The most candidates that may be drawn from a batch of one direction and round."""
COUNTED = ("chosen", "teacher_right", "student_right", "reason")
CHECKED = {True: "right", False: "wrong", None: "not checked"}
REASONS = 8
"""The most different reasons that are listed; the rarer ones are added up."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One teacher and one student: charts by round, and counts."""

    teacher: str
    student: str
    charts: Sequence[Markup]
    reasons: Table
    """Reasons by round; for omitted candidates without a reason, whose answer was right."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both directions between two parties."""

    name: str
    directions: Sequence[Direction]


def overview(view: View) -> Table:
    """Return the totals of every direction and round, with the allocator's own diagnostics."""
    places = {direction: place for place, direction in enumerate(_directions(view))}
    records = sorted(view.results.allocations, key=lambda r: (places[r.teacher, r.student], r.round))
    diagnostics = sorted({name for record in records for name in record.diagnostics})
    head = ("teacher → student", "round", "candidates", "chosen", "teacher’s path", "student’s path",
            "chosen paths right, %", "sound, %", *diagnostics)  # fmt: skip
    if view.many:
        caption = (
            "How many candidates there were, how many were chosen, and the allocators’ own diagnostics, as means over "
            "pairs. A candidate is a public sample that the student may study."
        )
        return Table(head, _means(view, records, diagnostics), caption)
    rows = [
        (
            f"{record.teacher} → {record.student}",
            f"{record.round}",
            f"{record.candidates}",
            f"{record.chosen}",
            f"{record.from_teacher}",
            f"{record.chosen - record.from_teacher}",
            number(record.right),
            number(record.sound),
            *(number(record.diagnostics.get(name), 3) for name in diagnostics),
        )
        for record in records
    ]
    caption = (
        "How many candidates there were, how many were chosen, and the allocator’s own diagnostics. A candidate is a "
        "public sample that the student may study."
    )
    return Table(head, rows, caption)


def _means(view: View, records: Iterable[AllocationRecord], diagnostics: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a row for each direction and round, of all clients together."""
    servers = {party.name for party in view.servers}
    groups: dict[tuple[bool, int], list[AllocationRecord]] = defaultdict(list)
    for record in records:
        groups[record.teacher in servers, record.round].append(record)
    rows = []
    for (down, round), group in sorted(groups.items(), key=lambda item: (not item[0][0], item[0][1])):
        who = counted(len(group), "client")
        columns = [
            (0, [record.candidates for record in group]),
            (0, [record.chosen for record in group]),
            (0, [record.from_teacher for record in group]),
            (0, [record.chosen - record.from_teacher for record in group]),
            (1, [record.right for record in group]),
            (1, [record.sound for record in group]),
            *((3, [record.diagnostics.get(name) for record in group]) for name in diagnostics),
        ]
        told = f"{group[0].teacher} → {who}" if down else f"{who} → {group[0].student}"
        rows.append((told, f"{round}", *(number(mean(values), digits) for digits, values in columns)))
    return rows


def pooled(view: View, batches: Iterable[pa.RecordBatch]) -> list[Pair]:
    """Return both directions between the server and its many clients, each as one; empty without choices."""
    server = next((party.name for party in view.servers), "the server")
    tallies: dict[bool, dict[int, Tally]] = {True: defaultdict(Tally), False: defaultdict(Tally)}
    for batch in batches:
        table, down = pa.Table.from_batches([batch]), pc.field("teacher") == server
        for is_down in (True, False):
            part = table.filter(down if is_down else ~down)
            for round in part.column("round").unique().to_pylist():
                tallies[is_down][round].add_rows(part.filter(pc.field("round") == round))
    directions = [
        _direction(server, view.crowd, tallies[True]),
        _direction(view.crowd, server, tallies[False]),
    ]
    known = [direction for direction, rounds in zip(directions, tallies.values(), strict=True) if rounds]
    return [Pair(f"{server} and {view.crowd}", known)] if known else []


def pairs(view: View, candidates: Iterable[Candidate]) -> list[Pair]:
    """Return one block per pair of parties that exchanged anything, in the order of the results."""
    rows: dict[tuple[str, str], dict[int, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for candidate in candidates:
        rows[candidate.teacher, candidate.student][candidate.round].add(candidate)
    servers = {party.name for party in view.servers}
    blocks: dict[frozenset[str], list[tuple[str, str]]] = defaultdict(list)
    for direction in dict.fromkeys((*_directions(view), *rows)):
        blocks[frozenset(direction)].append(direction)
    return [
        Pair(
            " and ".join(sorted(block, key=lambda name: (name not in servers, name))),
            [
                _direction(teacher, student, rows[teacher, student])
                for teacher, student in sorted(directions, key=lambda names: (names[0] not in servers, names))
                if rows[teacher, student]
            ],
        )
        for block, directions in blocks.items()
        if any(rows[direction] for direction in directions)
    ]


def _directions(view: View) -> list[tuple[str, str]]:
    """Return every (teacher, student) that chose anything, in the order of the results."""
    return list(dict.fromkeys((record.teacher, record.student) for record in view.results.allocations))


@dataclass(slots=True)
class Tally:
    """The numbers on the candidates of one round."""

    dots: list[Dot] = field(default_factory=list)
    """The candidates with a score; if there are many, some of them, taken evenly."""
    scored: Counter[tuple[int | None, bool]] = field(default_factory=Counter)
    """How many candidates have a score, by difficulty and choice."""
    right: Counter[tuple[str, bool, bool]] = field(default_factory=Counter)
    """How many answers are right or wrong: by party, choice and verdict."""
    reasons: Counter[tuple[bool, str]] = field(default_factory=Counter)
    lowest: float = math.inf
    """The lowest score of a chosen candidate."""
    highest: float = -math.inf
    """The highest score of an omitted candidate."""

    @property
    def threshold(self) -> float | None:
        """Return the score from which on candidates were chosen; None if the score alone did not decide."""
        return self.lowest if -math.inf < self.highest < self.lowest < math.inf else None

    def add(self, row: Candidate) -> None:
        """Count one candidate."""
        self._count(row.chosen, row.teacher_right, row.student_right, row.reason, 1)
        if row.score is not None:
            self.scored[row.difficulty, row.chosen] += 1
            self._widen(row.chosen, row.score, row.score)
            self.dots.append(Dot(row.difficulty, row.score, row.chosen, row.teacher_right))

    def add_rows(self, table: pa.Table) -> None:
        """Count many candidates, and keep the dots of DOTS of them."""
        for row in table.group_by(list(COUNTED)).aggregate([([], "count_all")]).to_pylist():
            chosen, teacher, student, reason = (row[name] for name in COUNTED)
            self._count(chosen, teacher, student, reason, row["count_all"])
        table = table.filter((pc.field("score") > -math.inf) & (pc.field("score") < math.inf))
        sums = [([], "count_all"), ("score", "min"), ("score", "max")]
        for row in table.group_by(["difficulty", "chosen"]).aggregate(sums).to_pylist():
            self.scored[row["difficulty"], row["chosen"]] += row["count_all"]
            self._widen(row["chosen"], row["score_min"], row["score_max"])
        for place in range(0, len(table), math.ceil(len(table) / DOTS) or 1):
            (row,) = table.slice(place, 1).to_pylist()
            self.dots.append(Dot(row["difficulty"], row["score"], row["chosen"], row["teacher_right"]))

    def _widen(self, chosen: bool, low: float, high: float) -> None:
        if chosen:
            self.lowest = min(self.lowest, low)
        else:
            self.highest = max(self.highest, high)

    def _count(self, chosen: bool, teacher: bool | None, student: bool | None, reason: str | None, number: int) -> None:
        for who, right in (("teacher", teacher), ("student", student)):
            if right is not None:
                self.right[who, chosen, right] += number
        if reason or not chosen:
            self.reasons[chosen, reason or f"teacher {CHECKED[teacher]}, student {CHECKED[student]}"] += number

    def share(self, who: str, chosen: bool) -> float | None:
        """Return the percent right among the chosen or left-out candidates whose gold answer is known."""
        right, wrong = (self.right[who, chosen, verdict] for verdict in (True, False))
        return 100 * right / (right + wrong) if right + wrong else None


def _direction(teacher: str, student: str, tallies: Mapping[int, Tally]) -> Direction:
    rounds = dict(sorted(tallies.items()))
    charts = [chart for round, tally in rounds.items() if (chart := _scores(teacher, round, tally)) is not None]
    outcome = [
        (
            f"{name} right",
            [Change(f"round {n}", tally.share(who, False), tally.share(who, True)) for n, tally in rounds.items()],
        )
        for name, who in ((teacher, "teacher"), (student, "student"))
    ]
    known = [
        (who, [change for change in changes if change.before is not None or change.after is not None])
        for who, changes in outcome
    ]
    if any(changes for _, changes in known):
        title = "Right answers: left out ○, chosen ●"
        description = f"Percent of right answers of {teacher} and {student} among candidates left out and chosen."
        charts.append(dumbbell(title, description, known, ends=("left out", "chosen")))
    return Direction(teacher, student, charts, _reasons(rounds))


def _scores(teacher: str, round: int, tally: Tally) -> Markup | None:
    """Return score against difficulty for one round; None if nothing was scored."""
    if not tally.dots:
        return None
    description = (
        f"Score of each candidate against its difficulty in round {round}. In each column, left-out candidates are on "
        f"the left and chosen ones on the right. A dot: {teacher} was right; a cross: wrong; a bar: unknown."
    )
    return strip(f"Round {round}", description, tally.dots, counts=tally.scored, most=DRAWN, threshold=tally.threshold)


def _reasons(rounds: Mapping[int, Tally]) -> Table:
    """Return how often each reason was given, the most frequent first, chosen before left out."""
    counts = {round: tally.reasons for round, tally in rounds.items()}
    total = sum(counts.values(), Counter())
    common = [key for key, _ in total.most_common(REASONS)]
    table = [
        (_told(chosen), reason, *(f"{counts[round][chosen, reason]}" for round in rounds))
        for chosen, reason in sorted(common, key=lambda key: (not key[0], -total[key], key[1]))
    ]
    if len(total) > len(common):
        rest = (sum(counts[round].values()) - sum(counts[round][key] for key in common) for round in rounds)
        table.append((NONE, f"{len(total) - len(common)} rarer reasons", *(f"{number_of}" for number_of in rest)))
    head = ("", "reason", *(f"round {round}" for round in rounds))
    caption = (
        "How many candidates were chosen or left out, by the allocator’s reason. If it left candidates out without a "
        "reason, the row says whose answer was right."
    )
    return Table(head, table, caption, 2)


def _told(chosen: bool) -> str:
    return "✓ chosen" if chosen else "○ left out"
