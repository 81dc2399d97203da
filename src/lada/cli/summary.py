"""The table that is printed at the end of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from lada.core.plural import counted
from lada.core.results import Evaluation, PartyInfo, Results
from lada.report.spread import LABELS, spread
from lada.report.view import View
from lada.report.words import size

COLUMNS = ("party", "all\ndomains", "own\ndomains", "other\ndomains", "general\nskill", "sent", "time")
SCOPES = ("overall", "own", "other", "general")
EXTREMES = 5
"""How many clients are listed at either end if there are many."""


def summary(results: Results) -> Table:
    """Return a row for each party: accuracy before → after on all, own and other domains, traffic, computing seconds.

    Many clients are summarised: the distribution of each number, and who gained most and least.
    """
    view = View(results)
    last = view.rounds[-1] if view.rounds else 0
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.title = f"{results.name}: accuracy in percent, before → after {counted(last, 'round')}"
    for column in COLUMNS:
        is_number = column != "party"
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number)
    lines = {p.name: Line(_ends(view, p), view.sent(p.name), view.seconds(p.name)) for p in view.parties}
    listed = sorted(view.listed, key=lambda p: (p.role != "server", p.name))
    more = []
    if view.many:
        clients = [lines[client.name] for client in view.clients]
        for place, numbers in _places(clients):
            table.add_row(f"{view.crowd}, {place}", *numbers)
        ranked = sorted(view.clients, key=lambda client: (-(lines[client.name].gain or 0.0), client.name))
        listed += ranked[:EXTREMES] + ranked[-EXTREMES:]
        lost = sum((line.gain or 0.0) < 0 for line in clients)
        more = [
            f"of {view.crowd}, the {EXTREMES} that gained most and the {EXTREMES} that gained least are listed; {lost} "
            "score lower than before; report.html finds each, results.json has all"
        ]
    for party in listed:
        line = lines[party.name]
        scopes = (_change(*line.values(scope)) for scope in SCOPES)
        name = f"{party.name} (server)" if party.role == "server" else party.name
        table.add_row(name, *scopes, size(line.sent), f"{line.seconds:.0f} s")
    table.caption = "\n".join([f"{results.wall_clock.seconds:.0f} s in total", *more, *cut(results.faulty_studies())])
    return table


def cut(lines: Sequence[str], most: int = 50) -> list[str]:
    """Return the first lines, then how many more results.json has."""
    left = len(lines) - most
    return [*lines[:most], f"and {left} more, see results.json"] if left > 0 else list(lines)


@dataclass(frozen=True, slots=True)
class Line:
    """The numbers of one party's row."""

    ends: tuple[Evaluation | None, Evaluation | None]
    sent: int
    seconds: float

    def values(self, scope: str) -> tuple[float | None, float | None]:
        """Return the accuracy before and after, in percent."""
        before, after = (None if end is None else getattr(end, scope) for end in self.ends)
        return (before and before.value, after and after.value)

    @property
    def gain(self) -> float | None:
        """The change of accuracy over all domains, percentage points."""
        before, after = self.values("overall")
        return None if before is None or after is None else after - before


def _ends(view: View, party: PartyInfo) -> tuple[Evaluation | None, Evaluation | None]:
    """Return the evaluation before the first round and the last evaluation."""
    first, last = view.ends(party.name)
    return first, last or first


def _places(lines: Sequence[Line]) -> Iterator[tuple[str, list[str]]]:
    """Yield the row of each place from minimum to maximum, and of the mean."""
    both = {
        scope: [spread(column) for column in zip(*(line.values(scope) for line in lines), strict=True)]
        for scope in SCOPES
    }
    sent, seconds = spread(line.sent for line in lines), spread(line.seconds for line in lines)
    for place in LABELS:
        scopes = [_change(*(found[place] if found else None for found in both[scope])) for scope in SCOPES]
        assert sent is not None
        assert seconds is not None
        yield place, [*scopes, size(sent[place]), f"{seconds[place]:.0f} s"]


def _change(before: float | None, after: float | None) -> str:
    return "–" if before is None or after is None else f"{before:.1f} → {after:.1f}"
