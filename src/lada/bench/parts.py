"""What a suite's file is made of: its rows, its tables and its search."""

from pydantic import Field, model_validator

from lada.bench.hypotheses import Area, SideName
from lada.bench.layers import Layer, Track
from lada.core.bounds import Seed
from lada.core.registry import Options

DEFAULT = "default"
"""What a row as it stands is called in a search."""
MOST_SETTINGS = 8
"""Configurations of a row that a search may try beside the row as it stands."""


class SuiteRow(Layer):
    """A method, as it is called in the tables."""

    scenarios: tuple[str, ...] | None = None
    """Where it can run; None: everywhere."""
    tracks: tuple[Track, ...] = ()
    """What anybody can know of the public questions in its cells: each track is a run of its own, whose `task.gold` it
    sets. Empty, as in every row then: what the configuration says."""
    by_track: dict[Track, Layer] = Field(default={})
    """Keys over the row's own, on one track."""
    after: str | None = None
    """A row that stands before it, whose run of the same scenario, track, world, seed and budget it needs: `{after}` in
    any text of its configuration becomes that run's folder."""
    curve: tuple[str, ...] = ()
    """In which scenarios it also runs with the suite's other `budgets`."""


class Table(Options):
    """Rows that are set side by side."""

    title: str
    """Its heading."""
    about: str = ""
    """A few sentences below it."""
    track: Track | None = None
    """Which track's cells; None: the only one that all of its rows have."""
    rows: tuple[str, ...]
    """Which rows, in this order."""
    against: str
    """The row that each of them is compared with."""


class Search(Options):
    """Configurations that are tried in the development worlds alone, the same number at most for every row."""

    side: SideName = "clients"
    """By whose accuracy the best is chosen."""
    area: Area = "overall"
    """On which questions."""
    scenarios: tuple[str, ...] | None = None
    """In which scenarios, which count alike; None: in all of a row's."""
    seeds: tuple[Seed, ...] | None = None
    """With which seeds; None: the suite's."""
    rows: dict[str, dict[str, Layer]]
    """By row and name, keys over the row's own. The row as it stands is always among what is tried, as `default`."""

    @model_validator(mode="after")
    def _few_with_names(self) -> "Search":
        for row, settings in self.rows.items():
            if DEFAULT in settings:
                raise ValueError(f"rows.{row}: {DEFAULT!r} is the row as it stands, which is always tried")
            if not 1 <= len(settings) <= MOST_SETTINGS:
                raise ValueError(f"rows.{row} has {len(settings)} configurations; expected 1 to {MOST_SETTINGS}")
        return self


def best(row: str) -> str:
    """Return what a row is called with the best configuration of a search."""
    return f"{row}, best"


def unsearched(row: str) -> str:
    """Return the row of which this is the best, or itself."""
    return row.removesuffix(best(""))
