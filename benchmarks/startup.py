"""What it costs to start: `python benchmarks/startup.py` (or `make bench-startup`).

CPU time, user and system, of whole commands with one thread, each several times in turns; the table has medians, in
seconds and as ratios to `import torch, transformers`, the least that a command pays that computes. A further worker is
half the difference between small runs of the demo with three workers and with one. Writes `results/startup/`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

from lada.federation.workers import ONE_THREAD

TARGET = Path("results/startup")
DEMO = str(files("lada.examples") / "demo.yaml")
BARE, SHAPES = "import torch, transformers", "import transformers.modeling_layers"
SMALL = ("rounds=0", "task.public=10", "task.private=5", "task.replay=2", "task.test_per_domain=1")
ONE, THREE, FURTHER = "a small run, 1 worker", "a small run, 3 workers", "a further worker"
COMMANDS = {
    f"`{BARE}`": ("-c", BARE),
    f"`{SHAPES}`": ("-c", SHAPES),
    "`lada --help`": ("-m", "lada", "--help"),
    "`lada methods`": ("-m", "lada", "methods"),
    "`lada examples list`": ("-m", "lada", "examples", "list"),
    "a wrong command": ("-m", "lada", "rn", DEMO),
    "a wrong option": ("-m", "lada", "run", DEMO, "--dryrun"),
    "a file that is not there": ("-m", "lada", "run", "nope.yaml"),
    "a wrong key": ("-m", "lada", "run", DEMO, "--set", "roundz=2"),
    "a wrong value": ("-m", "lada", "run", DEMO, "--set", "rounds=two"),
    "an unknown method": ("-m", "lada", "run", DEMO, "--set", "allocator.name=randon"),
    "a dry run of the demo": ("-m", "lada", "run", DEMO, "--dry-run"),
}


def cpu_seconds(arguments: tuple[str, ...]) -> float:
    """Run Python with arguments and return the CPU time of it and all that it started, seconds."""
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **ONE_THREAD}, capture_output=True, check=False, timeout=600
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def small_run(workers: int, runs: str) -> tuple[str, ...]:
    """Return the arguments of a run of the demo that evaluates its models on next to nothing."""
    sets = [part for key in (*SMALL, f"workers={workers}") for part in ("--set", key)]
    return ("-m", "lada", "run", DEMO, *sets, "--runs", runs)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        commands = {**COMMANDS, ONE: small_run(1, runs), THREE: small_run(3, runs)}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, arguments in commands.items():
                seconds[name].append(cpu_seconds(arguments))
    medians = {name: median(each) for name, each in seconds.items()}
    medians[FURTHER] = (medians[THREE] - medians[ONE]) / 2
    write(medians, options.rounds)


def write(medians: dict[str, float], rounds: int) -> None:
    """Write the figures and the page that shows them."""
    TARGET.mkdir(parents=True, exist_ok=True)
    bare = medians[f"`{BARE}`"]
    facts = {"python": platform.python_version(), "rounds": rounds, "date": time.strftime("%Y-%m-%d")}
    (TARGET / "figures.json").write_text(json.dumps({**facts, "cpu_seconds": medians}, indent=1) + "\n", "utf-8")
    rows = [f"| {name} | {took:.2f} | {took / bare:.2f} |" for name, took in medians.items()]
    page = f"""# What it costs to start

CPU seconds, user and system, of whole commands with one thread: medians of {rounds}, taken in turns in one run, and
their ratios to `{BARE}`. A further worker is half the difference between the runs with three
workers and with one. To count parameters takes `{SHAPES}`, so no dry run can cost
less.
`python benchmarks/startup.py` regenerates the table.

| what | CPU seconds | ratio |
|---|---|---|
"""
    (TARGET / "README.md").write_text(page + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
