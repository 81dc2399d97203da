"""A suite: which methods are run on which work in which worlds, and how they are compared. It is one YAML file."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, PrivateAttr, model_validator

from lada import examples
from lada.bench.cell import Cell, CellKey, Written
from lada.bench.hypotheses import Hypothesis
from lada.bench.layers import GOLD, WORLD, Layer, MaybeTrack, Track, filled, has_worlds, merged, with_budget
from lada.bench.parts import DEFAULT, Search, SuiteRow, Table, best, unsearched
from lada.config import make_config
from lada.core.bounds import Seed
from lada.core.errors import InputError, nearest
from lada.core.names import Name
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.core.validation import validate
from lada.tasks.options import BuiltinTask
from lada.zoo.shipped import PREFIX

Factor = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
"""The factor of a budget."""


class Suite(Options):
    """A whole suite. A cell is one row in one scenario, on one track, in one world, with one seed."""

    name: Name = "suite"
    """The name of the folder of its results."""
    about: str = ""
    """A few sentences for the page."""
    worlds: tuple[Seed, ...] = ()
    """The reported worlds: each is set as `task.world`, and replaces `{world}` in any text of the configuration. Empty:
    the world of the configuration."""
    development: tuple[Seed, ...] = ()
    """The worlds of searches, which are never reported."""
    seeds: tuple[Seed, ...] = (0,)
    """The seeds: one run for each, in every world."""
    budgets: tuple[Factor, ...] = ()
    """Factors of every budget of tokens, for rows with a `curve`; tables compare the cells with factor 1."""
    base: str | dict[str, Any] = "demo"
    """The base configuration: an example by name (`lada examples list`), or its keys."""
    each_client: dict[str, Any] = Field(default={})
    """Keys that every client of every cell gets."""
    scenarios: dict[str, Layer]
    """The work, by name."""
    rows: dict[str, SuiteRow]
    """The methods, by name."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """The claims made before any cell is run; everything else on the page is exploratory."""
    search: Search | None = None
    """The configurations that `--search` tries in the development worlds."""
    tables: tuple[Table, ...]
    """The tables of the page."""

    _file: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _is_sound(self) -> "Suite":
        if not (self.seeds and self.scenarios and self.rows and self.tables):
            raise ValueError("seeds, scenarios, rows or tables are empty; expected at least one of each")
        for key in ("seeds", "worlds", "development", "budgets"):
            if len(set(getattr(self, key))) < len(getattr(self, key)):
                raise ValueError(f"{key}: {list(getattr(self, key))} has one twice; name each once")
        self._check_worlds()
        self._check_rows()
        for table in self.tables:
            where = f"tables: {table.title!r}"
            for row in (*table.rows, table.against):
                _known(where, row, self.rows)
            self.track_of(where, table.track, (*table.rows, table.against))
        self._check_hypotheses()
        self._check_search()
        return self

    def _check_worlds(self) -> None:
        if both := sorted({*self.worlds} & {*self.development}):
            raise ValueError(
                f"worlds, development: {both[0]} is in both; a world that a search has seen cannot be reported"
            )
        if self.development and not self.worlds:
            raise ValueError("worlds: missing, although development is set; name the worlds that are reported")

    def _check_rows(self) -> None:
        bare = [name for name, row in self.rows.items() if not row.tracks]
        if bare and len(bare) < len(self.rows):
            raise ValueError(f"rows.{bare[0]}.tracks: missing, while other rows have them; name the row's tracks")
        for name, row in self.rows.items():
            for scenario in (*(row.scenarios or ()), *row.curve):
                _known(f"rows.{name}.scenarios", scenario, self.scenarios)
            if row.curve and not self.budgets:
                raise ValueError(f"rows.{name}.curve: the suite has no budgets; expected such as [0.5, 1, 2, 4]")
            if row.after is not None:
                self._check_after(name, row)
            if away := [track for track in row.by_track if track not in row.tracks]:
                raise ValueError(f"rows.{name}.by_track: {away[0]!r} is none of the row's tracks, {list(row.tracks)}")

    def _check_after(self, name: str, row: SuiteRow) -> None:
        """Raise ValueError if a row needs the run of a row that is not before it, or does not run in all the same
        scenarios."""
        where, after, names = f"rows.{name}.after", row.after or "", list(self.rows)
        _known(where, after, self.rows)
        before = self.rows[after]
        if before.after is not None or names.index(after) > names.index(name):
            raise ValueError(f"{where}: {after!r} is behind it or waits for another row; expected a row before it")
        lacking = [s for s in self.scenarios if self.runs(name, s) and not self.runs(after, s)]
        lacking += [track for track in row.tracks if track not in before.tracks]
        lacking += [scenario for scenario in row.curve if scenario not in before.curve]
        if lacking:
            raise ValueError(f"{where}: {after!r} does not run on {lacking[0]!r}; expected it wherever {name!r} does")

    def _check_hypotheses(self) -> None:
        names = [hypothesis.name for hypothesis in self.hypotheses]
        if len(set(names)) < len(names):
            raise ValueError(f"hypotheses: two of {names} share a name; give each its own")
        for hypothesis in self.hypotheses:
            where, searched = f"hypotheses: {hypothesis.name!r}", self.search.rows if self.search else {}
            known = {**self.rows, **{best(row): None for row in searched}}
            for row in (hypothesis.row, hypothesis.against):
                _known(where, row, known)
            plain = [unsearched(row) for row in (hypothesis.row, hypothesis.against)]
            self.track_of(where, hypothesis.track, plain)
            for scenario in hypothesis.scenarios or self.scenarios:
                _known(where, scenario, self.scenarios)
                if away := [row for row in plain if not self.runs(row, scenario)]:
                    raise ValueError(f"{where}: {away[0]!r} does not run in {scenario!r}; name the scenarios of both")

    def _check_search(self) -> None:
        if self.search is None:
            return
        if not self.development:
            raise ValueError("development: missing; a search runs in worlds of its own, none of which is reported")
        for row in self.search.rows:
            _known("search.rows", row, self.rows)
        for scenario in self.search.scenarios or ():
            _known("search.scenarios", scenario, self.scenarios)

    def track_of(self, where: str, named: Track | None, rows: Iterable[str]) -> MaybeTrack:
        """Return the track on which rows are compared; empty in a suite without tracks. Raises ValueError if there is
        no single one."""
        rows = [row for row in rows if row in self.rows]
        shared: list[Track] = [t for t in GOLD if all(t in self.rows[row].tracks for row in rows)]
        if named is not None:
            if away := [row for row in rows if named not in self.rows[row].tracks]:
                raise ValueError(
                    f"{where}: {away[0]!r} has no cells on the track {named!r}; a table belongs to one track"
                )
            return named
        if not any(self.rows[row].tracks for row in rows):
            return ""
        if len(shared) != 1:
            tracks = sorted({track for row in rows for track in self.rows[row].tracks})
            what = f"all rows have {', '.join(shared)}" if shared else f"its rows have the tracks {', '.join(tracks)}"
            raise ValueError(
                f"{where}: {what}, and rows that read answers cannot be compared with rows that do not; name the "
                "`track`, and leave out rows without it"
            )
        return shared[0]

    @property
    def over_worlds(self) -> bool:
        """Whether the reported cells are of several worlds."""
        return len(self.worlds) > 1

    @property
    def written(self) -> Written:
        """The content of the suite's file, to be stored with every cell."""
        return Written(self._file, tuple(hypothesis.digest for hypothesis in self.hypotheses))

    def runs(self, row: str, scenario: str) -> bool:
        """Return whether a row can run in a scenario."""
        where = self.rows[row].scenarios
        return where is None or scenario in where

    def reported(self) -> Iterator[CellKey]:
        """Yield the keys of all reported cells: all rows of a scenario, world and seed one after another; then
        curves."""
        factors = (1.0, *(f for f in self.budgets if f != 1))
        for factor, world, seed, scenario in product(factors, self.worlds or (None,), self.seeds, self.scenarios):
            for name, row in self.rows.items():
                if self.runs(name, scenario) and (factor == 1 or scenario in row.curve):
                    at = self._world(scenario, name) if world is None else world
                    for track in row.tracks or ("",):
                        yield CellKey(scenario, name, at, seed, track, factor)

    def searched(self) -> Iterator[CellKey]:
        """Yield the keys of all cells of the search. Raises InputError for a suite without one."""
        if self.search is None:
            raise InputError(f"suite {self.name!r}: it has no `search`; expected the configurations to try, by row")
        for world in self.development:
            for seed in self.search.seeds or self.seeds:
                for scenario in self.search.scenarios or self.scenarios:
                    for row, settings in self.search.rows.items():
                        if self.runs(row, scenario):
                            for track in self.rows[row].tracks or ("",):
                                for setting in (DEFAULT, *settings):
                                    yield CellKey(scenario, row, world, seed, track, setting=setting)

    def cells(self, keys: Iterable[CellKey] | None = None) -> list[Cell]:
        """Return cells, by default all reported ones. Raises InputError for a faulty one."""
        self._check_one_gold_a_table()
        self._check_worlds_differ()
        return [self.cell(key) for key in (self.reported() if keys is None else keys)]

    def cell(self, key: CellKey) -> Cell:
        """Return one cell. Raises InputError, naming it, for a configuration that cannot be run."""
        try:
            data = self._data(key)
            if self.worlds:
                data = filled(data, WORLD, key.world)
                data["task"] = _with_task(data, {"world": key.world})
            if key.track:
                data["task"] = _with_task(data, {"gold": GOLD[key.track]})
            if key.budget != 1:
                data = with_budget(data, key.budget)
            data |= {"name": key.run_name, "seed": key.seed, "workers": 0}
            after = self.rows[key.row].after
            before = None if after is None else self.cell(key._replace(row=after))
            cell = Cell(key, make_config(data), self.written, before)
            if self.worlds:
                _check_models(cell)
            return cell
        except InputError as error:
            raise InputError(f"suite {self.name!r}, row {key.row!r}, scenario {key.scenario!r}: {error}") from None

    def _data(self, key: CellKey) -> dict[str, Any]:
        """Return a cell's configuration, combined from its layers."""
        data = _example(self.base) if isinstance(self.base, str) else dict(self.base)
        everybody: dict[str, Any] = self.each_client
        row = self.rows[key.row]
        layers: list[Layer] = [self.scenarios[key.scenario], row]
        layers += [row.by_track[track] for track in row.by_track if track == key.track]
        if self.search is not None and key.setting not in ("", DEFAULT):
            layers.append(self.search.rows[key.row][key.setting])
        for layer in layers:
            data = merged(data, layer.config)
            everybody = merged(everybody, layer.each_client)
        data["clients"] = [merged(client, everybody) for client in data.get("clients", [])]
        return data

    def _world(self, scenario: str, row: str) -> int:
        """Return the world of a row's configuration, for a suite that names none; 0 for a task without worlds."""
        return self._data(CellKey(scenario, row, 0, 0)).get("task", {}).get("world", 0)

    def _firsts(self) -> Iterator[CellKey]:
        """Yield one cell of each row in each scenario and on each of its tracks."""
        seen = set()
        for key in self.reported():
            if (what := (key.scenario, key.row, key.track)) not in seen:
                seen.add(what)
                yield key

    def _check_one_gold_a_table(self) -> None:
        """Refuse tables of rows without `tracks` whose configurations reveal different knowledge."""
        if any(row.tracks for row in self.rows.values()):
            return
        known = {(key.scenario, key.row): getattr(self.cell(key).config.task, "gold", "") for key in self._firsts()}
        for table in self.tables:
            rows = (*table.rows, table.against)
            for scenario in self.scenarios:
                golds = {row: known[scenario, row] for row in rows if (scenario, row) in known}
                if len(set(golds.values())) > 1:
                    one, other = list({gold: row for row, gold in golds.items()}.values())[:2]
                    raise InputError(
                        f"suite {self.name!r}, tables: {table.title!r}: in {scenario!r} {one!r} has task.gold "
                        f"{golds[one]!r} and {other!r} has {golds[other]!r}; expected one table for each, and `tracks` "
                        "in every row"
                    )

    def _check_worlds_differ(self) -> None:
        """Refuse a scenario that would be the same in two worlds."""
        if not self.over_worlds:
            return
        first, second = self.worlds[:2]
        for scenario, key in {key.scenario: key for key in self.reported()}.items():
            one, other = (self.cell(key._replace(world=world)) for world in (first, second))
            if one.digest == other.digest:
                raise InputError(
                    f"suite {self.name!r}, worlds: {scenario!r} is the same in worlds {first} and {second}; expected a "
                    f"task with worlds, or {WORLD} in its configuration"
                )


def _check_models(cell: Cell) -> None:
    """Raise InputError for a model that was trained for another world than the cell's."""
    for party in (cell.config.server, *cell.config.clients):
        source = (party.model.source if party.model is not None else None) or ""
        number = source.rpartition("-world-")[2]
        if source.startswith(PREFIX) and number.isdecimal() and int(number) != cell.key.world:
            raise InputError(
                f"{party.name}: {source!r} belongs to world {number}, but the cell to world {cell.key.world}; expected "
                f"{source.removesuffix(number)}{WORLD}"
            )


def _with_task(data: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's task with overriding keys; a task without worlds gets no key `world`."""
    task = dict(data.get("task") or {"kind": BuiltinTask().kind})
    if "world" in keys and not has_worlds(str(task.get("kind"))):
        return task
    return {**task, **keys}


def shipped() -> list[str]:
    """Return the names of the suites that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in (files("lada.bench") / "suites").iterdir())


def read_suite(which: str) -> Suite:
    """Return a suite by the name of a shipped one or the path of a YAML file. Raises InputError for any fault."""
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
    suite = validate(Suite, data, "suite")
    suite._file = hashlib.sha256(text.encode()).hexdigest()[:16]
    return suite


@cache
def _example(name: str) -> dict[str, Any]:
    known = examples.texts()
    if name not in known:
        raise InputError(f"suite.base: there is no example {name!r}; `lada examples list` names them")
    return yaml.safe_load(known[name])


def _known(key: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        raise ValueError(f"{key}: {name!r} is not there; expected one of {', '.join(names)}{nearest(name, names)}")
