"""Clients tell the server numbers about themselves; the server gathers them with its own."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import CodecError, FederationError
from lada.core.results import PartyReport
from lada.hosts.base import Kinds, Payload
from lada.hosts.discretion import blur_report
from lada.hosts.party import Party
from lada.hosts.withholding import keep_back_texts

METRICS, TIMES = "metrics", "times"
REPORT = Kinds(frozenset({METRICS, TIMES}))
"""What `report_payload` writes."""
RECORDS = 10_000
"""Most records of one sort, and most entries of one record."""
LONGEST = 500
"""Most characters of any text in a report."""
GREATEST = 2**53
"""Counts stay below: beyond it not every program reads an integer of JSON exactly."""
MEASURED = ("start", "seconds", "peak_memory")
"""What of a phase differs from run to run."""


def report_payload(party: Party) -> Payload:
    """Return the message parts that hand a party's report on.

    Times and memory travel apart, as fixed-size numbers: else how long a phase took would show in the bytes of the
    metrics, and equal runs would not send equal messages.
    """
    report = keep_back_texts(party, party.take_report())
    if party.blur:
        report = blur_report(party.blur, report, party.blur.generator(party.seed, *_moment(report), "blur", party.name))
    times = np.array([[getattr(phase, name) for name in MEASURED] for phase in report.phases], dtype="<f8")
    notices = tuple(map(_plain, report.notices[: party.limits.notices]))
    timeless = tuple(phase.model_copy(update=dict.fromkeys(MEASURED, 0)) for phase in report.phases)
    told = report.model_copy(update={"phases": timeless, "notices": notices})
    return {METRICS: encode_records([told]), TIMES: times.tobytes()}


def _moment(report: PartyReport) -> tuple[int | str, ...]:
    """Return which of a party's reports this is."""
    return tuple(part for phase in report.phases for part in (phase.round, phase.phase))


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client, equal notices once.

    Raises CodecError for a report that is amiss.
    """
    for client in sorted(replies):
        report = _read(replies[client], party.limits.report_bytes)
        # A client forgets between messages what it has said, as when the same batch does not fit again.
        notices = tuple(notice for notice in report.notices if notice not in party.report.notices)
        rows = {name: getattr(report, name) for name in PartyReport.model_fields}
        party.note(**{**rows, "notices": notices})


def _read(payload: Payload, limit: int) -> PartyReport:
    reports = decode_records(payload[METRICS], PartyReport, limit=limit)
    if len(reports) != 1:
        raise CodecError(f"metrics: {len(reports)} reports; expected one")
    (report,) = reports
    if len(payload[TIMES]) != 24 * len(report.phases):
        raise CodecError(f"times: {len(payload[TIMES])} bytes for {len(report.phases)} phases; expected 24 each")
    times = np.frombuffer(payload[TIMES], dtype="<f8").reshape(-1, 3)
    if not (np.isfinite(times) & (times >= 0)).all():
        raise CodecError("times: a number that is negative or not finite")
    phases = tuple(
        phase.model_copy(update={"start": start, "seconds": seconds, "peak_memory": int(memory)})
        for phase, (start, seconds, memory) in zip(report.phases, times.tolist(), strict=True)
    )
    return report.model_copy(update={"phases": phases})


def check_report(party: Party, sender: str, round: int, payload: Payload) -> None:
    """Raise CodecError or FederationError unless a client's report is about itself and its numbers can be.

    It speaks of rounds up to this one and of domains that the task has; percentages lie in 0..100, times and counts
    are not negative, texts are short and printable. A loss, and what an allocator says about itself, may be NaN.
    """
    report = _read(payload, party.limits.report_bytes)
    _expect(not report.missing, "missing: a client cannot say who is missing")
    _expect(not report.exchanges, "exchanges: a client cannot say how long messages took")
    _expect(len(report.notices) <= party.limits.notices, f"notices: more than limits.notices, {party.limits.notices}")
    for where, value in _leaves("report", report.model_dump()):
        match value:
            case str():
                _expect(len(value) <= LONGEST and value.isprintable(), f"{where}: a text too long or not printable")
            case int():
                _expect(0 <= value < GREATEST, f"{where}: a number out of range")
    for row in (*report.evaluations, *report.studies, *report.phases, *report.withheld):
        _expect(row.party == sender, "party: another than the sender")
    for row in (*report.evaluations, *report.studies, *report.phases, *report.allocations, *report.withheld):
        _expect(row.round <= round, "round: it is not there yet")
    for row in report.allocations:
        _expect(row.student == sender and row.teacher == party.name, "allocations: of other parties")
        _expect(max(row.chosen, row.from_teacher) <= row.candidates, "allocations: more chosen than candidates")
        _percent("allocations", row.right, row.sound, row.agreement)
    _check_evaluations(party, report)
    for row in report.withheld:
        _expect(max(row.sampled_again + row.withheld, row.scores) <= row.paths, "withheld: more than there were")
    for row in report.parties:
        _expect((row.name, row.role) == (sender, "client"), "parties: another than the sender")
        _expect(row.weights == "" or _is_digest(row.weights), "parties: weights: not a SHA-256")


def _check_evaluations(party: Party, report: PartyReport) -> None:
    domains = {sample.domain for sample in party.task.test}
    levels = {str(sample.difficulty) for sample in party.task.test}
    for row in report.evaluations:
        _expect(row.domains.keys() <= domains, "evaluations: domains that the task does not have")
        _expect(row.difficulty.keys() <= levels, "evaluations: difficulties that the task does not have")
        groups = (row.overall, row.own, row.other, row.general, *row.domains.values(), *row.difficulty.values())
        for each in groups:
            if each is not None:
                _percent("evaluations", each.value, each.low, each.high)
                _expect(each.count <= len(party.task.test), "evaluations: more questions than there are")
        _percent("evaluations", row.step_validity, row.agreement)
        _percent("evaluations", None if row.calibration_error is None else 100 * row.calibration_error)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:LONGEST])


def _leaves(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the texts and numbers in a record, and the keys of its tables, with the name of the field."""
    if isinstance(value, Mapping):
        _expect(len(value) <= RECORDS, f"{where}: more than {RECORDS} entries")
        for key, inner in value.items():
            known = key in PartyReport.model_fields  # a key further down may be the sender's own word
            yield where, key
            yield from _leaves(key if known else where, inner)
    elif isinstance(value, (list, tuple)):
        _expect(len(value) <= RECORDS, f"{where}: more than {RECORDS} entries")
        for inner in value:
            yield from _leaves(where, inner)
    else:
        yield where, value


def _percent(where: str, *values: float | None) -> None:
    _expect(all(value is None or 0 <= value <= 100 for value in values), f"{where}: a percentage out of range")


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _expect(sound: bool, fault: str) -> None:
    if not sound:
        raise FederationError(f"metrics: {fault}")
