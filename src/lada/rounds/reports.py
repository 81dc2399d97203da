"""Clients tell the server numbers about themselves; the server gathers them with its own."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import CodecError, FederationError
from lada.core.known import read
from lada.core.plural import counted
from lada.core.results import PartyReport, StudyRecord
from lada.core.terms import Verb
from lada.evaluation.membership import ATTACKS, MOST
from lada.privacy.options import MOST_TRIES
from lada.rounds.allocating import LOOKED_AT
from lada.rounds.base import Kinds, Payload, Step
from lada.rounds.noted import key_of
from lada.rounds.party import Party
from lada.rounds.ranges import LOSS, MEMORY, SECONDS, out_of_range
from lada.rounds.releasing import release_report
from lada.rounds.withholding import INSTEAD, keep_back_texts

METRICS, TIMES = "metrics", "times"
REPORT = Kinds(frozenset({METRICS, TIMES}))
"""What `report_payload` writes."""
LONGEST = 500
"""Most characters of any text in a report."""
CLOCKS = 86_400.0
"""Seconds by which the clocks of two machines may differ; what a report tells of is moved into the run's time."""
SPARE, DIAGNOSTICS, DOMAINS = 8, 64, 1000
"""Phases beside those of the plan, and most entries of an allocation's diagnostics and of a party's domains."""
ASIDE = frozenset({"judge", "judge-redacted", "score", "embed"})
"""What a client is timed at besides, whatever its host."""
REPORTED = ("evaluations", "studies", "allocations", "phases", "parties", "memberships", "withheld")
"""What a client tells of itself."""
ONCE = tuple(name for name in REPORTED if name not in {"phases", "withheld"})
"""What is told once: a phase may have several times, and paths and token scores are withheld apart."""
MEASURED = ("start", "seconds", "peak_memory")
"""What of a phase differs from run to run."""


def report_payload(party: Party) -> Payload:
    """Return the message parts that hand a party's report on.

    Times and memory travel apart, as fixed-size numbers: else how long a phase took would show in the bytes of the
    metrics, and equal runs would not send equal messages.
    """
    report = keep_back_texts(party, party.take_report())
    report = release_report(party, report, _moment(report))
    report = report.model_copy(update={"studies": tuple(map(_tellable, report.studies))})
    times = np.array([[getattr(phase, name) for name in MEASURED] for phase in report.phases], dtype="<f8")
    notices = tuple(map(_plain, report.notices[: party.limits.notices]))
    timeless = tuple(phase.model_copy(update=dict.fromkeys(MEASURED, 0)) for phase in report.phases)
    told = report.model_copy(update={"phases": timeless, "notices": notices})
    return {METRICS: encode_records([told]), TIMES: times.tobytes()}


def _tellable(study: StudyRecord) -> StudyRecord:
    """Return a study as it is told: a loss beyond LOSS, as of a model that breaks, is infinite."""
    losses = {name: getattr(study, name) for name in ("first_loss", "last_loss")}
    beyond = {name: math.copysign(math.inf, loss) for name, loss in losses.items() if abs(loss) > LOSS}
    return study.model_copy(update=beyond) if beyond else study


def _moment(report: PartyReport) -> tuple[int | str, ...]:
    """Return which of a party's reports this is."""
    return tuple(part for phase in report.phases for part in (phase.round, phase.phase))


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client, equal notices once.

    What a client told before is left out, and counted: a run has one evaluation per party and round. Raises CodecError
    for a report that is amiss.
    """
    for client in sorted(replies):
        report = _read(party, replies[client])
        # A client forgets between messages what it has said, as when the same batch does not fit again.
        notices = tuple(notice for notice in report.notices if not party.noted.has("notices", notice))
        rows: dict[str, tuple[Any, ...]] = {name: getattr(report, name) for name in PartyReport.model_fields}
        new = {name: tuple(row for row in rows[name] if not party.noted.has(name, row)) for name in ONCE}
        if again := {name: len(rows[name]) - len(new[name]) for name in ONCE if len(new[name]) < len(rows[name])}:
            told = ", ".join(f"{count} of its {name}" for name, count in again.items())
            notices = (*notices, f"{client} told twice of the same: {told} are left out")
        party.note(**{**rows, **new, "notices": notices})


def told_report(party: Party, payload: Payload) -> PartyReport:
    """Return a report without its times. Raises CodecError for other bytes."""
    limit = party.limits.report_bytes
    reports = read(payload, METRICS, lambda: decode_records(payload[METRICS], PartyReport, limit=limit))
    if len(reports) != 1:
        raise CodecError(f"metrics: {len(reports)} reports; expected one")
    return reports[0]


def _read(party: Party, payload: Payload) -> PartyReport:
    report = told_report(party, payload)
    if len(payload[TIMES]) != 24 * len(report.phases):
        raise CodecError(
            f"times: {counted(len(payload[TIMES]), 'byte')} for {counted(len(report.phases), 'phase')}; expected 24 "
            "each"
        )
    times = np.frombuffer(payload[TIMES], dtype="<f8").reshape(-1, 3)
    age = party.clock() + 1.0  # times are rounded
    # Another machine's clock may be off, and be set while it works; a study that another run did may have taken longer.
    longest = age if party.common is None else SECONDS.high
    for name, column, most in zip(MEASURED, times.T, (age + CLOCKS, longest + CLOCKS, MEMORY.high), strict=True):
        if not (np.isfinite(column) & (column >= (0 if name == "peak_memory" else -CLOCKS)) & (column <= most)).all():
            raise CodecError(f"times: {name}: a number that is not finite or out of range")
    phases = tuple(
        phase.model_copy(
            update={
                "start": min(max(start, 0.0), age),
                "seconds": min(max(seconds, 0.0), longest),
                "peak_memory": int(memory),
            }
        )
        for phase, (start, seconds, memory) in zip(report.phases, times.tolist(), strict=True)
    )
    return report.model_copy(update={"phases": phases})


def check_report(party: Party, sender: str, round: int, payload: Payload) -> None:
    """Raise CodecError or FederationError unless a client's report is about itself and its numbers can be.

    Its rows speak of this round; every number is in its range (lada.rounds.ranges), times are within the run's age but
    for CLOCKS. How many rows there may be is the host's to say: `check_rows`.
    """
    report = _read(party, payload)
    _expect(not report.missing, "missing: a client cannot say who is missing")
    _expect(not report.exchanges, "exchanges: a client cannot say how long messages took")
    _expect(len(report.notices) <= party.limits.notices, f"notices: more than limits.notices, {party.limits.notices}")
    known = {sample.domain for sample in party.task.test}  # the server's own data may name them as they like
    for where, value in _texts("report", report.model_dump()):
        plain = len(value) <= LONGEST and value.isprintable()
        _expect(plain or value in known, f"{where}: a text too long or not printable")
    for name in REPORTED:
        for row in getattr(report, name):
            faults = next(out_of_range(row), None)
            _expect(faults is None, f"{name}: {faults}: a number out of range")
            _expect(getattr(row, "party", sender) == sender, f"{name}: party: another than the sender")
            _expect(getattr(row, "round", round) == round, f"{name}: round: another than the message's")
    for name in ONCE:
        rows = getattr(report, name)
        _expect(len({key_of(row) for row in rows}) == len(rows), f"{name}: the same twice")
    for row in report.studies:
        _expect(row.skipped <= row.steps, "studies: more steps skipped than there were")
        _expect(row.cut <= row.lessons, "studies: more lessons cut than there were")
        _expect(row.unfinished <= row.lessons, "studies: more lessons on cut answers than there were")
    for row in report.allocations:
        _expect(row.student == sender and row.teacher == party.name, "allocations: of other parties")
        _expect(max(row.chosen, row.from_teacher) <= row.candidates, "allocations: more chosen than candidates")
        _expect(row.candidates <= len(party.task.public), "allocations: more candidates than public samples")
        _expect(len(row.diagnostics) <= DIAGNOSTICS, f"allocations: diagnostics: more than {DIAGNOSTICS}")
    _check_evaluations(party, report)
    for row in report.withheld:
        _expect(max(row.sampled_again + row.withheld, row.scores) <= row.paths, "withheld: more than there were")
    for row in report.parties:
        _expect((row.name, row.role) == (sender, "client"), "parties: another than the sender")
        _expect(row.weights == "" or _is_digest(row.weights), "parties: weights: not a SHA-256")
        _expect(len(row.domains) <= DOMAINS, f"parties: domains: more than {DOMAINS}")
    for row in report.memberships:
        _expect(row.attack in ATTACKS, f"memberships: attack: expected one of {', '.join(ATTACKS)}")
        _expect(max(row.members, row.others) <= MOST, f"memberships: more than {MOST} samples")


def check_rows(payload: Payload, party: Party, steps: Sequence[Step] | None) -> None:
    """Raise CodecError or FederationError for a report with more rows than its phase can give.

    `steps` are what a client does in the round; None: its last word, when it only says what it has become. What has a
    name of its own, such as a study, counts once per step; the phases that are timed are at most twice as many.
    """
    report = _read(party, payload)
    last, steps = steps is None, steps or ()
    looks = -(-len(party.task.public) // LOOKED_AT)
    most = {
        "evaluations": sum(step.phase == "evaluate" for step in steps),
        "studies": sum(step.verb is Verb.STUDY for step in steps),
        "allocations": sum(step.samples == "lessons" for step in steps),
        "phases": SPARE + 2 * len(steps) + looks + 2 * MOST_TRIES,
        "withheld": 2 * len(steps),
        "parties": int(last),
        "memberships": len(ATTACKS) * last,
    }
    for name, count in most.items():
        told = len(getattr(report, name))
        _expect(told <= count, f"{name}: {counted(told, 'row')}; a reply of this phase has at most {count}")
    named = {f"{step.phase}{suffix}" for step in steps for suffix in ("", "-again")} | ASIDE
    named |= {INSTEAD.format(attempt) for attempt in range(1, MOST_TRIES + 1)}
    for row in (*report.studies, *report.phases):
        _expect(row.phase in named, "phase: one that the host does not have")


def _check_evaluations(party: Party, report: PartyReport) -> None:
    domains = Counter(sample.domain for sample in party.task.test)
    levels = Counter(str(sample.difficulty) for sample in party.task.test)
    for row in report.evaluations:
        _expect(row.agreement is None, "evaluations: agreement: it is the server's to say")
        for told, known, what in ((row.domains, domains, "domains"), (row.difficulty, levels, "difficulties")):
            _expect(told.keys() <= known.keys(), f"evaluations: {what} that the task does not have")
            _expect(all(told[key].count <= known[key] for key in told), "evaluations: more questions than there are")
        for each in (row.overall, row.own, row.other, row.general):
            _expect(each is None or each.count <= len(party.task.test), "evaluations: more questions than there are")
        _expect(row.cut <= len(party.task.test), "evaluations: more answers cut than there are")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:LONGEST])


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in a record, and the keys of its tables, with the name of the field."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            known = key in PartyReport.model_fields  # a key further down may be the sender's own word
            yield where, key
            yield from _texts(key if known else where, inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(where, inner)
    elif isinstance(value, str):
        yield where, value


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _expect(sound: bool, fault: str) -> None:
    if not sound:
        raise FederationError(f"metrics: {fault}")
