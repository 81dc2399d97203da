"""The parts of a suite's file: its rows, its tables and its search."""

from pydantic import Field, model_validator

from lada.bench.hypotheses import Area, SideName
from lada.bench.layers import Layer, Track
from lada.core.bounds import Seed
from lada.core.registry import Options

DEFAULT = "default"
"""The name of the unchanged row in a search."""
MOST_SETTINGS = 8
"""The most configurations that a search may try for a row, besides the unchanged row."""


class SuiteRow(Layer):
    """A method, under its name in the tables."""

    scenarios: tuple[str, ...] | None = None
    """The scenarios in which it can run; None: all."""
    tracks: tuple[Track, ...] = ()
    """What the parties may know about the public questions in its cells. Each track is a separate run, with its own
    `task.gold`. Empty (then in every row): as in the configuration."""
    by_track: dict[Track, Layer] = Field(default={})
    """Keys that override the row's own, on one track."""
    after: str | None = None
    """An earlier row whose run of the same scenario, track, world, seed and budget this row needs: `{after}` in any
    text of its configuration becomes that run's folder."""
    curve: tuple[str, ...] = ()
    """The scenarios in which it also runs with the suite's other `budgets`."""


class Table(Options):
    """Rows that are compared with each other."""

    title: str
    """Its heading."""
    about: str = ""
    """A few sentences below it."""
    track: Track | None = None
    """The track; None: the only one that all of its rows have."""
    rows: tuple[str, ...]
    """The rows, in this order."""
    against: str
    """The row with which each of them is compared."""


class Search(Options):
    """Configurations that are tried only in the development worlds, with the same maximum number for every row."""

    side: SideName = "clients"
    """The side whose accuracy decides which is best."""
    area: Area = "overall"
    """On which questions."""
    scenarios: tuple[str, ...] | None = None
    """The scenarios, with equal weight; None: all of a row's."""
    seeds: tuple[Seed, ...] | None = None
    """The seeds; None: the suite's."""
    rows: dict[str, dict[str, Layer]]
    """By row and name: keys that override the row's own. The unchanged row is always tried too, as `default`."""

    @model_validator(mode="after")
    def _few_with_names(self) -> "Search":
        for row, settings in self.rows.items():
            if DEFAULT in settings:
                raise ValueError(f"rows.{row}: {DEFAULT!r} is the row as it stands, which is always tried")
            if not 1 <= len(settings) <= MOST_SETTINGS:
                raise ValueError(f"rows.{row} has {len(settings)} configurations; expected 1 to {MOST_SETTINGS}")
        return self


def best(row: str) -> str:
    """Return the name of a row with the best configuration of a search."""
    return f"{row}, best"


def unsearched(row: str) -> str:
    """Return the row whose best configuration this is, or the row itself."""
    return row.removesuffix(best(""))
