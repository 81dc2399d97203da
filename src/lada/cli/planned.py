"""Tables of plans for the terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from lada.core.plural import MANY, counted
from lada.core.results import Traffic
from lada.planning.plan import DevicePlan, GenerationPlan, PartyPlan, Plan, RoundPlan
from lada.report.words import duration, size


def plan_tables(plan: Plan) -> Iterator[RenderableType]:
    """Yield parties with their studies, rounds with their phases, memory, traffic, devices, notes."""
    plan = told_once(plan)
    methods = ", ".join(f"{kind} {names}" for kind, names in plan.methods.items())
    yield Text(f"{plan.name}: {counted(plan.rounds, 'round')}, {methods}")
    yield Text(f"{plan.public} public and {counted(plan.test, 'test question')} ({plan.data})")
    if plan.generation:
        yield _generation(plan.generation)
    yield _parties(plan)
    yield _studies(plan)
    if plan.times:
        yield _times(plan)
    for rounds in plan.schedule:
        yield _round(rounds)
    yield from memory_tables(plan)
    if plan.traffic:
        yield _traffic(plan.traffic)
    yield device_table(plan.devices)
    yield from remarks(plan)


def told_once(plan: Plan) -> Plan:
    """Return a plan in which clients that differ only in their names are one party, named after all of them."""
    clients = [party for party in plan.parties if party.role == "client"]
    if len(clients) <= MANY:
        return plan
    alike: dict[PartyPlan, list[str]] = {}
    for client in clients:
        alike.setdefault(client.model_copy(update={"name": ""}), []).append(client.name)
    groups = {name: _together(names) for names in alike.values() for name in names}
    parties = [party for party in plan.parties if party.role != "client"]
    parties += [client.model_copy(update={"name": _together(names)}) for client, names in alike.items()]
    sums: dict[tuple[int, str, str, str], tuple[int, int]] = {}
    for row in plan.traffic:
        key = (row.round, groups.get(row.sender, row.sender), groups.get(row.receiver, row.receiver), row.kind)
        messages, size = sums.get(key, (0, 0))
        sums[key] = messages + row.messages, size + row.bytes
    traffic = tuple(
        Traffic(round=round, sender=sender, receiver=receiver, kind=kind, messages=messages, bytes=size)
        for (round, sender, receiver, kind), (messages, size) in sums.items()
    )
    times = {groups.get(time.party, time.party): time for time in reversed(plan.times)}
    devices = tuple(
        device.model_copy(update={name: _each_once(getattr(device, name), groups) for name in ("parties", "missing")})
        for device in plan.devices
    )
    each = tuple(time.model_copy(update={"party": name}) for name, time in reversed(times.items()))
    return plan.model_copy(update={"parties": tuple(parties), "traffic": traffic, "devices": devices, "times": each})


def _each_once(names: Sequence[str], groups: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(groups.get(name, name) for name in names))


def _together(names: Sequence[str]) -> str:
    """Return one name for clients that are alike."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({counted(len(names), 'client')})"


def remarks(plan: Plan) -> Iterator[Text]:
    """Yield what is printed below the tables: notes on parties, notices, faults."""
    for party in plan.parties:
        if party.note:
            yield Text(f"note: {party.name}: {party.note}")
        if party.memory and party.memory.adapted is not None:
            share = f"LoRA adapts {party.memory.adapted:.0%} of the weights between embeddings and logits"
            yield Text(f"note: {party.name}: {share}")
    for notice in plan.notices:
        yield Text(f"note: {notice}")
    for fault in plan.faults:
        yield Text(f"missing here: {fault}", style="bold red")


def _generation(plan: GenerationPlan) -> Text:
    return Text(
        f"{plan.method} calls the LLM at most {counted(plan.round_calls, 'time')} a round, {plan.calls:,} in all: up "
        f"to {plan.read:,} tokens read and {plan.written:,} written"
    )


def _parties(plan: Plan) -> Table:
    table = Table("party", "model", "parameters", "device", "private", "tokens", title="parties")
    for party in plan.parties:
        table.add_row(
            party.name,
            party.model + (f" ({party.shape})" if "shipped" in party.shape else ""),
            _parameters(party),
            party.device,
            str(party.private) if party.role == "client" else "–",
            f"{party.prompt}, {party.mean:.0f} to {party.completion}",
        )
    sources = "; ".join(sorted({party.lengths for party in plan.parties}))
    table.caption = f"tokens: the longest prompt, then the average and the longest path ({sources})"
    return table


def _parameters(party: PartyPlan) -> str:
    """Return how many parameters a party's model has and, if not all are trained, how many are."""
    if party.memory is None:
        return "–"
    every, trained = party.memory.parameters, party.memory.trainable
    return f"{every:,}" if trained == every else f"{every:,}, {trained:,} trained"


def _studies(plan: Plan) -> Table:
    table = Table("party", "study", "steps", "batch", "at once", "tokens", title="studies of a round")
    for party in plan.parties:
        for study in party.studies:
            table.add_row(
                party.name,
                study.phase,
                str(study.steps),
                str(study.batch_size),
                str(study.micro_batch_size),
                f"{study.tokens:,}",
            )
    return table


def _times(plan: Plan) -> Table:
    table = Table("party", title="approximate time of all rounds")
    for name in ("studying", "answering", "reading", "in all"):
        table.add_column(name, justify="right")
    for time in plan.times:
        table.add_row(time.party, *map(duration, (time.studying, time.answering, time.reading, time.seconds)))
    unknown = [party.name for party in plan.parties if party.name not in {time.party for time in plan.times}]
    but = f"; not counted: {', '.join(unknown)}" if unknown else ""
    table.caption = f"{duration(plan.seconds)} in total, within a factor of two{but}"
    return table


def _round(rounds: RoundPlan) -> Table:
    numbers = str(rounds.first) if rounds.first == rounds.last else f"{rounds.first} to {rounds.last}"
    table = Table("who", "phase", "what is done", "then sends", title=f"round {numbers}")
    for step in rounds.steps:
        who = "server" if step.side == "server" else "each client"
        what = f"{step.verb} {step.samples}" if step.verb else "–"
        table.add_row(who, step.phase, what, ", ".join(step.sends) or "–")
    return table


STUDYING = {
    "weights": ("weights",),
    "training state": ("masters", "gradients", "optimizer"),
    "activations": ("activations",),
    "logits": ("study_logits",),
    "in all": ("studying",),
}
ANSWERING = {
    "weights": ("weights", "masters"),
    "one layer": ("working",),
    "cache": ("cache",),
    "logits": ("answer_logits",),
    "in all": ("answering",),
}
"""The columns of the memory tables, each with the parts of an estimate that it adds up."""


def memory_tables(plan: Plan) -> Iterator[Table]:
    """Yield the memory that each party needs to study and to answer."""
    for doing, columns in (("studying", STUDYING), ("answering", ANSWERING)):
        table = Table("party", title=f"maximum memory of tensors while {doing}")
        for name in columns:
            table.add_column(name, justify="right")
        for party in plan.parties:
            cells = [
                "unknown" if party.memory is None else size(sum(getattr(party.memory, part) for part in parts))
                for parts in columns.values()
            ]
            table.add_row(party.name, *cells)
        yield table


def _traffic(rows: tuple[Traffic, ...]) -> Table:
    table = Table("round", "from", "to", "kind", Column("bytes", justify="right"), title="traffic expected")
    shown = [row for row in rows if row.round <= 2]
    for row in shown:
        table.add_row(str(row.round), row.sender, row.receiver, row.kind, size(row.bytes))
    later = "" if shown[-1].round == rows[-1].round else "; later rounds equal the second"
    table.caption = (
        f"{size(sum(row.bytes for row in rows))} in all rounds{later}; not counted: a few kB of numbers per message"
    )
    return table


def device_table(plans: tuple[DevicePlan, ...]) -> Table:
    """Return how much memory each device needs at once and whether it has it."""
    table = Table("device", "parties", "needed at once", "free", "in all", "verdict", title="does it fit?")
    for plan in plans:
        table.add_row(
            plan.device,
            ", ".join(plan.parties) or "–",
            f"{size(plan.needed)}, {counted(plan.at_once, 'client')} at a time",
            size(plan.free),
            size(plan.total),
            _verdict(plan),
        )
    return table


def _verdict(plan: DevicePlan) -> str:
    but = f"; {', '.join(plan.missing)} not counted" if plan.missing else ""
    if plan.fits and plan.missing:
        return f"unknown{but}"
    if plan.fits:
        return "fits" if plan.needed <= plan.free else "fits, but not next to what is running now"
    if plan.remedies:
        return f"does not fit; would with {', '.join(plan.remedies)}{but}"
    return f"does not fit, and no key helps: use a smaller model or a larger device{but}"
