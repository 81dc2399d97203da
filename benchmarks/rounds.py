"""Measure what a run keeps books for: `python benchmarks/rounds.py` (or `make bench-rounds`).

Whole runs on this machine whose learners follow a script, so that only the work around them is left:
messages, journal, checkpoints, events, results. A round of a long run is held against one of a short run, both with
their ends and without their beginning (a run of no round), by CPU time and by bytes read and written; they take turns,
and the medians count. A learner saves one file of 4 MiB, so the bytes tell how often a model is written. It
also measures what it costs the server to collect the reports of many clients and of few. Writes `results/rounds/`.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from state import state, told

import lada
from lada.config import make_config
from lada.core.plural import counted
from lada.core.results import Evaluation, Interval, PhaseTime, StudyRecord
from lada.core.terms import Lesson, Likelihood, Verb
from lada.federation import parties, party_cache
from lada.federation.parties import Place, client_party, read_task, server_party
from lada.federation.run import ignore
from lada.models.base import Answer, LearnerBase, Progress, Study, StudyReport, silent
from lada.models.objective import Objective
from lada.rounds.reports import collect, report_payload

TARGET = Path(__file__).parents[1] / "results" / "rounds"
SHORT, LONG, CLIENTS = 5, 50, 3
FEW, MANY = 100, 1000
MODEL = 4 << 20
REPEATS = 3


class Scripted(LearnerBase):
    """A learner that says the same to everything, and saves MODEL bytes."""

    verbs = frozenset(Verb)
    name = "script"

    def __init__(self, saved: Path | None) -> None:
        self.studies = 0 if saved is None else int((saved / "studies").read_text())

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """See Learner.answer."""
        text = f"so answer {self.studies}"
        return [Answer(text, Likelihood(-1.0, -0.5, 4, len(text))) for _ in questions]

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """See Learner.judge."""
        return [Likelihood(-2.0, -1.0, 4, len(text.encode())) for _, text in pairs]

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """See Learner.embed."""
        return np.eye(len(questions), dtype=np.float32)

    def study(
        self, lessons: Sequence[Lesson], objective: Objective, study: Study, *, seed: int, progress: Progress = silent
    ) -> StudyReport:
        """See Learner.study."""
        self.studies += 1
        return StudyReport(study.steps, len(lessons), 0, 0, 10, 2.0, 1.0)

    def save(self, folder: Path) -> None:
        """See Learner.save."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "studies").write_text(str(self.studies))
        (folder / "weights").write_bytes(bytes(MODEL))


def scripted(*_: Any, saved: Path | None, **__: Any) -> Scripted:
    """Return a scripted learner instead of the one that the configuration names."""
    return Scripted(saved)


def config(rounds: int) -> dict[str, Any]:
    """Return a run of so many rounds; its models are named and not loaded."""
    model = {"model": "zoo:slm-gpt2"}
    return {
        "name": "rounds",
        "rounds": rounds,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 40, "private": 8, "test_per_domain": 4, "replay": 8},
        "server": {"model": model},
        "clients": [{"name": "phone", "count": CLIENTS, "model": model, "withhold": None}],
        "allocator": "all",
        "objective": "sft",
    }


def moved() -> int:
    """Return how many bytes this process has read and written by now, from disk or from the system's cache."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["rchar"]) + int(told["wchar"])


def whole_run(rounds: int) -> dict[str, float]:
    """Run, and return CPU seconds and bytes."""
    party_cache.forget()
    with TemporaryDirectory() as runs:
        start, before = time.process_time(), moved()
        lada.run(config(rounds), runs=Path(runs))
        return {"CPU seconds": time.process_time() - start, "MiB read and written": (moved() - before) / 2**20}


def collecting(clients: int) -> float:
    """Return the CPU seconds in which a server collects the reports of so many clients, in each of three rounds."""
    run = make_config(config(1))
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), Path(), time.time())
        task = read_task(run, Path())
        server = server_party(run, place, task, ignore)
        one = client_party(run, place, task, ignore, run.clients[0].name)
        server.clock = one.clock = lambda: 1e6
        spent = 0.0
        for round in range(3):
            replies: dict[str, Mapping[str, bytes]] = {}
            for number in range(clients):
                one.name = f"phone-{number}"
                one.note(**rows(one.name, round))
                replies[one.name] = report_payload(one)
            start = time.process_time()
            collect(server, replies)
            spent += time.process_time() - start
        return spent


def rows(party: str, round: int) -> dict[str, tuple[Any, ...]]:
    """Return what a client has to report of a round."""
    share = Interval(value=50.0, low=40.0, high=60.0, count=40)
    evaluation = Evaluation(
        party=party,
        round=round,
        overall=share,
        own=share,
        other=share,
        general=None,
        domains={f"domain-{i}": share for i in range(8)},
        difficulty={str(i): share for i in range(4)},
        step_validity=50.0,
        calibration_error=0.1,
        agreement=None,
    )
    counts = {"steps": 4, "lessons": 8, "pairs": 0, "replayed": 0, "tokens": 90, "first_loss": 2.0, "last_loss": 1.0}
    return {
        "evaluations": (evaluation,),
        "studies": tuple(StudyRecord(party=party, round=round, phase=p, **counts) for p in ("private", "distil")),
        "phases": tuple(
            PhaseTime(party=party, round=round, phase=p, start=1.0, seconds=1.0)
            for p in ("private", "answer", "judge", "distil", "evaluate")
        ),
        "notices": ("a notice that all clients have in common", f"round {round}: one of {party}"),
    }


def in_turn(measures: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[Any]]:
    """Return what each measure gives, some times, taking turns."""
    found: dict[str, list[Any]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    repeats = parser.parse_args().repeats
    parties._learner = scripted  # type: ignore[assignment]
    whole_run(1)  # imports, and what is made once in a process
    runs = in_turn({str(n): lambda n=n: whole_run(n) for n in (0, SHORT, LONG)}, repeats)
    figures: dict[str, dict[str, float]] = {}
    for what in runs["0"][0]:
        begin = median(run[what] for run in runs["0"])
        short, long = ((median(run[what] for run in runs[str(n)]) - begin) / n for n in (SHORT, LONG))
        figures[f"{what} a round"] = {f"{SHORT} rounds": short, f"{LONG} rounds": long, "ratio": long / short}
    costs = in_turn({str(n): lambda n=n: collecting(n) for n in (FEW, MANY)}, repeats)
    few, many = (median(costs[str(n)]) / 3 for n in (FEW, MANY))
    collected = {f"{FEW} clients": few, f"{MANY} clients": many, "ratio": many / few}
    write(figures, collected, repeats)


def write(figures: Mapping[str, Mapping[str, float]], collected: Mapping[str, float], repeats: int) -> None:
    """Write figures and page."""
    TARGET.mkdir(parents=True, exist_ok=True)
    everything: dict[str, Any] = {"repeats": repeats, "state": state(), "rounds": figures, "collect": collected}
    (TARGET / "figures.json").write_text(json.dumps(everything, indent=1) + "\n")
    table = [f"| | run of {SHORT} rounds | run of {LONG} rounds | ratio |", "|---|---|---|---|"]
    table += [f"| {what} | {' | '.join(f'{value:.3g}' for value in row.values())} |" for what, row in figures.items()]
    few, many, ratio = collected.values()
    text = (
        "# What a run keeps books for\n\nLearners follow a script, so that what is left is the work around them; "
        f"{CLIENTS} clients, each with a model of {MODEL >> 20} MiB. A round costs the same however many came before "
        f"it where the ratio is 1.\n\n{chr(10).join(table)}\n\nThe server collects the reports of {FEW} clients in "
        f"{1000 * few:.0f} ms of CPU time a round, and of {MANY:,} in {1000 * many:.0f} ms: {ratio:.1f} times as "
        f"much for {MANY // FEW} times as many.\n\nThe figures are medians of {counted(repeats, 'turn')}. `python "
        f"benchmarks/rounds.py` regenerates the page. {told([everything['state']])}\n"
    )
    (TARGET / "README.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
