"""What the demo computes besides its models: `python benchmarks/overhead.py` (or `make bench-overhead`).

The whole demo in one process and on one thread, from the first import to the report, with a clock around the verbs of
its learners: CPU time in all, CPU time of the verbs, and the ratio of both. A verb counts whole, with its tokenizing
and padding; loading a model does not. Writes `results/overhead/`.
"""

import argparse
import functools
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from state import state, told

from lada.config_source import read_config
from lada.experiment import run
from lada.models.learner import HuggingFaceLearner

TARGET = Path("results/overhead")
VERBS = ("study", "sample", "judge", "log_probs", "embed")


def clocked(spent: defaultdict[str, float]) -> None:
    """Let every verb of a learner add its CPU seconds to `spent`; one within another counts as the outer one."""
    inside = False

    def with_clock(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(verb)
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return verb(*args, **kwargs)
            inside, began = True, time.process_time()
            try:
                return verb(*args, **kwargs)
            finally:
                inside = False
                spent[name] += time.process_time() - began

        return call

    for name in VERBS:
        setattr(HuggingFaceLearner, name, with_clock(name, getattr(HuggingFaceLearner, name)))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE, as of lada run")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spent: defaultdict[str, float] = defaultdict(float)
    clocked(spent)
    with TemporaryDirectory() as runs:
        run(read_config(Path(str(files("lada.examples") / "demo.yaml")), (*options.set, "workers=0")), runs=Path(runs))
    write(options.out, {**spent, "all": time.process_time()})


def write(out: Path, seconds: dict[str, float]) -> None:
    """Write the figures and the page that shows them."""
    out.mkdir(parents=True, exist_ok=True)
    models = sum(seconds[verb] for verb in VERBS if verb in seconds)
    facts = {"python": platform.python_version(), "torch": torch.__version__, "state": state()}
    (out / "figures.json").write_text(json.dumps({**facts, "cpu_seconds": seconds}, indent=1) + "\n", "utf-8")
    rows = [f"| `{verb}` | {seconds[verb]:.1f} | {seconds[verb] / models:.3f} |" for verb in VERBS if verb in seconds]
    page = f"""# What the demo computes besides its models

CPU seconds of the demo in one process and on one thread, from the first import to the report, and their ratios to what
the learners' verbs took together. `python benchmarks/overhead.py` regenerates the table from one run.
{told([facts["state"]])}

| what | CPU seconds | ratio |
|---|---|---|
{chr(10).join(rows)}
| all verbs | {models:.1f} | 1.000 |
| the whole demo | {seconds["all"]:.1f} | {seconds["all"] / models:.3f} |
"""
    (out / "README.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
