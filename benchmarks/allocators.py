"""Compare the allocators on the demo's federation, over worlds: `python benchmarks/allocators.py` (or `make bench`).

Every row has the same clients, private data, public pool, steps per study and, where it filters, budget. World N runs
with seed N and its own LLM; LLMs of worlds that are not shipped are trained first (`lada zoo build --world N`). Cells
run in parallel, one process each, and those already in `runs/benchmark/` are not run again. Writes
`results/allocators/`: `cells.json` (every cell's figures) and `README.md` (the table: mean over worlds with a 95 %
t-interval, and each row's paired difference to LaDa).
"""

import argparse
import json
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
RUNS = Path("runs/benchmark")
TARGET = Path("results/allocators")


def _filtered(name: str, **options: Any) -> dict[str, Any]:
    return {"plugin": "none", "allocator": {"name": name, "options": {"budget": BUDGET, **options}}}


def _lada(objective: str | dict[str, Any] = "contrastive", **options: Any) -> dict[str, Any]:
    return {
        "plugin": "lada",
        "allocator": {"name": "lada", "options": {"budget": BUDGET, **options}},
        "objective": objective,
    }


PAPER = {
    "name": "contrastive",
    "options": {
        "form": "dpo",
        "alpha": 0.1,
        "weight": 1.0,
        "reference": True,
        "normalise": False,
        "prefer": "role",
        "unpaired": "skip",
    },
}
ROWS: dict[str, dict[str, Any]] = {
    "lada": _lada(),
    "standalone": {"host": "standalone", "plugin": "none"},
    "verified": _filtered("verified"),
    "winner": _filtered("winner"),
    "random": _filtered("random"),
    "confident": _filtered("confident"),
    "all": {"plugin": "none", "allocator": "all"},
    "lada, sft": _lada("sft"),
    "lada, no gold, sft": _lada("sft", gold=False),
    "fedmkt (dual_min_ce)": {"plugin": "none"},
    "lada, paper's form": _lada(PAPER, reward="paper", prior=False, gold=False),
}
FIGURES: dict[str, Callable[[Results, int], float]] = {
    "clients: all domains": lambda r, n: _clients(r, n, "overall"),
    "own": lambda r, n: _clients(r, n, "own"),
    "other": lambda r, n: _clients(r, n, "other"),
    "own and other, halves": lambda r, n: (_clients(r, n, "own") + _clients(r, n, "other")) / 2,
    "other, round 1": lambda r, _: _clients(r, 1, "other"),
    "LLM before: clients' domains": lambda r, _: _server(r, 0, "other"),
    "its own before": lambda r, _: _server(r, 0, "own"),
    "general skill before": lambda r, _: _server(r, 0, "general"),
    "LLM: clients' domains": lambda r, n: _server(r, n, "other"),
    "its own": lambda r, n: _server(r, n, "own"),
    "general skill": lambda r, n: _server(r, n, "general"),
}


def _clients(results: Results, round: int, name: str) -> float:
    clients = [party.name for party in results.parties if party.role == "client"]
    return sum(getattr(results.of(client, round), name).value for client in clients) / len(clients)


def _server(results: Results, round: int, name: str) -> float:
    server = next(party.name for party in results.parties if party.role == "server")
    return getattr(results.of(server, round), name).value


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
        list(pool.map(lambda cell: _run(*cell), cells))
    _write(options.worlds, options.rows)


def _folder(world: int, row: str) -> str:
    return f"{row.translate(str.maketrans({',': '', ' ': '-', '(': '', ')': '', chr(39): ''}))}-{world}"


def _run(world: int, row: str) -> None:
    """Run one cell in a process of its own, unless its results are there."""
    name = _folder(world, row)
    if (RUNS / name / "done").exists():
        return
    config = yaml.safe_load((files("lada.examples") / "demo.yaml").read_text())
    config |= {"name": name, "seed": world, "workers": 0, **ROWS[row]}
    if "allocator" not in ROWS[row]:
        del config["allocator"]
    config["task"]["world"] = world
    config["server"]["model"]["model"] = f"zoo:llm-world-{world}"
    RUNS.mkdir(parents=True, exist_ok=True)
    file = RUNS / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    log = RUNS / f"{name}.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "lada", "run", str(file), "--runs", str(RUNS)]
        subprocess.run(command, check=True, stdout=out, stderr=subprocess.STDOUT)
    (RUNS / name / "done").touch()
    print(f"{name}: done", flush=True)


def _write(worlds: int, rows: list[str]) -> None:
    cells: dict[str, list[dict[str, float]]] = {}
    tokens: dict[str, float] = {}
    for row in rows:
        for world in range(worlds):
            text = (RUNS / _folder(world, row) / "results.json").read_text()
            results = Results.model_validate_json(text)
            last = max(evaluation.round for evaluation in results.evaluations)
            figures = {name: round(figure(results, last), 4) for name, figure in FIGURES.items()}
            cells.setdefault(row, []).append(figures)
            tokens[row] = tokens.get(row, 0) + sum(study.tokens for study in results.studies) / worlds
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "cells.json").write_text(json.dumps(cells, indent=1) + "\n")
    header = ["| allocator |", *(f" {name} |" for name in FIGURES), " all domains, against lada |", " tokens studied |"]
    lines = ["".join(header), "|---|" + "---|" * (len(FIGURES) + 2)]
    for row in rows:
        parts = [_interval([cell[name] for cell in cells[row]]) for name in FIGURES]
        first = next(iter(FIGURES))
        against = "–"
        if row != "lada" and "lada" in cells:
            pairs = zip(cells[row], cells["lada"], strict=True)
            against = _interval([cell[first] - lada[first] for cell, lada in pairs], sign=True)
        lines.append("| " + " | ".join([row, *parts, against, f"{tokens[row] / 1e6:.2f} M"]) + " |")
    (TARGET / "README.md").write_text(_PAGE.format(worlds=worlds, budget=BUDGET, table="\n".join(lines)))


def _interval(values: list[float], sign: bool = False) -> str:
    if len(values) < 2:
        return f"{values[0]:{'+' if sign else ''}.1f}"
    mean, _, high = mean_interval(np.array(values))
    return f"{mean:{'+' if sign else ''}.1f} ± {high - mean:.1f}"


_PAGE = """# Allocators on the built-in corpus

Accuracy in percent after two rounds, mean over {worlds} worlds with the half-width of its 95 % t-interval (few worlds
make it wide). Three clients with different SLMs; budget {budget} samples per direction and round where a row filters;
the same number of steps everywhere. "Other" are the domains a client has no data of. Regenerate with `make bench`.

{table}
"""

if __name__ == "__main__":
    main()
