"""The top of the page: the outcome in one sentence, and the table behind it."""

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup, escape

from lada.core.plural import MANY, counted
from lada.core.results import Evaluation, PartyInfo
from lada.report.spread import LABELS, spread
from lada.report.view import Table, View
from lada.report.words import NONE, difference, duration, interval, number, percent, size

HEAD = ("party", "model", "all domains", "own domains", "other domains", "general skill", "sent", "received",
        "compute")  # fmt: skip
TOLD = ("overall", "own", "other", "general")
EXTREMES = 10
"""How many clients are shown at either end if there are many."""


def sentence(view: View) -> Markup:
    """Return the outcome as a sentence, with the numbers in bold."""
    if not view.rounds:
        return Markup("Nothing was evaluated in this run.")
    last = view.rounds[-1]
    clauses = [_clients(view, last), _servers(view, last)]
    told = Markup(", and ").join(clause for clause in clauses if clause)
    opening = f"In {counted(last, 'round')}, " if last > 0 else "Before the first round, "
    return escape(opening) + told + _boundary(view) + "." + _forgetting(view, last)


def _clients(view: View, last: int) -> Markup:
    clients = view.clients
    if not clients:
        return Markup("")
    who = counted(len(clients), "client")
    if len(clients) == 1:
        who = f"the client {clients[0].name}"
    told = escape(who) + " " + _moved(view, clients, last) + " on all domains"
    if len(clients) > 1:
        told += " on average"
    servers = {party.name for party in view.servers}
    if any(row.teacher in servers and row.chosen for row in view.results.allocations):
        told += " while learning from the LLM"
    return told


def _forgetting(view: View, last: int) -> Markup:
    """Return a sentence on the clients' general skill; empty before the first round, or if it was not measured."""
    before, after = (view.mean_of(view.clients, "general", round) for round in (view.rounds[0], last))
    if last == view.rounds[0] or before is None or after is None:
        return Markup("")
    who = "The client’s" if len(view.clients) == 1 else "The clients’"
    return Markup(" {} general skill {}.").format(who, _change_of(before, after))


def _servers(view: View, last: int) -> Markup:
    servers = view.servers
    if not servers:
        return Markup("")
    before, after = (view.mean_of(servers, "other", round) for round in (view.rounds[0], last))
    if view.clients and last > 0 and before is not None and after is not None:
        change = after - before
        if round(change, 1) == 0:
            return Markup("the LLM stayed at <b>{}</b> on the clients’ domains").format(percent(after))
        verb = "gained" if change > 0 else "lost"
        return Markup("the LLM {} <b>{} points</b> on the clients’ domains").format(verb, number(abs(change)))
    return Markup("the LLM ") + _moved(view, servers, last) + " on all domains"


def _moved(view: View, parties: Sequence[PartyInfo], last: int) -> Markup:
    before, after = (view.mean_of(parties, "overall", round) for round in (view.rounds[0], last))
    if before is None or after is None:
        return Markup("took part")
    if last == view.rounds[0]:
        verb = "answers" if len(parties) == 1 else "answer"
        return Markup("{} <b>{}</b> of the questions right").format(verb, percent(after))
    return _change_of(before, after)


def _change_of(before: float, after: float) -> Markup:
    if number(before) == number(after):
        return Markup("stayed at <b>{}</b>").format(percent(after))
    verb = "rose" if after > before else "fell"
    return Markup("{} from <b>{}</b> to <b>{}</b>").format(verb, percent(before), percent(after))


def _boundary(view: View) -> str:
    if view.results.traffic:
        return "; LaDa put no private sample into any message (see the ledger)"
    return "; no message was exchanged" if len(view.parties) > 1 else ""


def summary(view: View) -> Table:
    """Return one row per party: name and model, before and after, traffic, seconds."""
    caption = (
        "Percent of test questions right before the first round → after the last, with 95 % intervals. General skill "
        "needs no domain knowledge; if it falls, the model has forgotten something."
    )
    rows = [_party(view, party) for party in view.listed]
    if not view.many:
        return Table(HEAD, rows, caption, 2)
    models = counted(len({client.model for client in view.clients}), "model")
    caption += f" The last rows show how each number is distributed over the {view.crowd}."
    return Table(HEAD, [*rows, *_crowd(view, models)], caption, 2)


def _party(view: View, party: PartyInfo) -> tuple[str, ...]:
    before, after = view.ends(party.name)
    return (
        Markup("<b>{}</b><br><small>{}</small>").format(party.name, party.role),
        Markup("{}<br><small>{}</small>").format(party.model, _inside(party)),
        *(_change(before, after, measure) for measure in TOLD),
        size(view.sent(party.name)),
        size(view.received(party.name)),
        duration(view.seconds(party.name)),
    )


def _crowd(view: View, models: str) -> list[tuple[str, ...]]:
    """Return the distribution of the clients' values: for each accuracy before, after and the change."""
    names = [client.name for client in view.clients]
    ends = [view.ends(name) for name in names]
    places: list[list[dict[str, float] | None]] = []
    for measure in TOLD:
        before, after = ([value_of(pair[place], measure) for pair in ends] for place in (0, 1))
        changes = [None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)]
        places.append([spread(column) for column in (before, after, changes)])
    rest = [(spread(map(of, names)), show) for of, show in
            ((view.sent, size), (view.received, size), (view.seconds, duration))]  # fmt: skip
    return [
        (
            Markup("<b>{}</b><br><small>{}</small>").format(view.crowd, label),
            models,
            *(_places(*each, label=label) for each in places),
            *(show(found[label]) if found else NONE for found, show in rest),
        )
        for label in LABELS
    ]


def _places(
    before: dict[str, float] | None, after: dict[str, float] | None, change: dict[str, float] | None, *, label: str
) -> Markup:
    if before is None or after is None or change is None:
        known = before or after
        return escape(number(known[label] if known else None))
    kind = "rise" if change[label] >= 0 else "fall"
    return Markup('{} → {} <em class="{}">{}</em>').format(
        number(before[label]), number(after[label]), kind, difference(change[label])
    )


def extremes(view: View) -> list[Table]:
    """Return the clients that gained most and least over all domains; empty if each client has a row."""
    if not view.many:
        return []
    moved = [(change, client) for client in view.clients if (change := gained(view, client)) is not None]
    moved.sort(key=lambda pair: (-pair[0], pair[1].name))
    lost = sum(change < 0 for change, _ in moved)
    least = (
        f"The {EXTREMES} that gained least, or lost. {lost} of {len(moved)} clients have a lower accuracy than before."
    )
    return [
        Table(HEAD, [_party(view, client) for _, client in clients], caption, 2)
        for clients, caption in (
            (moved[:EXTREMES], f"The {EXTREMES} of the {view.crowd} that gained most over all domains."),
            (moved[: -EXTREMES - 1 : -1], least),
        )
    ]


def value_of(end: Evaluation | None, measure: str) -> float | None:
    """Return one of an evaluation's values TOLD; None if it was not measured."""
    interval = None if end is None else getattr(end, measure)
    return None if interval is None else interval.value


def gained(view: View, party: PartyInfo) -> float | None:
    """Return a party's change over all domains, percentage points; None if unknown."""
    before, after = view.ends(party.name)
    return None if before is None or after is None else after.overall.value - before.overall.value


def _inside(party: PartyInfo) -> str:
    """Return what is known about a party's model besides its name."""
    if party.architecture == "api":
        return "behind an API"
    parameters = f"{party.parameters:,}".replace(",", "\u202f")
    return f"{party.architecture}, {parameters} parameters"


def _change(before: Evaluation | None, after: Evaluation | None, measure: str) -> Markup:
    """Return `before → after +change` over its intervals in small type."""
    first, last = (None if end is None else getattr(end, measure) for end in (before, after))
    if first is None or last is None:
        return interval(last or first)
    change = last.value - first.value
    return Markup('{} → {} <em class="{}">{}</em><br><small>{}–{} → {}–{}</small>').format(
        number(first.value), number(last.value), "rise" if change >= 0 else "fall", difference(change),
        number(first.low), number(first.high), number(last.low), number(last.high),
    )  # fmt: skip


def missing(view: View) -> Table:
    """Return the missing clients with time and reason; if there are many, how often the most frequent ones were
    missing."""
    head, caption = ("client", "round", "phase", "why"), "Clients without which a phase continued."
    if view.many and len(view.results.missing) > MANY:
        times = Counter((gone.party, gone.why) for gone in view.results.missing)
        rows = [(party, "all", counted(count, "time"), why) for (party, why), count in times.most_common(MANY)]
        caption += (
            f" In total, {len(view.results.missing)} times. These were missing most often; results.json has each time."
        )
        return Table(head, rows, caption, 4)
    rows = [(gone.party, f"{gone.round}", gone.phase, gone.why) for gone in view.results.missing]
    return Table(head, rows, caption, 4)
