"""The table a run closes with."""

from rich.table import Table

from lada.core.plural import counted
from lada.core.results import Interval, Results


def summary(results: Results) -> Table:
    """Return party, accuracy before → after over all, own and other domains, traffic and seconds of computing."""
    last = max((evaluation.round for evaluation in results.evaluations), default=0)
    table = Table(title=f"{results.name}: accuracy in percent, before → after {counted(last, 'round')}")
    for column in ("party", "all domains", "own domains", "other domains", "general skill", "sent", "seconds"):
        table.add_column(column, justify="left" if column == "party" else "right")
    for party in sorted(results.parties, key=lambda p: (p.role != "server", p.name)):
        before, after = results.of(party.name, 0), results.of(party.name, last)
        sent = sum(row.bytes for row in results.traffic if row.sender == party.name and row.kind != "metrics")
        seconds = sum(phase.seconds for phase in results.wall_clock.phases if phase.party == party.name)
        table.add_row(
            f"{party.name} ({party.role})",
            *(_change(getattr(before, name), getattr(after, name)) for name in ("overall", "own", "other", "general")),
            f"{sent / 1000:,.1f} kB",
            f"{seconds:.0f}",
        )
    table.caption = "\n".join([f"{results.wall_clock.seconds:.0f} s in all", *results.faulty_studies()])
    return table


def _change(before: Interval | None, after: Interval | None) -> str:
    if before is None or after is None:
        return "–"
    return f"{before.value:.1f} → {after.value:.1f}"
