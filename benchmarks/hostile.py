"""What one hostile client of three does to the others under every host: `python benchmarks/hostile.py`.

Or `make bench-hostile`. A small form of the demo's federation runs with the two honest clients alone (the yardstick),
with an honest third one, and with a third one that lies in one of several ways; each with several seeds. Cells that
`results/hostile/cells.jsonl` has are not run again. Writes that file and `results/hostile/README.md`.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

import lada
from lada import examples
from lada.codecs import adapters, likelihoods, paths, samples, soft_targets
from lada.core.errors import FederationError, InputError
from lada.core.terms import Likelihood, SparseLogProbs, TokenScores
from lada.core.terms import Path as ReasoningPath
from lada.evaluation.statistics import mean_interval
from lada.hosts.base import HOSTS
from lada.rounds.averaging import ADAPTER
from lada.rounds.base import Payload
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT
from lada.rounds.party import Party
from lada.rounds.pooling import SAMPLES
from lada.tasks.builtin import load_builtin
from lada.tasks.options import BuiltinTask

LIAR = "kitchen"
ALONE, HONEST = "alone", "honest"
TARGET = Path("results/hostile")
STEPS = 150
"""Of each study."""
WITHIN = 2.0
"""Points that the honest parties may lose."""
CERTAIN = -1e-3
"""Log-prob that a liar claims of a whole path, nats."""

SHARED = {"model": "zoo:slm-llama", "max_new_tokens": 80, "tune": "lora", "lora": {"rank": 8}}
PATHS_LIES, SOFT_LIES, ADAPTER_LIES = ("certain", "garbage"), ("flipped",), ("zero", "huge")
SETTINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "fedmkt with LaDa": ({}, PATHS_LIES),
    "fedmkt with LaDa, no gold": ({"task": {"gold": "none"}}, PATHS_LIES),
    "fedmkt with LaDa, no gold, trust off": (
        {"task": {"gold": "none"}, "host": {"name": "fedmkt", "options": {"trust": "off"}}},
        ("certain",),
    ),
    "fedmkt": ({"plugin": "none", "task": {"gold": "rationales"}}, SOFT_LIES),
    "fedmkt, no gold": ({"plugin": "none", "task": {"gold": "none"}}, SOFT_LIES),
    "fedmd": ({"plugin": "none", "host": "fedmd", "task": {"gold": "rationales"}}, SOFT_LIES),
    "fedmd, no gold": ({"plugin": "none", "host": "fedmd", "task": {"gold": "none"}}, SOFT_LIES),
    "feddf": ({"plugin": "none", "host": "feddf", "task": {"gold": "rationales"}, "shared": True}, ADAPTER_LIES),
    "fedcollm": ({"plugin": "none", "host": "fedcollm", "task": {"gold": "rationales"}, "shared": True}, ADAPTER_LIES),
    "fedavg": ({"plugin": "none", "host": "fedavg", "shared": True}, ADAPTER_LIES),
    "centralized": ({"plugin": "none", "host": "centralized"}, ("labels",)),
}
"""Per setting what differs from the demo, and the kinds of liar. `shared`: all clients have one model, with LoRA."""
LIES = {
    "certain": "a wrong answer to every question, certain of each",
    "garbage": "words without an answer, certain of each",
    "flipped": "of each gold token that it is all but impossible, of another that it is certain, and of the whole text "
    "that it is certain",
    "zero": "an adapter of zeros",
    "huge": "its adapter times 1000",
    "labels": "private samples with another one's answer",
}


def config(setting: str, kind: str, seed: int) -> dict[str, Any]:
    """Return the configuration of a cell."""
    changes = dict(SETTINGS[setting][0])
    made: dict[str, Any] = yaml.safe_load(examples.texts()["demo"])
    task = {"public": 300, "private": 400, "test_per_domain": 20, "replay": 200, "gold": "answers"}
    made["task"] |= task | changes.pop("task", {})
    for study in (made["server"]["distil"], *(client[part] for client in made["clients"] for part in STUDIES)):
        study |= {"steps": STEPS}
    if changes.pop("shared", False):
        for client in made["clients"]:
            client["model"] = SHARED
            for part in STUDIES:
                client[part] |= {"optimisation": {"learning_rate": 0.003}}
    if kind == ALONE:
        made["clients"] = [client for client in made["clients"] if client["name"] != LIAR]
    return made | {"name": "cell", "seed": seed, "rounds": 1, "workers": 0} | changes


STUDIES = ("private", "distil")


@contextmanager
def lying(made: Mapping[str, Any], kind: str) -> Iterator[None]:
    """Let the third client lie while this lasts: what its half of the host replies is changed on its way out."""
    name = made["host"] if isinstance(made["host"], str) else made["host"]["name"]
    host, lie = type(HOSTS.get(name).make(HOSTS.get(name).options())), LIARS.get(kind)
    honest = host.reply
    if lie is not None:
        truth = _truth(made)

        def reply(self: Any, phase: str, party: Party, round: int, payload: Payload) -> Payload:
            told = honest(self, phase, party, round, payload)
            if party.name != LIAR:
                return told
            return {**told, **lie(Reply(party, told, truth))}

        host.reply = reply
    try:
        yield
    finally:
        host.reply = honest


@dataclass(frozen=True, slots=True)
class Reply:
    """What a liar has before it: its honest self and reply, and the gold answers of all public questions."""

    party: Party
    told: Payload
    truth: Mapping[str, str]


Lie = Callable[[Reply], Payload]
"""Returns the parts of a message that are lies."""


def _truth(made: Mapping[str, Any]) -> dict[str, str]:
    """Return the gold answers of the public questions, whoever else knows them."""
    options = BuiltinTask.model_validate(made["task"] | {"gold": "answers"})
    clients = {client["name"]: tuple(client["domains"]) for client in made["clients"]}
    return {sample.id: sample.answer or "" for sample in load_builtin(options, clients, made["seed"]).public}


def _paths(change: Callable[[ReasoningPath, Mapping[str, str]], str]) -> Lie:
    """Return a liar that changes the text of each of its paths and is certain of it."""

    def lie(reply: Reply) -> Payload:
        if PATHS not in reply.told:
            return {}
        knowledge = paths.decode(reply.told[PATHS], known_ids=None)
        lies = tuple(_certain(reply.party, path, change(path, reply.truth)) for path in knowledge.paths)
        return {PATHS: paths.encode(replace(knowledge, paths=lies))}

    return lie


def _certain(party: Party, path: ReasoningPath, text: str) -> ReasoningPath:
    sure = Likelihood(CERTAIN, CERTAIN, max(path.likelihood.tokens, 1), len(text.encode()))
    return replace(path, writer=party.name, text=text, answer=party.task.extract(text), right=True, likelihood=sure)


def _wrong(path: ReasoningPath, truth: Mapping[str, str]) -> str:
    answers = sorted(set(truth.values()))
    other = answers[(answers.index(truth[path.sample_id]) + 1) % len(answers)]
    return f"{path.text.rpartition('answer')[0]}answer {other}"


def _garbage(path: ReasoningPath, _: Mapping[str, str]) -> str:
    return f"who knows {path.sample_id} ? nobody ."


def _flipped(reply: Reply) -> Payload:
    told, lies = reply.told, dict[str, bytes]()
    if LIKELIHOODS in told:
        judgement = likelihoods.decode(told[LIKELIHOODS], known_ids=None)
        sure = {id: replace(each, total=CERTAIN, minimum=CERTAIN) for id, each in judgement.likelihoods.items()}
        lies[LIKELIHOODS] = likelihoods.encode(replace(judgement, likelihoods=sure))
    if SOFT in told:
        scores = soft_targets.SoftTargets(told[SOFT], known_ids=None)
        flipped = {id: _flip(scores[id]) for id in scores}
        size = scores.vocabulary_size
        lies[SOFT] = soft_targets.encode(flipped, vocabulary_size=size, party=reply.party.name, round=scores.round)
    return lies


def _flip(scores: TokenScores) -> TokenScores:
    """Return scores that give a text's own tokens next to nothing and another token of each row all the rest."""
    ids, own = scores.top.ids, scores.tokens[:, None]
    other = np.where(ids[:, :1] == own, ids[:, 1:2], ids[:, :1])
    log_probs = np.where(ids == other, CERTAIN, -16.0).astype(np.float32)
    return replace(scores, top=SparseLogProbs(ids, log_probs))


def _scaled(factor: float) -> Lie:
    def lie(reply: Reply) -> Payload:
        if ADAPTER not in reply.told:
            return {}
        weights, count = adapters.decode(reply.told[ADAPTER])
        return {ADAPTER: adapters.encode({name: np.float32(factor) * each for name, each in weights.items()}, count)}

    return lie


def _labels(reply: Reply) -> Payload:
    if SAMPLES not in reply.told:
        return {}
    name, round, own = samples.decode(reply.told[SAMPLES])
    others = (*own[1:], own[0])
    lies = [replace(a, answer=b.answer, rationale=b.rationale) for a, b in zip(own, others, strict=True)]
    return {SAMPLES: samples.encode(name, round, lies)}


LIARS: dict[str, Lie] = {
    "certain": _paths(_wrong),
    "garbage": _paths(_garbage),
    "flipped": _flipped,
    "zero": _scaled(0.0),
    "huge": _scaled(1000.0),
    "labels": _labels,
}


def run(setting: str, kind: str, seed: int, common: Path) -> dict[str, Any]:
    """Run a cell and return its row: the accuracies of the honest parties in the end, percent, or a reason."""
    made, began = config(setting, kind, seed), time.monotonic()
    row: dict[str, Any] = {"setting": setting, "kind": kind, "seed": seed}
    with TemporaryDirectory() as folder, lying(made, kind):
        try:
            results = lada.run(made, runs=Path(folder), common=common / f"seed-{seed}")
        except (InputError, FederationError) as error:
            return row | {"stopped": str(error)}
    last = max(evaluation.round for evaluation in results.evaluations)
    said = {e.party: round(e.overall.value, 4) for e in results.evaluations if e.round == last and e.party != LIAR}
    mine = [notice for notice in results.notices if LIAR in notice]
    return row | {"accuracy": said, "notices": mine, "seconds": round(time.monotonic() - began)}


def mean(row: Mapping[str, Any]) -> float:
    """Return the accuracy of the honest parties, their mean, percent."""
    return float(np.mean(list(row["accuracy"].values())))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table: differences are paired by seed."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row["setting"], row["kind"]][row["seed"]] = row
    lines = [
        "| setting | third client | seeds | honest parties, % | against none | each seed | against an honest one |",
        "|---|---|---|---|---|---|---|",
    ]
    for setting, (_, lies) in SETTINGS.items():
        for kind in (ALONE, HONEST, *lies):
            cells = found[setting, kind]
            if stopped := [row["stopped"] for row in cells.values() if "stopped" in row]:
                lines.append(f"| {setting} | {kind} | {len(cells)} | the run stops: {stopped[0]} | | | |")
            elif cells:
                values = f"{np.mean([mean(row) for row in cells.values()]):.2f}"
                against = [_differences(cells, found[setting, other]) for other in (ALONE, HONEST)]
                each = ", ".join(f"{change:+.2f}" for change in against[0])
                told = [setting, kind, str(len(cells)), values, _interval(against[0]), each, _interval(against[1])]
                lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines)


def _differences(cells: Mapping[int, Mapping[str, Any]], others: Mapping[int, Mapping[str, Any]]) -> list[float]:
    """Return by how much the parties that both have are better in `cells`, seed by seed."""
    changes = []
    for seed in sorted(cells.keys() & others.keys()):
        if "accuracy" in cells[seed] and "accuracy" in others[seed]:
            changes.append(mean(cells[seed]) - mean(others[seed]))
    return changes


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:+.2f}" for value in values)
    middle, _, high = mean_interval(np.array(values))
    return f"{middle:+.2f} ± {high - middle:.2f}"


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "cells.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    there = {(row["setting"], row["kind"], row["seed"]) for row in rows}
    with TemporaryDirectory() as common:
        for setting, seed in product(options.settings, range(options.seeds)):
            for kind in (ALONE, HONEST, *SETTINGS[setting][1]):
                if (setting, kind, seed) in there:
                    continue
                rows.append(run(setting, kind, seed, Path(common)))
                with file.open("a") as out:
                    out.write(json.dumps(rows[-1]) + "\n")
                print(rows[-1], flush=True)
    kinds = {row["kind"] for row in rows}
    lies = "\n".join(f"- *{kind}*: {what}" for kind, what in LIES.items() if kind in kinds)
    settings = "; ".join(setting for setting in SETTINGS if any(row["setting"] == setting for row in rows))
    (options.out / "README.md").write_text(
        _TOLD.format(table=table(rows), lies=lies, within=WITHIN, steps=STEPS, settings=settings)
    )


_TOLD = """# A hostile client of three

A small form of the demo's federation, one round: *alone* are the two honest clients and the server, *honest* has a
third client as good as they are, and the other rows a third one that lies. Accuracy on all domains after the last round
in percent, mean over the honest parties (the LLM counts where it is evaluated) and over seeds; differences are paired
by seed, with the half-width of their 95 % t-interval; with one seed there is no interval. What is wanted: no more than
{within:g} points below *alone*, or a run that stops with a reason. All options are the defaults, but where a row says
otherwise. `make bench-hostile` regenerates the table.

Studies have {steps} steps. With few seeds a difference of some points is noise; where an honest third client changes
little, a small difference says that a lie was stopped and nothing of what honest help is worth. Under `fedcot`,
`public_sft` and `standalone` no client learns from what another sends. Run so far: {settings}.

What the third client sends:

{lies}

{table}
"""

if __name__ == "__main__":
    main()
