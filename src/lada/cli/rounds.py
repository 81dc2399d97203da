"""What happens in a host's round, for the terminal and the documentation."""

from collections.abc import Iterable, Iterator

from rich.table import Table

from lada.choosing import host_default
from lada.core.registry import Method
from lada.hosts.base import Host
from lada.objectives.base import OBJECTIVES
from lada.points import POINTS
from lada.rounds.base import Step
from lada.rounds.engine import rows

HEADER = ("phase", "each client", "the server")


def round_rows(method: Method[Host]) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a host's first round under `plugin: none`, in HEADER's columns."""
    bare = method.make(method.options()).bare
    objective = host_default(bare, POINTS[OBJECTIVES.kind])
    assert objective is not None
    steps = method.made(bare.options).round(1, OBJECTIVES.make(objective.name, objective.options))
    for row in rows(steps):
        yield row.phase or "–", _told(row.client), _told(row.server)


def round_table(method: Method[Host]) -> Table:
    """Return a host's first round: one row for each phase and for what the server does between two phases."""
    table = Table(*HEADER, title="the first round")
    for row in round_rows(method):
        table.add_row(*row)
    return table


def _told(steps: Iterable[Step]) -> str:
    """Return steps as text: the name each is timed under, and what is sent afterwards."""
    return "; ".join(f"{s.phase} → {', '.join(s.sends)}" if s.sends else s.phase for s in steps) or "–"
