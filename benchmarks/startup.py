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
from importlib.resources import files
from pathlib import Path
from statistics import median

from state import state, told

from lada.federation.workers import ONE_THREAD

TARGET = Path("results/startup")
DEMO = str(files("lada.examples") / "demo.yaml")
API = str(files("lada.examples") / "api.yaml")
READ = (
    "import sys; from pathlib import Path; from lada.config_source import read_config; read_config(Path(sys.argv[1]))"
)
CHANGED = ("--set", "task.public=999")
KNOWN, NEW = "a dry run of what was planned before", "a dry run of what was not"
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
    "`lada methods fedmkt`": ("-m", "lada", "methods", "fedmkt"),
    "a configuration that is right": ("-c", READ, DEMO),
    "`lada export` of no run": ("-m", "lada", "export", "nope", "--party", "llm", "--to", "hf"),
    "`lada client` of no file": ("-m", "lada", "client", "nope.yaml"),
    "a dry run of the demo": ("-m", "lada", "run", DEMO, "--dry-run"),
    "a dry run of `api.yaml`": ("-m", "lada", "run", API, "--dry-run"),
    KNOWN: ("-m", "lada", "run", DEMO, "--dry-run", *CHANGED),
    NEW: ("-m", "lada", "run", DEMO, "--dry-run", *CHANGED),
}


def cpu_seconds(arguments: tuple[str, ...], cache: str) -> float:
    """Run Python with arguments and return the CPU time of it and all that it started, seconds; `cache` is LaDa's."""
    environment = {**os.environ, **ONE_THREAD, "LADA_CACHE": cache}
    before = os.times()
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False, timeout=600)
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
        cpu_seconds(commands[KNOWN], f"{runs}/cache")  # so that it is known
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, arguments in commands.items():
                with tempfile.TemporaryDirectory() as fresh:
                    seconds[name].append(cpu_seconds(arguments, fresh if name == NEW else f"{runs}/cache"))
    medians = {name: median(each) for name, each in seconds.items()}
    medians[FURTHER] = (medians[THREE] - medians[ONE]) / 2
    write(medians, options.rounds)


def write(medians: dict[str, float], rounds: int) -> None:
    """Write the figures and the page that shows them."""
    TARGET.mkdir(parents=True, exist_ok=True)
    bare = medians[f"`{BARE}`"]
    facts = {"python": platform.python_version(), "rounds": rounds, "state": state()}
    (TARGET / "figures.json").write_text(json.dumps({**facts, "cpu_seconds": medians}, indent=1) + "\n", "utf-8")
    rows = [f"| {name} | {took:.2f} | {took / bare:.2f} |" for name, took in medians.items()]
    page = f"""# What it costs to start

CPU seconds, user and system, of whole commands with one thread: medians of {rounds}, taken in turns in one run, and
their ratios to `{BARE}`. A further worker is half the difference between the runs with three
workers and with one. What a plan asks of its models is kept, and shipped for the examples; to find it out takes at
least `{SHAPES}`.
`python benchmarks/startup.py` regenerates the table. The spread was not kept.
{told([facts["state"]])}

| what | CPU seconds | ratio |
|---|---|---|
"""
    (TARGET / "README.md").write_text(page + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
