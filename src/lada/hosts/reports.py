"""Clients tell the server numbers about themselves; the server gathers them with its own."""

from collections.abc import Mapping

from lada.codecs.metrics import decode_records, encode_records
from lada.core.results import PartyReport
from lada.hosts.base import Payload
from lada.hosts.party import Party

KIND = "metrics"


def report_payload(party: Party) -> Payload:
    """Return the message part that hands a party's report on."""
    return {KIND: encode_records([party.take_report()])}


def collect(party: Party, replies: Mapping[str, Payload]) -> None:
    """Add the reports in `replies` to the server's own, client by client."""
    for client in sorted(replies):
        for report in decode_records(replies[client][KIND], PartyReport):
            party.note(**{name: getattr(report, name) for name in PartyReport.model_fields})
