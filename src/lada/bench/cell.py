"""A cell of a suite: one run, with its name and a digest that identifies its configuration."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from lada.bench.layers import MaybeTrack, slug
from lada.choosing import spelled_out
from lada.config import RunConfig
from lada.core.choice import MethodChoice
from lada.core.names import LONGEST
from lada.points import chosen_points

UNTOLD = frozenset(
    {"name", "workers", "keep_messages", "timeout", "engine"}
    | {point.key for point in chosen_points() if point.observes}
)
"""Keys of a run that do not affect its figures."""

LATER = frozenset({"withhold"} | {point.key for point in chosen_points()})
"""Keys that were added later; without a value, they do not affect earlier figures."""
DEFAULTS = {
    point.key: spelled_out(point.registry, MethodChoice(name=point.default), point.key).model_dump(mode="json")
    for point in chosen_points()
    if point.later and point.default
}
"""Keys that do not affect earlier figures at their default."""


class CellKey(NamedTuple):
    """The key that identifies a cell within a suite."""

    scenario: str
    row: str
    world: int
    seed: int
    track: MaybeTrack = ""
    budget: float = 1.0
    """The factor of every budget of tokens."""
    setting: str = ""
    """The configuration of a search; empty for a cell that is reported."""

    def __str__(self) -> str:
        """Return the cell's name for display."""
        parts = [self.scenario, self.row, *filter(None, (self.setting, self.track))]
        parts += [f"world {self.world}", f"seed {self.seed}"]
        return ", ".join([*parts, *([f"{self.budget:g} x tokens"] if self.budget != 1 else [])])

    @property
    def work(self) -> str:
        """Return a name that is shared by cells that do the same work with different methods."""
        return slug(f"{self.scenario}-{self.world}-{self.seed}-{self.budget:g}")

    @property
    def run_name(self) -> str:
        """Return the name of its run, with the characters and length that a folder's name may have."""
        name = slug(str(self).replace(", ", "-"))
        if len(name) <= LONGEST:
            return name
        return f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Written:
    """The content of the suite's file when a cell was run."""

    suite: str = ""
    """The digest of the file."""
    hypotheses: tuple[str, ...] = ()
    """The digest of each hypothesis."""


@dataclass(frozen=True)
class Cell:
    """One run of a suite."""

    key: CellKey
    config: RunConfig
    written: Written = Written()
    after: "Cell | None" = None
    """The cell whose run this one needs; see SuiteRow.after."""

    def __str__(self) -> str:
        return str(self.key)

    @property
    def name(self) -> str:
        """Return the name of its run."""
        return self.config.name

    @cached_property
    def digest(self) -> str:
        """Return a digest of everything that affects the figures, to recognise figures of this configuration."""
        told = {key: value for key, value in self.config.model_dump(mode="json").items() if key not in UNTOLD}
        for part in (told, told["server"], *told["clients"]):
            for key in LATER & part.keys():
                if not part[key] or part[key] == DEFAULTS.get(key):
                    del part[key]
        return digest_of(told if self.after is None else [told, self.after.digest])


def digest_of(data: Any) -> str:
    """Return a digest of plain data, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
