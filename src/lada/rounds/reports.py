"""Clients report numbers about themselves; the server combines them with its own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lada.codecs import metrics, times
from lada.codecs.metrics import LONGEST, ONCE, expect, timed
from lada.codecs.ranges import LOSS
from lada.codecs.times import MEASURED
from lada.core.plural import counted
from lada.core.results import PartyReport, StudyRecord
from lada.core.terms import Verb
from lada.evaluation.membership import ATTACKS
from lada.privacy.options import MOST_TRIES
from lada.rounds.allocating import LOOKED_AT
from lada.rounds.base import MessageSchema, Payload, Step
from lada.rounds.party import Party
from lada.rounds.releasing import release_report
from lada.rounds.self_context import BEFORE_STUDY
from lada.rounds.wire import reading, write
from lada.rounds.withholding import INSTEAD, keep_back_texts

METRICS, TIMES = metrics.KIND, times.KIND
REPORT = MessageSchema(frozenset({METRICS, TIMES}))
"""The kinds that `report_payload` writes."""
SPARE = 8
"""Phases allowed beyond those of the plan."""
ASIDE = frozenset({"judge", "judge-redacted", "score", "embed", "embed-own", "read", "try"})
"""Phases that a client may report in addition, with any host."""


def report_payload(party: Party) -> Payload:
    """Return the message parts with a party's report.

    Times and memory travel separately, as fixed-size numbers. Otherwise durations would affect the bytes of the
    metrics, and equal runs would not send equal messages.
    """
    report = keep_back_texts(party, party.take_report())
    report = release_report(party, report, _moment(report))
    report = report.model_copy(update={"studies": tuple(map(_tellable, report.studies))})
    measured = np.array([[getattr(phase, name) for name in MEASURED] for phase in report.phases], dtype="<f8")
    notices = tuple(map(_plain, report.notices[: party.limits.notices]))
    timeless = tuple(phase.model_copy(update=dict.fromkeys(MEASURED, 0)) for phase in report.phases)
    sent = report.model_copy(update={"phases": timeless, "notices": notices})
    return {METRICS: write(party, METRICS, sent), TIMES: write(party, TIMES, measured)}


def _tellable(study: StudyRecord) -> StudyRecord:
    """Return a study as it is reported: a loss beyond LOSS, as from a failing model, becomes infinite."""
    losses = {name: getattr(study, name) for name in ("first_loss", "last_loss")}
    beyond = {name: math.copysign(math.inf, loss) for name, loss in losses.items() if abs(loss) > LOSS}
    return study.model_copy(update=beyond) if beyond else study


def _moment(report: PartyReport) -> tuple[int | str, ...]:
    """Return what identifies this report among a party's."""
    return tuple(part for phase in report.phases for part in (phase.round, phase.phase))


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client, without repeated notices.

    Rows reported before are left out and counted, since a run has one evaluation per party and round. Raises CodecError
    for an invalid report.
    """
    for client in sorted(replies):
        report = timed(reading(party, replies[client]))
        # A client does not remember earlier notices, for example if the same batch does not fit again.
        notices = tuple(notice for notice in report.notices if not party.noted.has("notices", notice))
        rows: dict[str, tuple[Any, ...]] = {name: getattr(report, name) for name in PartyReport.model_fields}
        new = {name: tuple(row for row in rows[name] if not party.noted.has(name, row)) for name in ONCE}
        if again := {name: len(rows[name]) - len(new[name]) for name in ONCE if len(new[name]) < len(rows[name])}:
            received = ", ".join(f"{count} of its {name}" for name, count in again.items())
            notices = (*notices, f"{client} reported some rows twice: {received} are left out")
        party.note(**{**rows, **new, "notices": notices})


def check_rows(payload: Payload, party: Party, steps: Sequence[Step] | None) -> None:
    """Raise CodecError or FederationError for a report with more rows than its phase can give.

    `steps` are a client's steps in the round; None means its last report, on its final state. Named rows, such as
    studies, count once per step. Timed phases are at most twice as many.
    """
    report = reading(party, payload).part(METRICS)
    last, steps = steps is None, steps or ()
    looks = -(-len(party.task.public) // LOOKED_AT)
    private = [step.phase for step in steps if step.verb is Verb.STUDY and step.samples == "private"]
    most = {
        "evaluations": sum(step.phase == "evaluate" for step in steps),
        "studies": sum(step.verb is Verb.STUDY for step in steps),
        "allocations": sum(step.samples == "lessons" for step in steps),
        "phases": SPARE + 2 * len(steps) + len(BEFORE_STUDY) * len(private) + looks + 2 * MOST_TRIES,
        "withheld": 2 * len(steps),
        "parties": int(last),
        "memberships": len(ATTACKS) * last,
    }
    for name, count in most.items():
        received = len(getattr(report, name))
        expect(received <= count, f"{name}: {counted(received, 'row')}; a reply of this phase has at most {count}")
    named = {f"{step.phase}{suffix}" for step in steps for suffix in ("", "-again")} | ASIDE
    named |= {f"{phase}{suffix}" for phase in private for suffix in BEFORE_STUDY}
    named |= {INSTEAD.format(attempt) for attempt in range(1, MOST_TRIES + 1)}
    for row in (*report.studies, *report.phases):
        expect(row.phase in named, "phase: not one of this host's")


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:LONGEST])
