"""Clients tell the server numbers about themselves; the server gathers them with its own."""

from collections.abc import Mapping

import numpy as np

from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import CodecError
from lada.core.results import PartyReport
from lada.hosts.base import Payload
from lada.hosts.party import Party

METRICS, TIMES = "metrics", "times"
MEASURED = ("start", "seconds", "peak_memory")
"""What of a phase differs from run to run."""


def report_payload(party: Party) -> Payload:
    """Return the message parts that hand a party's report on.

    Times and memory travel apart, as fixed-size numbers: else how long a phase took would show in the bytes of the
    metrics, and equal runs would not send equal messages.
    """
    report = party.take_report()
    times = np.array([[getattr(phase, name) for name in MEASURED] for phase in report.phases], dtype="<f8")
    timeless = tuple(phase.model_copy(update=dict.fromkeys(MEASURED, 0)) for phase in report.phases)
    return {METRICS: encode_records([report.model_copy(update={"phases": timeless})]), TIMES: times.tobytes()}


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client, equal notices once.

    Raises CodecError for a report that is amiss.
    """
    for client in sorted(replies):
        (report,) = decode_records(replies[client][METRICS], PartyReport)
        times = np.frombuffer(replies[client][TIMES], dtype="<f8")
        if times.size != len(MEASURED) * len(report.phases) or not np.isfinite(times).all():
            raise CodecError(
                f"times: {times.size} numbers for {len(report.phases)} phases; expected three each, finite"
            )
        phases = tuple(
            phase.model_copy(update={"start": start, "seconds": seconds, "peak_memory": int(memory)})
            for phase, (start, seconds, memory) in zip(report.phases, times.reshape(-1, 3).tolist(), strict=True)
        )
        rows = {name: getattr(report, name) for name in PartyReport.model_fields}
        # A client forgets between messages what it has said, as when the same batch does not fit again.
        notices = tuple(notice for notice in report.notices if notice not in party.report.notices)
        party.note(**{**rows, "phases": phases, "notices": notices})
