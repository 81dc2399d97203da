"""Membership inference on models trained by text and by judgement: `python benchmarks/membership.py`.

Two clients study their private samples and then learn from the LLM: from its paths (`sft`), or from its scores of their
own paths (`on_policy` with `label_weight: 0`). All else is equal. Then `lada audit --mia` asks of each final model
which samples it studied. A run takes a minute or so; those already in `runs/membership/` are not run again. Writes
`results/membership/`: `cells.json` and `README.md`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from state import state, told

import lada
from lada.audit.audit import audit

RUNS, TARGET = Path("runs/membership"), Path("results/membership")
CLIENTS = {"warehouse": "slm-llama", "clinic": "slm-gpt2"}
SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"objective": "sft"},
    "judgement": {"objective": {"name": "on_policy", "options": {"estimator": "k1", "label_weight": 0.0}}},
}
NO_REPLAY = {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0}


def config(setting: str, seed: int) -> dict[str, Any]:
    """Return a run in which clients study private samples several times, and then learn from the LLM."""

    def study(steps: int) -> dict[str, Any]:
        return {"steps": steps, "batch_size": 16, "optimisation": {"learning_rate": 1e-3}}

    return {
        "name": "run",
        "seed": seed,
        "rounds": 2,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 60, "private": 60, "test_per_domain": 60, "replay": 4},
        "server": {"model": {"model": "zoo:slm-olmo2", "max_new_tokens": 24}, "distil": study(5)},
        "clients": [
            {
                "name": name,
                "domains": [name],
                "model": {"model": f"zoo:{model}", "max_new_tokens": 24},
                "private": study(25),
                "distil": study(15),
            }
            for name, model in CLIENTS.items()
        ],
        "host": {"name": "fedmkt", "options": {"client_replay": NO_REPLAY, "server_replay": NO_REPLAY}},
        "allocator": "all",
        **SETTINGS[setting],
    }


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Return the attacks on the clients' final models of one run, with their accuracies."""
    folder = RUNS / f"{setting}-{seed}"
    done = folder / "cell.json"
    if not done.exists():
        results = lada.run(config(setting, seed), runs=folder, resume=True)
        found = [
            {"party": one.party, "attack": one.attack, "auc": one.auc, "low": one.low, "high": one.high, "tpr": one.tpr}
            for client in audit(folder / "run", memberships=True).clients
            for one in client.memberships
        ]
        tokens = {
            phase: sum(each.tokens for each in results.studies if each.phase == phase and each.party in CLIENTS)
            for phase in ("private", "distil")
        }
        made = {"setting": setting, "seed": seed, "attacks": found, "tokens": tokens, "state": state()}
        done.write_text(json.dumps(made), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def page(cells: list[dict[str, Any]], seeds: int) -> str:
    """Return the table as Markdown."""
    rows = []
    for setting in SETTINGS:
        for attack in ("loss", "gain"):
            found = [
                one
                for each in cells
                if each["setting"] == setting
                for one in each["attacks"]
                if one["attack"] == attack
            ]
            aucs, sure = ([one[key] for one in found] for key in ("auc", "tpr"))
            rows.append(
                f"| {setting} | `{attack}` | {np.mean(aucs):.3f} | {min(aucs):.3f} to {max(aucs):.3f} | "
                f"{100 * np.mean(sure):.1f} % |"
            )
    return f"""# Membership inference after learning by text and by judgement

`python benchmarks/membership.py --seeds {seeds}` makes this page and `cells.json`. Two clients with shipped SLMs study
60 private samples each, in both of two rounds. Then they learn from the LLM: from its paths (`text`), or from its
scores of their own paths (`judgement`, `on_policy` with `k1` and `label_weight: 0`). The
[audit](../../docs/privacy.md#membership-inference) attacks each client's final model. The figures are over
{len(CLIENTS) * seeds} models of {seeds} seeds. 0.5 is guessing.

| learnt by | attack | AUC, mean | least and most | found at 1 % false alarms |
|---|---|---:|---:|---:|
{chr(10).join(rows)}

{told(each["state"] for each in cells)} The sample is small, and the models are tiny. The attacker of this audit has the
weights. It does not see the judgements that a client sends.
"""


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = parser.parse_args().seeds
    cells = [cell(setting, seed) for seed in range(seeds) for setting in SETTINGS]
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "cells.json").write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    (TARGET / "README.md").write_text(page(cells, seeds), encoding="utf-8")


if __name__ == "__main__":
    main()
