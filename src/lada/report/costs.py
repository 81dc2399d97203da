"""The sections on a run's costs: bytes over the wire, seconds of compute and of exchange."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest

from lada.core.plural import counted
from lada.core.results import PhaseTime
from lada.report.charts import STYLES, Span, bars
from lada.report.spread import spread_rows
from lada.report.view import Figure, Table, View
from lada.report.words import NONE, duration, size

SHOWN_BARS = 16
"""More bars than this are added up into one."""
SLOWEST = 5
"""How many clients of a phase are listed by name if there are many."""
ENDS = {"sent": "sender", "received": "receiver"}
WIDE = 880


def _styles(names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return (style, key) by name, in the order of first appearance."""
    return {name: (1 + i % (STYLES - 1), f"{i + 1}") for i, name in enumerate(dict.fromkeys(names))}


def _legend(styles: Mapping[str, tuple[int, str]]) -> list[tuple[int, str, str]]:
    return [(style, key, name) for name, (style, key) in styles.items()]


def _stack(
    label: str, amounts: Mapping[str, float], styles: Mapping[str, tuple[int, str]], show: Callable[[float], str]
) -> tuple[str, list[Span]]:
    """Return one stacked bar, its pieces in the order of the legend."""
    spans, start = [], 0.0
    for name, (style, key) in styles.items():
        if amounts.get(name):
            spans.append(Span(start, amounts[name], style, key, name, f"{label}, {name}: {show(amounts[name])}"))
            start += amounts[name]
    return label, spans


def traffic(view: View) -> tuple[Figure, Table, Table]:
    """Return the bytes that crossed the wire: bars, a table by party and kind, and one by message."""
    rows = view.results.traffic
    styles = _styles([row.kind for row in rows])
    by_round: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    by_party: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    names = [party.name for party in view.parties]
    shown = names if len(names) * 2 <= SHOWN_BARS else names[: SHOWN_BARS // 2 - 1]
    others = f"{counted(len(names) - len(shown), 'other party', 'other parties')}"
    sums = {name: {verb: Counter[str]() for verb in ENDS} for name in names}
    for row in sorted(rows, key=lambda row: row.round):
        by_round[f"round {row.round}"][row.kind] += row.bytes
        for verb, end in ENDS.items():
            if (party := getattr(row, end)) in sums:
                sums[party][verb][row.kind] += row.bytes
    for name, label in zip(names, shown + [others] * (len(names) - len(shown)), strict=True):
        for verb, amounts in sums[name].items():
            for kind, amount in amounts.items():
                by_party[f"{label} {verb}"][kind] += amount
    charts = [
        bars(title, description, [_stack(label, amounts, styles, size) for label, amounts in table.items()], show=size)
        for title, description, table in (
            ("By round", "Bytes of all messages of a round, by kind.", by_round),
            ("By party", "Bytes that each party sent and received, by kind.", by_party),
        )
        if table
    ]
    told = (
        "A bar is the number of bytes in all encoded messages, split by what they carry. The run’s ledger lists every "
        "message."
    )
    totals = [
        (party.name, kind, *(size(amounts[kind]) for amounts in sums[party.name].values()))
        for party in view.listed
        for kind in styles
        if any(kind in amounts for amounts in sums[party.name].values())
    ]
    if view.many:
        for kind in styles:
            columns = [([sums[client.name][verb][kind] for client in view.clients], _size) for verb in ENDS]
            totals += spread_rows(view.crowd, columns, beside=(kind,))
    messages = [
        (f"{round}", sender, receiver, kind, f"{number}", size(amount))
        for (round, sender, receiver, kind), (number, amount) in _messages(view).items()
    ]
    return (
        Figure(told, charts, _legend(styles)),
        Table(("party", "kind", "sent", "received"), totals, "Bytes by party and kind, all rounds together.", 2),
        Table(
            ("round", "sender", "receiver", "kind", "messages", "bytes"),
            messages,
            "Bytes by round, sender, receiver and kind.",
            4,
        ),
    )


def _messages(view: View) -> dict[tuple[int, str, str, str], tuple[int, int]]:
    """Return how many messages and bytes there were by round, sender, receiver and kind; many clients are one."""
    listed = {party.name for party in view.listed}
    sums: dict[tuple[int, str, str, str], tuple[int, int]] = {}
    for row in view.results.traffic:
        sender, receiver = (
            name if not view.many or name in listed else view.crowd for name in (row.sender, row.receiver)
        )
        key = (row.round, sender, receiver, row.kind)
        number, amount = sums.get(key, (0, 0))
        sums[key] = number + row.messages, amount + row.bytes
    return sums


def _size(count: float | None) -> str:
    return NONE if count is None else size(count)


def time(view: View) -> tuple[Figure, Table]:
    """Return the timeline: a bar per party along the run's clock, and seconds by party and phase."""
    styles = _styles([phase.phase for phase in view.results.wall_clock.phases])
    by_party: dict[str, list[PhaseTime]] = defaultdict(list)
    for phase in view.results.wall_clock.phases:
        by_party[phase.party].append(phase)
    rows, cells = [], []
    busiest = sorted(view.clients, key=lambda client: -view.seconds(client.name))[:SHOWN_BARS] if view.many else []
    for party in (*view.listed, *busiest):
        own = sorted(by_party[party.name], key=lambda phase: phase.start)
        spans = [
            Span(phase.start, phase.seconds, *styles[phase.phase], phase.phase,
                 f"{party.name}, round {phase.round}, {phase.phase}: {duration(phase.seconds)} "
                 f"from {duration(phase.start)}")
            for phase in own
        ]  # fmt: skip
        if spans:
            rows.append((party.name, spans))
            sums = _seconds(own, styles)
            cells.append((party.name, *map(_passed, sums), duration(sum(sums))))
    chart = bars(
        "Who did what when", "What each party did when, from the start of the run.", rows, show=duration, width=WIDE
    )
    told = (
        "A bar is one phase of one party, at its time in the run. In the gaps, the party waited. The run took "
        f"{duration(view.results.wall_clock.seconds)} with {counted(len(view.parties), 'party', 'parties')}."
    )
    if view.many:
        told += f" The chart has the {len(busiest)} clients that computed longest."
        sums = [_seconds(by_party[client.name], styles) for client in view.clients]
        columns = [(column, _passed) for column in zip(*sums, strict=True)]
        cells += spread_rows(view.crowd, [*columns, (map(sum, sums), _passed)])
    figure = Figure(told, [chart] if rows else [], _legend(styles), wide=True)
    return figure, Table(("party", *styles, "all phases"), cells, "Seconds of compute by party and phase, all rounds.")


def _seconds(phases: Sequence[PhaseTime], names: Iterable[str]) -> list[float]:
    """Return the seconds of a party in each phase, all rounds together."""
    sums: dict[str, float] = defaultdict(float)
    for phase in phases:
        sums[phase.phase] += phase.seconds
    return [sums[name] for name in names]


def _passed(seconds: float | None) -> str:
    return duration(seconds) if seconds else NONE


def generation(view: View) -> Table:
    """Return the calls and tokens of an augmenter by round, and the fate of the drafts; no rows without one."""
    rows = [
        (
            f"{row.round}",
            *(f"{number:,}" for number in (row.calls, row.read, row.written, row.drafts, row.kept, row.pool)),
            ", ".join(f"{number} {why}" for why, number in row.refused.items()) or NONE,
        )
        for row in view.results.augmentations
    ]
    caption = (
        "Questions that the LLM wrote during the run: its calls with their tokens, and how many questions were kept or "
        "refused. The pool is what all rounds so far have kept."
    )
    return Table(("round", "calls", "read", "written", "drafts", "kept", "pool", "refused"), rows, caption)


def exchange(view: View) -> tuple[Table, Table]:
    """Return how long messages took, without computing: a table by round and phase, and one by client."""
    times = view.results.wall_clock.exchanges
    phases = [
        (f"{row.round}", row.phase, duration(row.waited), _known(row.computing), _known(row.exchange)) for row in times
    ]
    clients = [
        (f"{row.round}", row.phase, one.party, duration(one.elapsed), _known(one.computing), _known(one.exchange))
        for row in times
        for one in (nlargest(SLOWEST, row.clients, key=lambda one: one.elapsed) if view.many else row.clients)
    ]
    caption = "Exchange by client: the time from a message to the complete reply, and how much of it was not computing."
    if view.many:
        caption += f" The table has the {SLOWEST} slowest clients of each phase; results.json has all."
    known = [row.exchange for row in times if row.exchange is not None]
    told = (
        f"Exchange took {duration(sum(known))} in total. It is the time in which the server only waited, minus the "
        "computing time that the slowest client reports. Waiting for a free worker counts as exchange. Messages that "
        "passed while the server computed do not count, and neither do replies from before a run was resumed."
    )
    return (
        Table(("round", "phase", "server waited", "slowest client computed", "exchange"), phases, told, 2),
        Table(
            ("round", "phase", "client", "sent to replied", "computing", "exchange"),
            clients,
            caption,
            3,
        ),
    )


def _known(seconds: float | None) -> str:
    return NONE if seconds is None else duration(seconds)
