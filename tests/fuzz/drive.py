"""Drive a reply on from its bytes: through the server's half, the results, the pages, the trackers and back again."""

import json
import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from worlds import CLIENTS, Gate, Key, Replayed, World

from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import LadaError
from lada.core.results import Environment, PartyReport, Results, WallClock
from lada.report import compare, render
from lada.report.reading import read_results
from lada.rounds.checks import FINISH
from lada.rounds.party import Party
from lada.rounds.records import COLUMNS
from lada.rounds.reports import collect
from lada.trackers.figures import Figures
from lada.watching.health import Health

ENVIRONMENT = Environment(lada="0", git=None, python="3", packages={}, device="cpu")


class Wrong(AssertionError):
    """Something absurd went further than it may."""


def drive(gate: Gate, world: World, key: Key, data: bytes, folder: Path) -> str:
    """Serve one changed reply and look at all that comes of it. Returns how it ended; raises what must not be."""
    folder.mkdir(parents=True, exist_ok=True)
    phase, round, _ = key
    if refusal := gate.refusal(world, key, data):
        told = str(refusal)
        _expect(len(told) < 1000 and told.isprintable() and "checking it failed" not in told, told[:300])
        return "refused"
    both = world.server(folder, round)
    party, exchange, events = both.server, Replayed(world, both, key, data), []
    party.emit = events.append
    try:
        if phase == FINISH:
            collect(party, exchange.ask(FINISH, round, {client: {} for client in CLIENTS}).wait())
        else:
            both.host.serve(party, exchange, round)
    except LadaError as error:
        if "it is unclear which" in str(error):  # of two adapters of two shapes, before there was an average
            return "ended"
        raise Wrong(f"a reply that was {exchange.outcome} ends the run: {error}") from error
    _expect(exchange.outcome in ("accepted", "dropped"), f"the reply was {exchange.outcome}")
    party.note(missing=tuple(exchange.missing))
    _pages(party, folder)
    _followed(events)
    _comes_back(party)
    return exchange.outcome


def _expect(sound: bool, what: str) -> None:
    if not sound:
        raise Wrong(what)


def _pages(party: Party, folder: Path) -> None:
    """Write the results as a run does, read them back, and write both pages."""
    report = party.report
    results = Results(
        name="fuzz",
        config={"rounds": 2},
        environment=ENVIRONMENT,
        parties=report.parties,
        evaluations=tuple(sorted(report.evaluations, key=lambda e: (e.round, e.party))),
        studies=report.studies,
        allocations=report.allocations,
        traffic=(),
        shown=(),
        notices=report.notices,
        missing=report.missing,
        memberships=report.memberships,
        wall_clock=WallClock(
            started=datetime.fromtimestamp(0, UTC).isoformat(),
            seconds=1000.0,
            phases=tuple(sorted(report.phases, key=lambda p: (p.start, p.party))),
            exchanges=report.exchanges,
        ),
    )
    text = results.model_dump_json()
    (folder / "results.json").write_text(text, encoding="utf-8")
    tables = [pq.read_table(file) for file in sorted(folder.glob("*/allocations/*/*.parquet"))]
    pq.write_table(
        pa.concat_tables(tables) if tables else pa.schema(COLUMNS).empty_table(), folder / "allocations.parquet"
    )
    _expect(read_results(folder).model_dump_json() == text, "results differ when they are read back")
    for page in (render(folder), compare([folder], folder / "compare.html")):
        _expect(page.stat().st_size < 1 << 21, f"{page.name} has {page.stat().st_size} bytes")


def _followed(events: list[dict[str, Any]]) -> None:
    """Follow the run as `lada watch` and the trackers do."""
    health, figures = Health(), Figures()
    _expect(len(events) < 400, f"{len(events)} events")
    for event in events:
        event = json.loads(json.dumps({"time": 1.0, **event}))
        health.take(event)
        figures.take(event)
    _expect(health.unreadable == 0, "an event that nobody can read")
    names = [name for values in figures.by_round().values() for name in values]
    _expect(len(names) < 1000 and all(len(name) < 400 for name in names), "names of figures")


def _comes_back(party: Party) -> None:
    """Write and read what a checkpoint keeps."""
    text = party.report.model_dump_json()
    _expect(PartyReport.model_validate_json(text).model_dump_json() == text, "a report differs when it is read back")
    arrays = {f"{pair}|{part}": array for pair, state in party.states.items() for part, array in state.items()}
    arrays |= {f"memory|{name}": np.frombuffer(data, np.uint8) for name, data in party.memory.items()}
    back = bytes_to_arrays(arrays_to_bytes(arrays))
    for name, array in arrays.items():
        _expect(np.array_equal(back[name], array, equal_nan=array.dtype.kind == "f"), f"{name} differs")
        _expect(array.dtype.kind != "f" or bool(np.isfinite(array).all()), f"{name} is not finite")
    for number in _numbers(party.report.model_dump()):
        _expect(not math.isfinite(number) or abs(number) < 1e17, f"a number of {number}")


def _numbers(node: Any) -> Iterator[float]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _numbers(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _numbers(value)
    elif isinstance(node, (int, float)):
        yield float(node)


def clean(folder: Path) -> None:
    """Remove what a case wrote."""
    shutil.rmtree(folder, ignore_errors=True)
