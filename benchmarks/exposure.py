"""How exposed planted secrets are with and without Swing: `python benchmarks/exposure.py` (or `make bench-exposure`).

A client has the codes of eight patients among its private samples. The public samples ask for the same patients with a
wrong code each, as a curious server would. The server's model learns the client's soft targets on these texts and
nothing else. Then `lada audit --exposure` ranks each true code among 1024. Every setting is a run of a minute or so;
those already in `runs/exposure/` are not run again. Writes `results/exposure/`: `cells.json` and `README.md`.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

import lada
from lada.audit.audit import audit
from lada.core.plural import counted
from lada.federation import run_folder
from lada.federation.parties import let_go, read_task, server_party
from lada.tasks.builtin import load_builtin
from lada.tasks.options import BuiltinTask

RUNS, TARGET = Path("runs/exposure"), Path("results/exposure")
PATIENTS = ("ada", "bob", "cleo", "dan", "eve", "finn", "gina", "hugo")
DOMAIN, CLIENT, SERVER = "clinic", "clinic", "llm"
STEPS = {"steps": 100, "batch_size": 16, "optimisation": {"learning_rate": 3e-3}}


def swing(**options: Any) -> dict[str, Any]:
    """Return a client's keys for Swing, with noise from the run's seed, which makes the table repeatable."""
    return {"policies": [{"name": "swing", "options": {"seeded": True, **options}}]}


SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "withholding (the default)": {"withhold": {}},
    "swing, gap": swing(score="gap"),
    "swing, gap, no noise": swing(score="gap", noise="none"),
    "swing, patterns": swing(score="patterns", patterns=[r"code.*"]),
    "swing, rarity": swing(score="rarity", words=2),
}


def write_task(folder: Path, seed: int) -> None:
    """Write the files of the task, and those secrets that the audit looks for."""
    rng = random.Random(seed)

    def code() -> str:
        return " ".join(str(rng.randrange(10)) for _ in range(4))

    task = load_builtin(BuiltinTask(public=8, private=8, replay=2, test_per_domain=1), {CLIENT: (DOMAIN,)}, seed)
    rows = {
        name: [
            {key: getattr(sample, key) for key in ("id", "domain", "question", "rationale", "answer")}
            for sample in group
        ]
        for name, group in (("train", task.private[CLIENT]), ("public", task.public), ("test", task.test))
    }
    secrets = []
    for patient in PATIENTS:
        true, wrong = code(), code()
        asked = f"which code for patient {patient} ?"
        rows["train"].append(_row(f"x-{patient}", f"patient {patient} in the clinic . which code ?", patient, true))
        rows["public"].append(_row(f"y-{patient}", asked, patient, wrong))
        secrets.append({"question": asked, "text": f"{patient} : code {{{true}}}"})
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in {**rows, "secrets": secrets}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _row(id: str, question: str, patient: str, code: str) -> dict[str, str]:
    rationale = f"{patient} : code {code}"
    return {"id": id, "domain": DOMAIN, "question": question, "rationale": rationale, "answer": code}


def config(folder: Path, seed: int, client: dict[str, Any]) -> dict[str, Any]:
    """Return one round in which the server learns nothing but the client's distributions over gold texts."""
    model = {"model": "zoo:slm-llama", "max_new_tokens": 4}
    none = {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0}
    return {
        "name": "run",
        "seed": seed,
        "rounds": 1,
        "workers": 0,
        "task": {
            "kind": "files",
            "partition": {"by": "domain"},
            **{name: str((folder / f"{name}.jsonl").resolve()) for name in ("train", "public", "test")},
        },
        "server": {"name": SERVER, "model": model, "distil": STEPS},
        "clients": [
            {
                "name": CLIENT,
                "domains": [DOMAIN],
                "model": model,
                "private": STEPS,
                "distil": {"steps": 1},
                "withhold": None,
                **client,
            }
        ],
        "host": {
            "name": "fedmkt",
            "options": {"directions": "slm_to_llm", "knowledge": "labels", "trust": "off", "server_replay": none},
        },
        "allocator": "all",
        "objective": {"name": "soft_targets", "options": {"form": "forward_kl", "label_weight": 0.0, "k": 32}},
    }


def cell(setting: str, seed: int) -> dict[str, Any]:
    """Return the exposures of one run, in bits by party, and how well the server learnt the other texts."""
    folder = RUNS / f"{setting.replace(', ', '-').replace(' ', '-')}-{seed}"
    done = folder / "cell.json"
    if not done.exists():
        write_task(folder, seed)
        lada.run(config(folder, seed, SETTINGS[setting]), runs=folder, resume=True)
        found = audit(folder / "run", exposed=folder / "secrets.jsonl").exposures
        bits = {party: [one.bits for one in found if one.party == party] for party in (SERVER, CLIENT)}
        told = {"setting": setting, "seed": seed, "bits": bits, "loss": _loss(folder / "run")}
        done.write_text(json.dumps(told), encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def _loss(run: Path) -> float:
    """Return the loss of the server's final model on the gold texts of the public questions with nothing private."""
    chosen, place = run_folder.read(run)
    task = read_task(chosen, place.base)
    party = server_party(chosen, place, task, lambda _event: None)
    pairs = [(each.question, each.rationale or "") for each in task.public if not each.id.startswith("y-")]
    found = party.learner.judge(pairs)
    let_go(party)
    return -sum(each.total for each in found) / sum(each.tokens for each in found)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    cells = [cell(setting, seed) for seed in seeds for setting in SETTINGS]
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "cells.json").write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    (TARGET / "README.md").write_text(page(cells, len(seeds)), encoding="utf-8")


def page(cells: list[dict[str, Any]], seeds: int) -> str:
    """Return the table as Markdown."""
    rows = "".join(
        f"| {setting} | {_mean(cells, setting, SERVER)} | {_most(cells, setting)} | {_mean(cells, setting, CLIENT)} "
        f"| {np.mean([each['loss'] for each in cells if each['setting'] == setting]):.3f} |\n"
        for setting in SETTINGS
    )
    return f"""# Exposure of planted secrets

`make bench-exposure ARGS="--seeds {seeds}"` makes this page and `cells.json`. A client with the shipped SLM `slm-llama`
studies {len(PATIENTS)} codes of four digits. A server with the same model learns only the client's soft targets on
public texts, which ask for these codes and show wrong ones. The [audit](../../docs/privacy.md#blunted-soft-targets)
ranks each true code among 1,024: 10 bits for the first place, 1.44 bits on average without knowledge. The figures are
over {counted(seeds * len(PATIENTS), "code")} from {counted(seeds, "seed")}. The loss, in nats per token, is on the
public texts without codes: lower is better.

| the client's protection | server, mean bits | server, most bits | client, mean bits | server, loss |
|---|---:|---:|---:|---:|
{rows}
The sample is small, and the model is tiny. The table shows that the policy works as described, not how it does with
other models or data.
"""


def _bits(cells: list[dict[str, Any]], setting: str, party: str) -> np.ndarray:
    return np.array([bits for each in cells if each["setting"] == setting for bits in each["bits"][party]])


def _mean(cells: list[dict[str, Any]], setting: str, party: str) -> str:
    return f"{_bits(cells, setting, party).mean():.2f}"


def _most(cells: list[dict[str, Any]], setting: str) -> str:
    return f"{_bits(cells, setting, SERVER).max():.2f}"


if __name__ == "__main__":
    main()
