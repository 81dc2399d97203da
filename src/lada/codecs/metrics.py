"""What a party measured, as bytes: records of lada.core.results in JSON, since they are few and people look at them."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lada.codecs import times
from lada.codecs.base import CODECS, Codec, Reading, Text, Words
from lada.codecs.ranges import out_of_range
from lada.codecs.table import LIMIT
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.plural import counted
from lada.core.results import PartyReport, Record, key_of
from lada.evaluation.membership import ATTACKS, MOST
from lada.tasks.data import TaskData

KIND = times.REPORT
LONGEST = 500
"""Most characters of any text in a report."""
DIAGNOSTICS, DOMAINS = 64, 1000
"""Most entries of an allocation's diagnostics and of a party's domains."""
REPORTED = ("evaluations", "studies", "allocations", "phases", "parties", "memberships", "withheld")
"""What a client tells of itself."""
ONCE = tuple(name for name in REPORTED if name not in {"phases", "withheld"})
"""What is told once: a phase may have several times, and paths and token scores are withheld apart."""
DIGEST = re.compile("[0-9a-f]{64}")
"""A SHA-256: its digits and letters would be words."""
R = TypeVar("R", bound=Record)


@cache
def _adapter(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind])  # pyright: ignore[reportInvalidTypeForm]


def encode_records(records: Sequence[Record]) -> bytes:
    """Return records of one type as a JSON list in UTF-8."""
    return f"[{','.join(record.model_dump_json() for record in records)}]".encode()


def decode_records(data: bytes, kind: type[R], *, limit: int = LIMIT) -> list[R]:
    """Return records of type `kind`. Raises CodecError, and nothing else, for other bytes or more than `limit`."""
    if len(data) > limit:
        raise CodecError(f"{kind.__name__}: {counted(len(data), 'byte')}; expected at most {limit}")
    try:
        return _adapter(kind).validate_json(data)
    except ValidationError as error:
        location = error.errors(include_input=False)[0]["loc"][:2]  # what lies deeper may be the sender's own words
        where = ".".join(str(part) for part in location if isinstance(part, int) or part in kind.model_fields)
        raise CodecError(f"{kind.__name__}: not readable at {where or 'the top'}") from error


@CODECS.register(KIND)
class Metrics(Codec[PartyReport, PartyReport]):
    """What a party measured of itself, without the times, which travel separately."""

    kind = KIND
    about_the_run = True

    def encode(self, state: State, value: PartyReport) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode_records([value])

    def decode(self, data: bytes, reading: Reading) -> PartyReport:
        """See Codec.decode."""
        reports = decode_records(data, PartyReport, limit=reading.receiver.limits.report_bytes)
        if len(reports) != 1:
            raise CodecError(f"metrics: {len(reports)} reports; expected one")
        return reports[0]

    def check(self, received: PartyReport, reading: Reading) -> None:
        """See Codec.check. A report is about its sender and this round, and its numbers can be.

        Every number is in its range (lada.codecs.ranges). How many rows there may be is the host's to say.
        """
        receiver, sender, round, report = reading.receiver, reading.sender, reading.round, timed(reading)
        expect(not report.missing, "missing: a client cannot say who is missing")
        expect(not report.exchanges, "exchanges: a client cannot say how long messages took")
        expect(
            len(report.notices) <= receiver.limits.notices,
            f"notices: more than limits.notices, {receiver.limits.notices}",
        )
        known = {sample.domain for sample in receiver.task.test}  # the server's own data may name them as they like
        for where, value in _texts("report", report.model_dump()):
            plain = len(value) <= LONGEST and value.isprintable()
            expect(plain or value in known, f"{where}: a text too long or not printable")
        for name in REPORTED:
            for row in getattr(report, name):
                faults = next(out_of_range(row), None)
                expect(faults is None, f"{name}: {faults}: a number out of range")
                expect(getattr(row, "party", sender) == sender, f"{name}: party: another than the sender")
                expect(getattr(row, "round", round) == round, f"{name}: round: another than the message's")
        for name in ONCE:
            rows = getattr(report, name)
            expect(len({key_of(row) for row in rows}) == len(rows), f"{name}: the same twice")
        for row in report.studies:
            expect(row.skipped <= row.steps, "studies: more steps skipped than there were")
            expect(row.cut <= row.lessons, "studies: more lessons cut than there were")
            expect(row.unfinished <= row.lessons, "studies: more lessons on cut answers than there were")
        for row in report.allocations:
            expect(row.student == sender and row.teacher == receiver.name, "allocations: of other parties")
            expect(max(row.chosen, row.from_teacher) <= row.candidates, "allocations: more chosen than candidates")
            expect(row.candidates <= len(receiver.task.public), "allocations: more candidates than public samples")
            expect(len(row.diagnostics) <= DIAGNOSTICS, f"allocations: diagnostics: more than {DIAGNOSTICS}")
            expect(sum(row.styles.values()) in (0, row.chosen), "allocations: styles of another number than chosen")
            expect(len(row.styles) <= row.chosen, "allocations: more styles than chosen")
        _check_evaluations(receiver.task, report)
        for row in report.withheld:
            expect(max(row.sampled_again + row.withheld, row.scores) <= row.paths, "withheld: more than there were")
        for row in report.parties:
            expect((row.name, row.role) == (sender, "client"), "parties: another than the sender")
            expect(row.weights == "" or _is_digest(row.weights), "parties: weights: not a SHA-256")
            expect(len(row.domains) <= DOMAINS, f"parties: domains: more than {DOMAINS}")
        for row in report.memberships:
            expect(row.attack in ATTACKS, f"memberships: attack: expected one of {', '.join(ATTACKS)}")
            expect(max(row.members, row.others) <= MOST, f"memberships: more than {MOST} samples")

    def claims(self, received: PartyReport) -> Iterator[int]:
        """See Codec.claims."""
        yield from (row.private_samples for row in received.parties)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        decode_records(data, PartyReport)
        yield from (("a report", text, False) for text in strings(data) if not DIGEST.fullmatch(text))


def timed(reading: Reading) -> PartyReport:
    """Return the report of a message with the times that travel beside it."""
    report, measured = reading.part(KIND), reading.part(times.KIND)
    phases = tuple(
        phase.model_copy(update={"start": start, "seconds": seconds, "peak_memory": int(memory)})
        for phase, (start, seconds, memory) in zip(report.phases, measured.tolist(), strict=True)
    )
    return report.model_copy(update={"phases": phases})


def _check_evaluations(task: TaskData, report: PartyReport) -> None:
    domains = Counter(sample.domain for sample in task.test)
    levels = Counter(str(sample.difficulty) for sample in task.test)
    for row in report.evaluations:
        expect(row.agreement is None, "evaluations: agreement: it is the server's to say")
        for received, known, what in ((row.domains, domains, "domains"), (row.difficulty, levels, "difficulties")):
            expect(received.keys() <= known.keys(), f"evaluations: {what} that the task does not have")
            expect(
                all(received[key].count <= known[key] for key in received), "evaluations: more questions than there are"
            )
        for each in (row.overall, row.own, row.other, row.general, row.new, row.mixed):
            expect(each is None or each.count <= len(task.test), "evaluations: more questions than there are")
        expect(row.cut <= len(task.test), "evaluations: more answers cut than there are")


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


def strings(data: bytes) -> Iterator[str]:
    """Yield the strings of a JSON document, keys too; nothing where it is none."""
    if data[:1] not in (b"[", b"{"):
        return
    try:
        left: list[Any] = [json.loads(data)]
    except (ValueError, RecursionError):
        return
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value


def expect(sound: bool, fault: str) -> None:
    """Raise FederationError for a report with a fault."""
    if not sound:
        raise FederationError(f"metrics: {fault}")
