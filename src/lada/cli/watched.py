"""What `lada watch` shows: a head line, a table of the parties and the latest notices."""

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from lada.core.plural import MANY, counted
from lada.core.shown import in_one_line
from lada.report.words import difference, duration, number, percent, size
from lada.watching.watch import PartySnapshot, Snapshot

STYLES = {"waiting": "yellow", "running": "green", "finished": "bold green", "failed": "bold red", "stopped": "red"}
AROUND = 5
"""Terminal lines that hold no row or notice: the head, the table's frame, the count of omitted rows, the cursor."""
DOINGS = {"nothing": "idle"} | {doing: doing for doing in ("failed", "missing", "working", "asked", "answered")}
FIRST = ("failed", "missing", "working", "asked", "answered", "nothing")
"""The states whose rows are shown first if not all fit."""


def shown(now: Snapshot, clock: float, height: int | None = None) -> RenderableType:
    """Return the state of a run. `clock` is the Unix time; with `height`, the view is cut to that many lines."""
    parties, left_out = now.parties, ""
    notices = [
        Text(
            in_one_line(f"note: {notice}"),
            overflow="fold" if height is None else "ellipsis",
            no_wrap=height is not None,
        )
        for notice in now.notices
    ]
    if height is not None and len(parties) > (
        rows := max(height - AROUND - len(notices) - (len(parties) - 1 > MANY), 1)
    ):
        ranked = sorted(parties[1:], key=lambda party: FIRST.index(party.doing))
        kept = {parties[0].name, *(party.name for party in ranked[: rows - 1])}
        parties = tuple(party for party in parties if party.name in kept)
        left_out = f"and {counted(len(now.parties) - len(parties), 'party', 'parties')} more; --once shows all"
    table = Table(
        Column("party", overflow="fold"),
        Column("doing", ratio=2),
        Column("done", justify="right"),
        Column("tokens/s", justify="right"),
        Column("seen ago", justify="right"),
        Column("sent", justify="right"),
        Column("received", justify="right"),
        Column("accuracy", justify="right"),
        Column("change", justify="right"),
        Column("loss", justify="right"),
        box=None,
        padding=(0, 1, 0, 0),
    )
    for party in parties:
        table.add_row(*_row(party, clock))
    return Group(_head(now), *_doings(now), table, *([Text(left_out, style="dim")] if left_out else []), *notices)


def _head(now: Snapshot) -> Text:
    where = "" if now.round is None else f", round {now.round} of {now.rounds}"
    lost = f", {counted(now.unreadable, 'line')} of events.jsonl could not be read" if now.unreadable else ""
    head = Text(f"{now.run}: ")
    return head.append(now.state, STYLES[now.state]).append(f"{where}, {duration(now.elapsed)}{lost}")


def _doings(now: Snapshot) -> list[Text]:
    """Return how many parties are in each state, as one line."""
    if len(now.parties) - 1 <= MANY:  # the server is no client
        return []
    doings = Counter(party.doing for party in now.parties)
    return [Text(", ".join(f"{doings[doing]} {DOINGS[doing]}" for doing in FIRST if doings[doing]))]


def _row(party: PartySnapshot, clock: float) -> list[Text]:
    progress = "" if party.total is None else f"{party.done}/{party.total}"
    speed = "" if party.tokens_per_second is None else f"{party.tokens_per_second:,.0f}"
    seen = "" if party.last_seen is None else f"{duration(max(clock - party.last_seen, 0.0))}"
    accuracy = percent(party.accuracy["overall"]) if "overall" in party.accuracy else ""
    change = "" if party.change is None else difference(party.change)
    loss = f"{number(party.losses[-1].first, 3)} → {number(party.losses[-1].last, 3)}" if party.losses else ""
    cells = (progress, speed, seen, size(party.sent), size(party.received), accuracy, change, loss)
    return [Text(party.name), _doing(party), *map(Text, cells)]


def _doing(party: PartySnapshot) -> Text:
    if party.doing == "failed" and party.error is not None:
        when = f" in round {party.round}, {party.phase}" if party.phase else ""
        return Text(in_one_line(f"failed{when}: {party.error}"), style="red", overflow="fold")
    if party.doing == "missing" and party.last_missed:
        gone = party.last_missed
        return Text(
            in_one_line(f"missing in round {gone.round}, {gone.phase}: {gone.why}"), style="red", overflow="fold"
        )
    times = f" (missing {party.missed}×)" if party.missed else ""
    if party.doing == "asked":
        return Text(f"asked: {party.phase}{times}")
    if party.doing == "working":
        verb = f" ({party.verb})" if party.verb and party.verb != party.phase else ""
        return Text(f"{party.phase}{verb}{times}")
    return Text(("–" if party.doing == "nothing" else party.doing) + times, style="dim")
