"""What one poisoned client of three does to the others: `python benchmarks/poisoned.py` (or `make bench-poisoned`).

The demo's federation, where one client answers every public question with a wrong path, claims that it is right and is
all but certain of it, is set against the same federation without that client. World N runs with seed N and its own
LLM; LLMs of worlds that are not shipped are trained first (`lada zoo build llm-world-N`). Cells run one process each,
and those already in `runs/poisoned/` are not run again. Writes `results/poisoned/`: `cells.json` (every cell's
figures) and `README.md` (the table).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import lada
from lada import examples
from lada.codecs import paths
from lada.core.results import Results
from lada.core.terms import Path as ReasoningPath
from lada.evaluation.statistics import mean_interval
from lada.hosts.base import HOSTS
from lada.hosts.fedmkt import Fedmkt
from lada.hosts.options.fedmkt import FedmktOptions
from lada.rounds.base import Payload
from lada.rounds.knowledge import PATHS
from lada.rounds.party import Party

SABOTEUR = "kitchen"
WITHOUT, POISONED = "without it", "poisoned"
RUNS, TARGET = Path("runs/poisoned"), Path("results/poisoned")

BLIND = {"allocator": {"name": "lada", "options": {"gold": False}}, "objective": "sft"}
"""LaDa's filter and plain fine-tuning, without a look at the gold answers of the public samples."""
SETTINGS: dict[str, dict[str, Any]] = {
    "lada": {},
    "no gold": BLIND,
    "no gold, gain": {**BLIND, "host": {"name": "fedmkt", "options": {"trust": "gain"}}},
}
FIGURES = ("overall", "own", "other")


@HOSTS.register("poisoned", options=FedmktOptions)  # pyright: ignore[reportArgumentType]
class Poisoned(Fedmkt):  # pyright: ignore[reportGeneralTypeIssues]
    """FedMKT's round with a client that lies about every public question."""

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        told = super().reply(phase, party, round, payload)
        if party.name != SABOTEUR or PATHS not in told:
            return told
        knowledge = paths.decode(told[PATHS], known_ids=None)
        return {**told, PATHS: paths.encode(replace(knowledge, paths=tuple(_lies(party, knowledge.paths))))}


def _lies(party: Party, told: tuple[ReasoningPath, ...]) -> Iterator[ReasoningPath]:
    """Yield each path with another question's answer at its end, as if it were right and its writer certain."""
    gold = {sample.id: sample.answer or "" for sample in party.task.public}
    answers = sorted(set(gold.values()))
    for path in told:
        true = gold[path.sample_id]
        wrong = answers[(answers.index(true) + 1) % len(answers)]
        text = f"{path.text.rpartition('answer')[0]}answer {wrong}"
        sure = replace(path.likelihood, total=-1e-3, minimum=-1e-3, size=len(text.encode()))
        yield replace(path, text=text, answer=wrong, right=True, likelihood=sure)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--cell", type=Path, help="run this configuration and nothing else")
    options = parser.parse_args()
    if options.cell:
        lada.run(options.cell, runs=RUNS)
        return
    for world in range(1, options.worlds):
        subprocess.run([sys.executable, "-m", "lada", "zoo", "build", f"llm-world-{world}"], check=True)
    cells = [(s, k, world) for s in options.settings for world in range(options.worlds) for k in (POISONED, WITHOUT)]
    with ThreadPoolExecutor(options.parallel) as pool:
        whole = all(list(pool.map(lambda cell: _run(*cell), cells)))
    _write()
    sys.exit(0 if whole else 1)


def _name(setting: str, kind: str, world: int) -> str:
    return f"{setting} {kind} {world}".replace(", ", "-").replace(" ", "-")


def _run(setting: str, kind: str, world: int) -> bool:
    """Run one cell in a process of its own, or what is left of it; say whether its results are there now."""
    name = _name(setting, kind, world)
    config = yaml.safe_load(examples.texts()["demo"])
    config |= {"name": name, "seed": world, "workers": 0, **SETTINGS[setting]}
    config["clients"] = [client | {"withhold": None} for client in config["clients"]]
    config["task"]["world"] = world
    config["server"]["model"]["model"] = f"zoo:llm-world-{world}"
    if kind == WITHOUT:
        config["clients"] = [client for client in config["clients"] if client["name"] != SABOTEUR]
    else:
        options = config["host"]["options"] if isinstance(config["host"], dict) else {}
        config["host"] = {"name": "poisoned", "options": options}
    file = RUNS / f"{name}.yaml"
    if (RUNS / name / "report.html").exists():
        return True
    RUNS.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    with (RUNS / f"{name}.log").open("w") as log:
        command = [sys.executable, __file__, "--cell", str(file)]
        failed = subprocess.run(command, check=False, stdout=log, stderr=subprocess.STDOUT).returncode
    print(f"{name}: {'failed' if failed else 'done'}", flush=True)
    return not failed


def _figures(name: str) -> dict[str, float]:
    """Return the accuracies of the honest clients, mean over them, and how the LLM changed; percent."""
    results = Results.model_validate_json((RUNS / name / "results.json").read_text())
    last = max(evaluation.round for evaluation in results.evaluations)
    honest = [p.name for p in results.parties if p.role == "client" and p.name != SABOTEUR]
    server = next(p.name for p in results.parties if p.role == "server")
    told = {f: float(np.mean([getattr(results.of(c, last), f).value for c in honest])) for f in FIGURES}
    told["LLM"] = results.of(server, last).overall.value
    return {key: round(value, 4) for key, value in told.items()}


def _write() -> None:
    """Write what is there: the committed cells, and over them those that were run here."""
    file = TARGET / "cells.json"
    cells: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    names = [_name(s, k, w) for s in SETTINGS for k in (WITHOUT, POISONED) for w in range(10)]
    cells |= {name: _figures(name) for name in names if (RUNS / name / "report.html").exists()}
    TARGET.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({name: cells[name] for name in names if name in cells}, indent=1) + "\n")
    lines = [
        "| | worlds | without it | with it | difference, clients | each world | LLM |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting in SETTINGS:
        worlds = [w for w in range(10) if all(_name(setting, k, w) in cells for k in (WITHOUT, POISONED))]
        if worlds:
            before, after = ([cells[_name(setting, k, w)] for w in worlds] for k in (WITHOUT, POISONED))
            lines.append(_row(setting, before, after))
    (TARGET / "README.md").write_text(_TOLD.format(table="\n".join(lines)))


def _row(setting: str, before: list[dict[str, float]], after: list[dict[str, float]]) -> str:
    changes = [b["overall"] - a["overall"] for a, b in zip(before, after, strict=True)]
    llm = [b["LLM"] - a["LLM"] for a, b in zip(before, after, strict=True)]
    means = [f"{np.mean([cell['overall'] for cell in cells]):.2f}" for cells in (before, after)]
    each = ", ".join(f"{change:+.2f}" for change in changes)
    columns = [setting, str(len(before)), *means, _interval(changes), each, _interval(llm)]
    return f"| {' | '.join(columns)} |"


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    mean, _, high = mean_interval(np.array(values))
    return f"{mean:+.2f} ± {high - mean:.2f}"


_TOLD = """# A poisoned client

One of the demo's three clients answers every public question wrongly, says that each answer is right and that it is
certain of it. *Without it* is the same run with the other two clients. Accuracy in percent on all domains after two
rounds, mean over the two honest clients and over worlds, each with its own seed and LLM; differences are paired by
world, with the half-width of their 95 % t-interval. *LLM* is the difference of the LLM's own accuracy.
`make bench-poisoned` regenerates the table.

*lada* is the demo as it is, whose filter verifies answers; *no gold* is that filter without gold answers, on plain
fine-tuning; *gain* adds `host.options.trust: gain`, for which the server knows the gold answers of 64 public questions;
no party learns paths for these. Nothing is withheld.

{table}
"""

if __name__ == "__main__":
    main()
