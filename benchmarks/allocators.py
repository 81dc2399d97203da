"""Compare allocators, and FedMKT, over worlds: `python benchmarks/allocators.py` (or `make bench-allocators`).

Every row is the demo's federation: the same clients, private data, public pool, steps per study and, where it filters,
budget. World N runs with seed N and its own LLM; LLMs of worlds that are not shipped are trained first (`lada zoo build
--world N`). Cells run in parallel, one process each, and those already in `runs/benchmark/` are not run again; rows
that are not named keep their committed figures. Writes `results/allocators/`: `cells.json` (every cell's figures) and
`README.md` (the tables: mean over worlds with a 95 % t-interval, and each row's paired difference to one row).
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lada.core.results import Results
from lada.evaluation.statistics import mean_interval

BUDGET = 400
"""How many of the demo's 1,000 public samples a filter may choose, per direction and round."""
RUNS = Path("runs/benchmark")
TARGET = Path("results/allocators")
TOKENS = "tokens studied, millions"


def _filtered(name: str) -> dict[str, Any]:
    """Return LaDa's round with another filter: paths for knowledge, plain fine-tuning."""
    return {"allocator": {"name": name, "options": {"budget": BUDGET}}, "objective": "sft"}


LADA: dict[str, Any] = {"allocator": {"name": "lada", "options": {"budget": BUDGET}}}
ROWS: dict[str, dict[str, Any]] = {
    "lada": LADA,
    "standalone": {"host": "standalone", "plugin": "none"},
    "fedmkt": {"plugin": "none"},
    "labels alone": {"plugin": "none", "allocator": "all", "objective": "sft"},
    "verified": _filtered("verified"),
    "winner": _filtered("winner"),
    "random": _filtered("random"),
    "confident": _filtered("confident"),
    "all": {"allocator": "all", "objective": "sft"},
    "lada, contrast 0.1": LADA | {"objective": "contrastive"},
    "lada, soft targets": LADA
    | {"objective": {"name": "soft_targets", "options": {"form": "forward_kl", "label_weight": 0.5}}},
    "lada, alm": LADA | {"objective": "alm"},
}
TABLES: dict[str, tuple[str, ...]] = {
    "lada": tuple(row for row in ROWS if row not in ("fedmkt", "labels alone")),
    "labels alone": ("fedmkt", "labels alone", "standalone"),
}
"""Rows by the row that each table sets them against."""
FIGURES: dict[str, Callable[[Results, int], float]] = {
    "clients: all domains": lambda r, n: _clients(r, n, "overall"),
    "own": lambda r, n: _clients(r, n, "own"),
    "other": lambda r, n: _clients(r, n, "other"),
    "own and other, halves": lambda r, n: (_clients(r, n, "own") + _clients(r, n, "other")) / 2,
    "other, round 1": lambda r, _: _clients(r, 1, "other"),
    "LLM: gain on clients' domains": lambda r, n: _gain(r, n, "other"),
    "on its own": lambda r, n: _gain(r, n, "own"),
    "on general skill": lambda r, n: _gain(r, n, "general"),
}


def _clients(results: Results, round: int, name: str) -> float:
    clients = [party.name for party in results.parties if party.role == "client"]
    return sum(getattr(results.of(client, round), name).value for client in clients) / len(clients)


def _gain(results: Results, round: int, name: str) -> float:
    """Return how many points the server rose from before the first round to after `round`."""
    server = next(party.name for party in results.parties if party.role == "server")
    before, after = (getattr(results.of(server, when), name).value for when in (0, round))
    return after - before


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    options = parser.parse_args()
    for world in range(1, options.worlds):
        subprocess.run([sys.executable, "-m", "lada", "zoo", "build", f"llm-world-{world}"], check=True)
    cells = [(world, row) for row in options.rows for world in range(options.worlds)]
    with ThreadPoolExecutor(options.parallel) as pool:
        whole = all(list(pool.map(lambda cell: _run(*cell), cells)))
    _write(options.worlds, options.rows)
    sys.exit(0 if whole else 1)


def _folder(world: int, row: str) -> str:
    return f"{row.replace(', ', '-').replace(' ', '-').replace('.', '-')}-{world}"


def _run(world: int, row: str) -> bool:
    """Run one cell in a process of its own, unless its results are there; say whether they are now.

    What a run that broke left behind is removed first. A cell that fails does not stop the others.
    """
    name = _folder(world, row)
    if _done(world, row):
        return True
    shutil.rmtree(RUNS / name, ignore_errors=True)
    config = yaml.safe_load((files("lada.examples") / "demo.yaml").read_text())
    config |= {"name": name, "seed": world, "workers": 0, **ROWS[row]}
    config["task"]["world"] = world
    config["server"]["model"]["model"] = f"zoo:llm-world-{world}"
    RUNS.mkdir(parents=True, exist_ok=True)
    file = RUNS / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    log = RUNS / f"{name}.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "lada", "run", str(file), "--runs", str(RUNS)]
        failed = subprocess.run(command, check=False, stdout=out, stderr=subprocess.STDOUT).returncode
    if not failed:
        (RUNS / name / "done").touch()
    print(f"{name}: {f'failed, see {log}' if failed else 'done'}", flush=True)
    return not failed


def _done(world: int, row: str) -> bool:
    return (RUNS / _folder(world, row) / "done").exists()


def _write(worlds: int, rows: list[str]) -> None:
    """Write cells and table: the committed cells, and over them those that were run here; rows in the table's order."""
    file = TARGET / "cells.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    cells: dict[str, dict[int, dict[str, float]]] = {
        row: {int(world): figures for world, figures in kept[row].items()} for row in ROWS if row in kept
    }
    for row in rows:
        for world in (world for world in range(worlds) if _done(world, row)):
            text = (RUNS / _folder(world, row) / "results.json").read_text()
            results = Results.model_validate_json(text)
            last = max(evaluation.round for evaluation in results.evaluations)
            figures = {name: round(figure(results, last), 4) for name, figure in FIGURES.items()}
            tokens = sum(study.tokens for study in results.studies)
            cells.setdefault(row, {})[world] = figures | {TOKENS: tokens / 1e6}
    TARGET.mkdir(parents=True, exist_ok=True)
    cells = {row: dict(sorted(cells[row].items())) for row in ROWS if row in cells}
    file.write_text(json.dumps(cells, indent=1) + "\n")
    filters, fedmkt = (_table(cells, table, against, worlds) for against, table in TABLES.items())
    told = _TOLD.format(worlds=worlds, budget=BUDGET, filters=filters, fedmkt=fedmkt)
    (TARGET / "README.md").write_text(f"# Allocators and FedMKT on the built-in corpus\n\n{told}")


def _table(cells: dict[str, dict[int, dict[str, float]]], rows: tuple[str, ...], against: str, worlds: int) -> str:
    """Return a table of some rows, with the difference of each to the row `against`, world by world."""
    first = next(iter(FIGURES))
    columns = ["", *FIGURES, f"all domains, against {against}", TOKENS]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in (row for row in rows if row in cells):
        by_world = cells[row]
        label = row if len(by_world) == worlds else f"{row} ({len(by_world)} of {worlds} worlds)"
        parts = [_interval([cell[name] for cell in by_world.values()]) for name in FIGURES]
        both = sorted(by_world.keys() & cells.get(against, {}).keys()) if row != against else []
        differences = [by_world[world][first] - cells[against][world][first] for world in both]
        tokens = f"{np.mean([cell[TOKENS] for cell in by_world.values()]):.2f}"
        lines.append(f"| {' | '.join([label, *parts, _interval(differences, sign=True), tokens])} |")
    return "\n".join(lines)


def _interval(values: list[float], sign: bool = False) -> str:
    if len(values) < 2:
        return f"{values[0]:{'+' if sign else ''}.1f}" if values else "–"
    mean, _, high = mean_interval(np.array(values))
    return f"{mean:{'+' if sign else ''}.1f} ± {high - mean:.1f}"


_TOLD = """Accuracy in percent after two rounds: mean over {worlds} worlds, each with its own seed and LLM, and the
half-width of its 95 % t-interval (few worlds make it wide). Three clients with different SLMs; the same number of steps
everywhere. A client's *other* domains are those it has no data of. `make bench-allocators` regenerates the tables.

**Filters on the parties' own paths.** Nobody reads a gold rationale of the public samples; *lada* and *verified* read
the gold answers, the others none. A budget of {budget} samples per direction and round where a row filters. *lada* is
LaDa's filter; *contrast 0.1* adds the odds ratio to its objective and sees more tokens at the same steps, since a pair
has two paths; *soft targets* is forward KL at half weight beside the NLL of the same paths, *alm* the likelihood of
chunks, likewise.

{filters}

**FedMKT as in its paper.** Everybody reads the gold rationales of the public samples, of all domains, so these rows are
not to be set beside those above. *fedmkt* is `plugin: none`; *labels alone* is the same without soft targets, which
says what the exchange adds.

{fedmkt}
"""

if __name__ == "__main__":
    main()
