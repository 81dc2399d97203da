"""Measure what the server of a large federation computes and holds: `python benchmarks/scale_scripted.py`.

A run of `fedmkt` with a filter through the local engine: real messages, checks, ledger, journal, checkpoints, results
and report. No model takes part. The server's learner answers from a script, and the clients, in one worker process,
write paths and reports by rule; so what this process computes and holds is the server's own work. Each size is a
process of its own. Writes `results/scale_scripted/`, which has the time of each stage and, per client, the memory.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from stages import clocked, peak
from state import state, told

import lada
from lada import experiment
from lada.codecs.metrics import encode_records
from lada.codecs.paths import encode
from lada.core.results import (
    AllocationRecord,
    Evaluation,
    Interval,
    PartyInfo,
    PartyReport,
    PhaseTime,
    StudyRecord,
)
from lada.core.seeds import generator
from lada.core.terms import Knowledge, Likelihood, Verb
from lada.core.terms import Path as ReasoningPath
from lada.federation import parties
from lada.federation.local import run_local
from lada.models.base import Answer, LearnerBase, StudyReport
from lada.rounds.reports import MEASURED, METRICS, TIMES

TARGET = Path(__file__).parents[1] / "results" / "scale_scripted"
CLIENTS, SAMPLES, ROUNDS, TESTS = (100, 1000), 10_000, 5, 40
STEPS = 4
MOST_RATIO = 11.0
"""What ten times the clients may cost in time."""
PATH_BYTES = 600
"""About what a decoded path takes in memory: a Path, its Likelihood and four short texts."""
STAGES = {
    "reply is checked": "lada.rounds.checks:Guard.check_reply",
    "ledger": "lada.federation.ledger:Ledger.record",
    "journal": "lada.federation.received:ReceivedReplies.keep",
    "reply is read": "lada.hosts.fedmkt:receive_knowledge",
    "judging": "lada.hosts.fedmkt:judge",
    "allocation": "lada.hosts.fedmkt:allocate_offers",
    "rows of the allocation": "lada.rounds.allocating:keep_rows",
    "reports": "lada.rounds.reports:collect",
    "checkpoint": "lada.federation.run:keep",
    "results": "lada.federation.outcome:Outcome.write",
    "report.html": "lada.federation.run:render",
}
"""Functions by what they do. `rows of the allocation` is part of `allocation`."""


class Script(LearnerBase):
    """A learner without a model: it is right on a part of the questions, which no study changes."""

    verbs = frozenset(Verb)
    name = "script"

    def answer(self, questions: Sequence[str], *, seed: int, **_: Any) -> list[Answer]:
        """Answer by the number in a question; one of three is wrong."""
        numbers = [int(question.split()[1]) for question in questions]
        texts = [f"the sum of {n} and 1 : answer {n + 1 + (n % 3 == 0)}" for n in numbers]
        return [Answer(text, _likelihood(-6.0 - n % 7, text)) for n, text in zip(numbers, texts, strict=True)]

    def judge(self, pairs: Sequence[tuple[str, str]], **_: Any) -> list[Likelihood]:
        """Judge a text by its length."""
        return [_likelihood(-8.0, text) for _, text in pairs]

    def embed(self, questions: Sequence[str], **_: Any) -> np.ndarray:
        """Return the same vectors each time."""
        return generator(0, "embed").normal(size=(len(questions), 16)).astype(np.float32)

    def study(self, lessons: Sequence[Any], *_: Any, **__: Any) -> StudyReport:
        """Learn nothing."""
        return StudyReport(STEPS, len(lessons), 0, 0, 100 * STEPS, 2.0, 1.0)

    def save(self, folder: Path) -> None:
        """Keep nothing."""


def _likelihood(total: float, text: str) -> Likelihood:
    return Likelihood(total, total / 2, 12, len(text))


@lru_cache(maxsize=1)
def _ids(public: str) -> list[tuple[str, int]]:
    """Return id and number of each public sample."""
    rows = map(json.loads, Path(public).read_text(encoding="utf-8").splitlines())
    return [(row["id"], int(row["answer"]) - 1) for row in rows]


class ScriptedNode:
    """A client by rule: each is right on another part of the questions, and a little more in each round."""

    def __init__(self, name: str, public: str) -> None:
        self._name, self._public = name, public

    def handle(self, phase: str, round: int, payload: Mapping[str, bytes]) -> dict[str, bytes]:
        """Reply to a message of `fedmkt`."""
        told: dict[str, Any] = {}
        if phase == "finish":
            told["parties"] = (_party(self._name),)
        if phase in ("evaluate", "learn"):
            told["evaluations"] = (_evaluation(self._name, round),)
        if phase in ("contribute", "learn"):
            told["studies"] = (_study(self._name, round, "private" if phase == "contribute" else "distil"),)
        if phase == "learn":
            told["allocations"] = (_allocation(self._name, round, len(_ids(self._public))),)
        report = _report(self._name, round, **told)
        return {**report, "paths": self._paths(round)} if phase == "contribute" else report

    def fetch(self, round: int, what: Any) -> bytes:
        """Refuse: no reply is so large."""
        raise NotImplementedError

    def _paths(self, round: int) -> bytes:
        rng = generator(1, self._name, round)
        ids = _ids(self._public)
        wrong = (rng.random(len(ids)) < 0.5 - 0.05 * round).tolist()
        totals = (-20 * rng.random(len(ids))).tolist()
        paths = []
        for (id, number), miss, total in zip(ids, wrong, totals, strict=True):
            answer = f"{number + 1 + miss}"
            text = f"{number} and 1 : answer {answer}"
            paths.append(ReasoningPath(id, self._name, text, answer, not miss, _likelihood(total, text)))
        return encode(Knowledge(self._name, round, tuple(paths)))


def open_node(context: Any, *_: Any) -> ScriptedNode:
    """Make the node; called in the worker."""
    config = json.loads(str(context.node_config["config"]))["config"]
    return ScriptedNode(str(context.node_config["name"]), config["task"]["public"])


def _report(name: str, round: int, **told: Any) -> dict[str, bytes]:
    timed = [] if "parties" in told else [row.phase for row in told.get("studies", ())] + ["evaluate"]
    phases = tuple(PhaseTime(party=name, round=round, phase=phase, start=0, seconds=0) for phase in timed)
    times = np.zeros((len(phases), len(MEASURED)), "<f8")
    return {METRICS: encode_records([PartyReport(phases=phases, **told)]), TIMES: times.tobytes()}


def _evaluation(name: str, round: int) -> Evaluation:
    share = float(generator(2, name).integers(20, 60) + 4 * round)
    all_ = Interval(value=share, low=max(share - 9, 0.0), high=min(share + 9, 100.0), count=TESTS)
    return Evaluation(
        party=name, round=round, overall=all_, own=all_, other=None, general=None, domains={"all": all_},
        difficulty={}, step_validity=None, calibration_error=0.1, agreement=None,
    )  # fmt: skip


def _study(name: str, round: int, phase: str) -> StudyRecord:
    return StudyRecord(
        party=name, round=round, phase=phase, steps=STEPS, lessons=64, pairs=0, replayed=0, tokens=400,
        first_loss=2.0, last_loss=1.0,
    )  # fmt: skip


def _allocation(name: str, round: int, public: int) -> AllocationRecord:
    return AllocationRecord(
        teacher="llm", student=name, round=round, candidates=public, chosen=public // 2, from_teacher=public // 2,
        right=70.0, agreement=50.0, diagnostics={},
    )  # fmt: skip


def _party(name: str) -> PartyInfo:
    return PartyInfo(
        name=name, role="client", model="script", architecture="script", parameters=0, domains=("all",),
        private_samples=1, weights="",
    )  # fmt: skip


def write_task(folder: Path, clients: int, samples: int) -> dict[str, Any]:
    """Write the samples of a run; return its task."""
    sizes = {"public": samples, "train": clients, "test": TESTS}
    start = 0
    for name, count in sizes.items():
        rows = [
            {"id": f"{name}-{n}", "question": f"add {n} and 1", "answer": f"{n + 1}", "rationale": f"so {n + 1}"}
            for n in range(start, start + count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        start += count
    paths = {name: str(folder / f"{name}.jsonl") for name in sizes}
    return {"kind": "files", "answer": "word", "partition": {"by": "iid"}, **paths}


def config(folder: Path, clients: int, samples: int, rounds: int, allocator: str) -> dict[str, Any]:
    """Return a run of so many scripted clients."""
    study = {"steps": STEPS, "batch_size": 4}
    return {
        "name": "scripted",
        "rounds": rounds,
        "workers": 1,
        "task": write_task(folder, clients, samples),
        "host": {"name": "fedmkt", "options": {"knowledge": "paths"}},
        "allocator": allocator,
        "objective": "sft",
        "server": {"model": {"model": "zoo:llm-world-0"}, "distil": study},
        "clients": [
            {"name": "phone", "count": clients, "model": {"model": "zoo:slm-gpt2"}, "private": study, "distil": study}
        ],
    }


def one(clients: int, samples: int, rounds: int, allocator: str) -> dict[str, Any]:
    """Run one size in this process and return its figures."""
    seconds: dict[str, float] = {}
    marks: list[float] = []

    def local(_: str, *given: Any, **named: Any) -> Any:
        return run_local("scale_scripted:open_node", *given, **named)

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            marks.append(time.process_time())
            told = f"{clients} clients, round {event['round']}: {marks[-1]:.1f} CPU-s, {peak():.0f} MiB"
            print(told, file=sys.stderr, flush=True)

    with ExitStack() as stack:
        runs = Path(stack.enter_context(TemporaryDirectory()))
        stack.enter_context(patch.object(parties, "_learner", lambda *_, **__: Script()))
        stack.enter_context(patch.object(experiment, "run_local", local))
        stack.enter_context(clocked(STAGES, seconds))
        results = lada.run(config(runs, clients, samples, rounds, allocator), runs=runs, emit=emit)
        spent = time.process_time() - marks[0]
        run = runs / "scripted"
        sizes = {file: (run / file).stat().st_size for file in ("results.json", "report.html", "allocations.parquet")}
    return {
        "clients": clients,
        "samples": samples,
        "rounds": rounds,
        "allocator": allocator,
        "learnt": sum(study.lessons for study in results.studies if study.party == "llm"),
        "start_cpu_seconds": round(marks[0], 2),
        "rounds_cpu_seconds": round(spent, 2),
        "peak_mib": round(peak()),
        "stages": {stage: round(seconds[stage], 2) for stage in STAGES},
        "bytes": sizes,
        "state": state(),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the figures as tables."""
    few, many = rows[0], rows[-1]
    grown = many["clients"] - few["clients"]
    lines = [
        "| clients | until round 0 | rounds, results | a client and round | peak memory | results.json | report.html |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['clients']:,} | {row['start_cpu_seconds']:.1f} s | {row['rounds_cpu_seconds']:.1f} s "
        f"| {1000 * row['rounds_cpu_seconds'] / row['clients'] / row['rounds']:.1f} ms | {row['peak_mib']} MiB "
        f"| {row['bytes']['results.json'] / 1e6:.1f} MB | {row['bytes']['report.html'] / 1e6:.2f} MB |"
        for row in rows
    ]
    ratio = many["rounds_cpu_seconds"] / few["rounds_cpu_seconds"]
    memory = 1024 * (many["peak_mib"] - few["peak_mib"]) / grown
    lines += [
        "",
        f"{many['clients'] / few['clients']:.0f} times the clients take {ratio:.1f} times the CPU time (limit "
        f"{MOST_RATIO:g}), and each client more takes {memory:.0f} KiB of the server's memory, most of it for its rows "
        f"in `results.json`, read again for the report. Its decoded paths of a round alone would take some "
        f"{few['samples'] * PATH_BYTES / 1024:,.0f} KiB.",
        "",
        "| stage, CPU-s | " + " | ".join(f"{row['clients']:,}" for row in rows) + " | ratio |",
        "|---|" + "---|" * (len(rows) + 1),
    ]
    for stage in STAGES:
        first, last = few["stages"][stage], many["stages"][stage]
        cells = " | ".join(f"{row['stages'][stage]:.1f}" for row in rows)
        lines.append(f"| {stage} | {cells} | {last / first if first else math.nan:.1f} |")
    return lines


def main(arguments: argparse.Namespace) -> None:
    """Measure all sizes, at once and thus under the same load, and write the tables."""
    size = [str(arguments.samples), str(arguments.rounds), arguments.allocator]
    runs = {
        clients: subprocess.Popen([sys.executable, __file__, "--one", str(clients), *size], stdout=subprocess.PIPE)
        for clients in arguments.clients
    }
    rows = []
    for clients, process in runs.items():
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{clients} clients: the run failed")
        rows.append(json.loads(out))
    write(rows, arguments)


def write(rows: Sequence[Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    """Write the figures, and the page that shows them."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "figures.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    whole = f"{max(CLIENTS):,} clients, {SAMPLES:,} public samples and {ROUNDS} rounds"
    full = (arguments.clients[-1], arguments.samples, arguments.rounds) == (max(CLIENTS), SAMPLES, ROUNDS)
    size = "" if full else f" The whole size, {whole}, was not run."
    command = (
        f"python benchmarks/scale_scripted.py --clients {' '.join(map(str, arguments.clients))} "
        f"--samples {arguments.samples} --rounds {arguments.rounds} --allocator {arguments.allocator}"
    )
    text = (
        f"# A server without models: what a large federation costs it\n\n{arguments.samples:,} public samples, "
        f"{arguments.rounds} rounds of `fedmkt` with the filter `{arguments.allocator}`, no models: the server's "
        "learner answers from a script, and the clients, in one worker process, write paths by rule. Messages, checks, "
        "ledger, journal, checkpoints, results and report are those of any run. CPU seconds and memory are the server "
        f"process's.{size} Made by `{command}`, in one run of each size. {told(row['state'] for row in rows)}\n\n"
    )
    (arguments.out / "README.md").write_text(text + "\n".join(table(rows)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--allocator", default="dual_min_ce", help="`lada_paper` also trains its networks")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--one", nargs=4, metavar=("CLIENTS", "SAMPLES", "ROUNDS", "ALLOCATOR"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        clients, samples, rounds = map(int, given.one[:3])
        print(json.dumps(one(clients, samples, rounds, given.one[3])))
    else:
        main(given)
