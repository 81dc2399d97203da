"""Clients tell the server numbers about themselves; the server gathers them with its own."""

from collections.abc import Mapping

import numpy as np

from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import CodecError
from lada.core.results import PartyReport
from lada.hosts.base import Payload
from lada.hosts.discretion import blur_report
from lada.hosts.party import Party

METRICS, TIMES = "metrics", "times"


def report_payload(party: Party) -> Payload:
    """Return the message parts that hand a party's report on.

    Times travel apart, as fixed-size numbers: else how long a phase took would show in the bytes of the metrics, and
    equal runs would not send equal messages.
    """
    report = party.take_report()
    if party.blur:
        report = blur_report(party.blur, report, party.blur.generator(party.seed, *_moment(report), "blur", party.name))
    times = np.array([(phase.start, phase.seconds) for phase in report.phases], dtype="<f8")
    timeless = tuple(phase.model_copy(update={"start": 0.0, "seconds": 0.0}) for phase in report.phases)
    return {METRICS: encode_records([report.model_copy(update={"phases": timeless})]), TIMES: times.tobytes()}


def _moment(report: PartyReport) -> tuple[int | str, ...]:
    """Return which of a party's reports this is."""
    return tuple(part for phase in report.phases for part in (phase.round, phase.phase))


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client. Raises CodecError for one that is amiss."""
    for client in sorted(replies):
        (report,) = decode_records(replies[client][METRICS], PartyReport)
        times = np.frombuffer(replies[client][TIMES], dtype="<f8")
        if times.size != 2 * len(report.phases):
            raise CodecError(f"times: {times.size} numbers for {len(report.phases)} phases; expected two each")
        phases = tuple(
            phase.model_copy(update={"start": float(start), "seconds": float(seconds)})
            for phase, (start, seconds) in zip(report.phases, times.reshape(-1, 2), strict=True)
        )
        rows = {name: getattr(report, name) for name in PartyReport.model_fields}
        party.note(**{**rows, "phases": phases})
