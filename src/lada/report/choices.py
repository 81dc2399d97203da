"""Section on what the allocator chose and why: per pair of parties, both directions, rounds side by side."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lada.report.charts import Change, Dot, dumbbell, strip
from lada.report.reading import Candidate
from lada.report.view import Table, View
from lada.report.words import NONE, number

DRAWN = 240
"""At most so many candidates are drawn in one chart, taken evenly from all."""
REASONS = 8
"""At most so many different reasons are listed; the rarer ones are added up."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One teacher and one student: charts by round and what was counted."""

    teacher: str
    student: str
    charts: Sequence[Markup]
    reasons: Table
    """Reasons by round; no rows where no allocator gave any."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both directions between two parties."""

    name: str
    directions: Sequence[Direction]


def overview(view: View) -> Table:
    """Return every direction and round in sums, with what the allocator says about itself."""
    directions = _directions(view)
    records = sorted(view.results.allocations, key=lambda r: (directions.index((r.teacher, r.student)), r.round))
    diagnostics = sorted({name for record in records for name in record.diagnostics})
    head = ("teacher → student", "round", "candidates", "chosen", "by teacher’s path", "by own path",
            "chosen paths right, %", "sound, %", *diagnostics)  # fmt: skip
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
    caption = "How many public samples each direction could choose from and chose; then the filter’s own diagnostics."
    return Table(head, rows, caption)


def pairs(view: View, candidates: Iterable[Candidate]) -> list[Pair]:
    """Return one block per pair of parties that exchanged anything, in the order of the results."""
    rows: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        rows[candidate.teacher, candidate.student].append(candidate)
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


def _direction(teacher: str, student: str, rows: Sequence[Candidate]) -> Direction:
    rounds: dict[int, list[Candidate]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.round):
        rounds[row.round].append(row)
    charts = [chart for round, group in rounds.items() if (chart := _scores(teacher, round, group)) is not None]
    outcome = [
        (
            who,
            [
                Change(f"round {round}", _share(group, field, False), _share(group, field, True))
                for round, group in rounds.items()
            ],
        )
        for who, field in ((f"{teacher} right", "teacher_right"), (f"{student} right", "student_right"))
    ]
    known = [
        (who, [change for change in changes if change.before is not None or change.after is not None])
        for who, changes in outcome
    ]
    if any(changes for _, changes in known):
        title = "Left out ○ against chosen ●"
        description = f"Percent of right answers of {teacher} and {student} among candidates left out and chosen."
        charts.append(dumbbell(title, description, known, ends=("left out", "chosen")))
    return Direction(teacher, student, charts, _reasons(rounds))


def _scores(teacher: str, round: int, rows: Sequence[Candidate]) -> Markup | None:
    """Return score against difficulty for one round, None where nothing was scored."""
    dots = [Dot(row.difficulty, row.score, row.chosen, row.teacher_right) for row in rows if row.score is not None]
    if not dots:
        return None
    description = (
        f"Score of each candidate against its difficulty in round {round}: left out on the left of a column, chosen on "
        f"the right; a dot where {teacher} was right, a cross where it was wrong."
    )
    return strip(f"Round {round}", description, dots, most=DRAWN)


def _share(rows: Sequence[Candidate], field: str, chosen: bool) -> float | None:
    """Return the percent right among the chosen or left-out rows whose gold answer is known."""
    known = [getattr(row, field) for row in rows if row.chosen == chosen and getattr(row, field) is not None]
    return 100 * sum(known) / len(known) if known else None


def _reasons(rounds: Mapping[int, Sequence[Candidate]]) -> Table:
    """Return how often each reason was given, the most frequent first, chosen before left out."""
    counts: dict[int, Counter[tuple[bool, str]]] = {
        round: Counter((row.chosen, row.reason) for row in rows if row.reason) for round, rows in rounds.items()
    }
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
    return Table(head, table, "How many candidates were chosen or left out for which reason.", 2)


def _told(chosen: bool) -> str:
    return "✓ chosen" if chosen else "○ left out"
