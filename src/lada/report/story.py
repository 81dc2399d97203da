"""The top of the page: what happened in one sentence, and the table that backs it."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from lada.core.plural import counted
from lada.core.results import Evaluation, PartyInfo
from lada.report.view import Table, View
from lada.report.words import difference, duration, interval, number, percent, size


def sentence(view: View) -> Markup:
    """Return what happened, with the numbers in bold."""
    if not view.rounds:
        return Markup("Nothing was evaluated in this run.")
    last = view.rounds[-1]
    clauses = [_clients(view, last), _servers(view, last)]
    told = Markup(", and ").join(clause for clause in clauses if clause)
    opening = f"In {counted(last, 'round')}, " if last > 0 else "Before the first round, "
    return escape(opening) + told + _boundary(view) + "."


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
    if number(before) == number(after):
        return Markup("stayed at <b>{}</b>").format(percent(after))
    verb = "rose" if after > before else "fell"
    return Markup("{} from <b>{}</b> to <b>{}</b>").format(verb, percent(before), percent(after))


def _boundary(view: View) -> str:
    if view.results.traffic:
        return "; no private sample is part of any message by construction (see the ledger)"
    return "; no message was exchanged" if len(view.parties) > 1 else ""


def summary(view: View) -> Table:
    """Return one row per party: who it is, before and after, traffic, seconds."""
    head = ("party", "model", "all domains", "own domains", "other domains", "sent", "received", "compute")
    rows = []
    for party in view.parties:
        before, after = view.ends(party.name)
        rows.append(
            (
                Markup("<b>{}</b><br><small>{}</small>").format(party.name, party.role),
                Markup("{}<br><small>{}</small>").format(party.model, _inside(party)),
                *(_change(before, after, measure) for measure in ("overall", "own", "other")),
                size(view.sent(party.name)),
                size(view.received(party.name)),
                duration(view.seconds(party.name)),
            )
        )
    return Table(head, rows, "Percent right before → after, with 95 % intervals; bytes and seconds of each party.", 2)


def _inside(party: PartyInfo) -> str:
    """Return what is known of a party's model beside its name."""
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
    """Return who was missing when, and why."""
    rows = [(gone.party, f"{gone.round}", gone.phase, gone.why) for gone in view.results.missing]
    return Table(("client", "round", "phase", "why"), rows, "Clients without which a phase went on.", 4)
