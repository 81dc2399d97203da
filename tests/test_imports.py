"""What a command imports: who lists methods or has made a slip does not wait for what computes."""

import subprocess
import sys
from importlib.resources import files

import pytest

HEAVY = ("torch", "transformers", "flwr", "scipy", "sklearn", "peft", "pandas", "pyarrow", "httpx", "anyio")
EXAMPLES = sorted(str(file) for file in files("lada.examples").iterdir() if file.name.endswith(".yaml"))
DEMO = next(file for file in EXAMPLES if file.endswith("demo.yaml"))

RUN = """
import sys
from lada.cli.main import app
try:
    app(sys.argv[2:], standalone_mode=False)
except BaseException as error:
    print(type(error).__name__, getattr(error, "exit_code", ""))
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""
READ = """
import sys
from pathlib import Path
from lada.config import read_config
read_config(Path(sys.argv[2]))
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


def ran(code: str, names: tuple[str, ...], *arguments: str) -> tuple[str, str]:
    """Return what a fresh interpreter said, and which of the modules called `names` it had in the end."""
    command = [sys.executable, "-c", code, ",".join(names), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, _, imported = done.stdout.rpartition("imported:")
    return said + done.stderr, imported.strip()


def test_the_probe_sees_what_is_imported() -> None:
    assert ran("import sys, numpy; " + READ.strip().splitlines()[-1], ("numpy", "torch")) == ("", "numpy")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "doctor"),
        (["run", "--help"], "--dry-run"),
        (["methods"], "fedmkt"),
        (["examples", "list"], "demo"),
        (["examples", "show", "demo"], "zoo:llm-world-0"),
        (["rn", DEMO], " 2"),
        (["run", DEMO, "--dryrun"], " 2"),
        (["run", "nope.yaml"], "does not exist"),
        (["run", DEMO, "--dry-run", "--set", "roundz=2"], "unknown key"),
        (["run", DEMO, "--set", "rounds=two"], "rounds"),
        (["run", DEMO, "--set", "clients.clinic.distil.steps=-1"], "clients.1.distil.steps"),
        (["run", DEMO, "--set", "host=fedmk"], "did you mean 'fedmkt'?"),
        (["run", DEMO, "--set", "allocator.name=randon"], "did you mean 'random'?"),
        (["run", DEMO, "--set", "objective.name=sf"], "did you mean 'sft'?"),
        (["run", DEMO, "--set", "host.options.tires=2"], "host.options.tires"),
        (["run", DEMO, "--set", "allocator={name: lada, options: {clusters: 0}}"], "allocator.options.clusters"),
        (["run", DEMO, "--set", "trackers=[{name: wandbb}]"], "did you mean 'wandb'?"),
        (["doctor", DEMO, "--set", "roundz=2"], "unknown key"),
        (["tasks", "show", DEMO, "--set", "roundz=2"], "unknown key"),
        (["bench", "--suite", "quik"], "did you mean 'quick'?"),
    ],
)
def test_neither_a_list_nor_a_slip_brings_along_what_computes(arguments: list[str], said: str) -> None:
    printed, imported = ran(RUN, HEAVY, *arguments)
    assert said in printed
    assert imported == ""


@pytest.mark.parametrize("file", EXAMPLES)
def test_reading_a_configuration_does_not_either(file: str) -> None:
    assert ran(READ, HEAVY, file) == ("", "")
