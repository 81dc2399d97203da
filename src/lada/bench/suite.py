"""A suite: which methods are run on which work with which seeds, and how they are set side by side. One YAML file."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from lada.choosing import spelled_out
from lada.config import RunConfig, make_config
from lada.core.bounds import Seed
from lada.core.choice import MethodChoice
from lada.core.errors import InputError, nearest
from lada.core.names import Name
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.core.validation import validate
from lada.points import chosen_points

UNTOLD = frozenset(
    {"name", "workers", "keep_messages", "timeout", "engine"}
    | {point.key for point in chosen_points() if point.observes}
)
"""Keys of a run that change nothing of its figures."""

LATER = frozenset({"withhold"} | {point.key for point in chosen_points()})
"""Keys that came later; without a value they change nothing of the figures that were there before."""
DEFAULTS = {
    point.key: spelled_out(point.registry, MethodChoice(name=point.default), point.key).model_dump(mode="json")
    for point in chosen_points()
    if point.later and point.default
}
"""Nor do these with their default."""


class Layer(Options):
    """Keys of a run's configuration that lie over those before: mappings are merged, all else is replaced."""

    about: str = ""
    """One sentence for the page."""
    config: dict[str, Any] = Field(default={})
    """Keys of the run. A method with another name replaces the one before with all its options."""
    each_client: dict[str, Any] = Field(default={})
    """Keys that every client of the run gets."""


class SuiteRow(Layer):
    """A method, as it is called in the tables."""

    scenarios: tuple[str, ...] | None = None
    """Where it can run; None: everywhere."""


class Table(Options):
    """Rows that are set side by side."""

    title: str
    """Its heading."""
    about: str = ""
    """A few sentences below it."""
    rows: tuple[str, ...]
    """Which rows, in this order."""
    against: str
    """The row that each of them is compared with."""


class Suite(Options):
    """A whole suite. A cell is one row in one scenario with one seed."""

    name: Name = "suite"
    """Name of the folder of its results."""
    about: str = ""
    """A few sentences for the page."""
    seeds: tuple[Seed, ...] = (0,)
    """One run each."""
    base: str | dict[str, Any] = "demo"
    """The configuration below all: an example by name (`lada examples list`), or its keys."""
    each_client: dict[str, Any] = Field(default={})
    """Keys that every client of every cell gets."""
    scenarios: dict[str, Layer]
    """The work, by name."""
    rows: dict[str, SuiteRow]
    """The methods, by name."""
    tables: tuple[Table, ...]
    """What the page shows."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Suite":
        if not (self.seeds and self.scenarios and self.rows and self.tables):
            raise ValueError("seeds, scenarios, rows or tables are empty; expected at least one of each")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} has one twice; name each once")
        for name, row in self.rows.items():
            for scenario in row.scenarios or ():
                _known(f"rows.{name}.scenarios", scenario, self.scenarios)
        for table in self.tables:
            for row in (*table.rows, table.against):
                _known(f"tables: {table.title!r}", row, self.rows)
        return self

    def runs(self, row: str, scenario: str) -> bool:
        """Return whether a row can run in a scenario."""
        where = self.rows[row].scenarios
        return where is None or scenario in where

    def places(self) -> Iterator[tuple[str, str, int]]:
        """Yield scenario, row and seed of every cell, all rows of a scenario and seed one after another."""
        for seed in self.seeds:
            for scenario in self.scenarios:
                for row in self.rows:
                    if self.runs(row, scenario):
                        yield scenario, row, seed

    def cells(self) -> "Iterator[Cell]":
        """Yield every cell. Raises InputError for a faulty one."""
        for place in self.places():
            yield self.cell(*place)

    def cell(self, scenario: str, row: str, seed: int) -> "Cell":
        """Return one cell. Raises InputError, naming it, for a configuration that cannot be run."""
        data = _example(self.base) if isinstance(self.base, str) else dict(self.base)
        everybody: dict[str, Any] = self.each_client
        for layer in (self.scenarios[scenario], self.rows[row]):
            data = merged(data, layer.config)
            everybody = merged(everybody, layer.each_client)
        data["clients"] = [merged(client, everybody) for client in data.get("clients", [])]
        data |= {"name": slug(f"{scenario}-{row}-{seed}"), "seed": seed, "workers": 0}
        try:
            return Cell(scenario, row, seed, make_config(data))
        except InputError as error:
            raise InputError(f"suite {self.name!r}, row {row!r}, scenario {scenario!r}: {error}") from None


@dataclass(frozen=True)
class Cell:
    """One run of a suite."""

    scenario: str
    row: str
    seed: int
    config: RunConfig

    def __str__(self) -> str:
        return label(self.scenario, self.row, self.seed)

    @property
    def name(self) -> str:
        """Return the name of its run."""
        return self.config.name

    @cached_property
    def digest(self) -> str:
        """Return what tells whether figures are of this configuration: a digest of all that changes them."""
        told = {key: value for key, value in self.config.model_dump(mode="json").items() if key not in UNTOLD}
        for part in (told, told["server"], *told["clients"]):
            for key in LATER & part.keys():
                if not part[key] or part[key] == DEFAULTS.get(key):
                    del part[key]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def label(scenario: str, row: str, seed: int) -> str:
    """Return what a cell is called where people read it."""
    return f"{scenario}, {row}, seed {seed}"


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data with what lies above it; a method with another name is replaced with its options."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _another_method(key, old, value):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def _another_method(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return key in {point.key for point in chosen_points()} and new.get("name", old.get("name")) != old.get("name")


def shipped() -> list[str]:
    """Return the names of the suites that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in (files("lada.bench") / "suites").iterdir())


def read_suite(which: str) -> Suite:
    """Return a suite by the name of a shipped one or the path of a YAML file. InputError names any fault."""
    if which in shipped():
        text = (files("lada.bench") / "suites" / f"{which}.yaml").read_text(encoding="utf-8")
    elif is_file(which):
        text = Path(which).read_text(encoding="utf-8", errors="replace")
    else:
        raise InputError(
            f"suite: {which!r} is neither a shipped suite nor a file; expected one of {', '.join(shipped())} or the "
            f"path of a YAML file{nearest(which, shipped())}"
        )
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"suite: {which!r} is not valid YAML: {error}") from None
    if not isinstance(data, Mapping):
        raise InputError(f"suite: {which!r} holds {data!r}; expected a mapping of keys to values")
    return validate(Suite, data, "suite")


@cache
def _example(name: str) -> dict[str, Any]:
    file = files("lada.examples") / f"{name}.yaml"
    if not is_file(str(file)):
        raise InputError(f"suite.base: there is no example {name!r}; `lada examples list` names them")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _known(key: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        raise ValueError(f"{key}: {name!r} is not there; expected one of {', '.join(names)}{nearest(name, names)}")


def slug(text: str) -> str:
    """Return a text as a name of files."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
