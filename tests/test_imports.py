"""What a command imports: who lists methods or has made a slip does not wait for what computes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import click
import pytest
from typer.main import get_command

from lada.cli.main import app
from lada.models.placement import has_driver
from lada.planning.kept import PACKAGES, SHIPPED, versions

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
from lada.config_source import read_config
read_config(Path(sys.argv[2]))
print("imported:", *(name for name in sys.argv[1].split(",") if name in sys.modules))
"""


FORKS = """
import json, os, sys
from importlib import import_module
import lada.config
from lada.cli.main import app
from lada.points import POINTS

for point in POINTS.values():
    point.registry.names()
for module in sys.argv[1:]:
    import_module(module)
for line in sys.stdin:
    code, folder, environment, *sys.argv[1:] = json.loads(line)
    child = os.fork()
    if not child:
        for handle, name in enumerate((os.devnull, f"{folder}/out", f"{folder}/err")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), handle)
        os.chdir(environment["PWD"])
        os.environ.clear()
        os.environ.update(environment)
        try:
            exec(code, {})
        finally:
            sys.stdout.flush()
            os._exit(sys.exc_info()[0] is not None)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Does what it is told on each line in a fork of an interpreter that has imported the commands and all methods."""

Ran = Callable[..., tuple[str, str]]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks one interpreter for each command")


@contextmanager
def forks(folder: Path, *modules: str) -> Iterator[Ran]:
    """Give what an interpreter with these modules says to code, and which called `names` it has in the end."""
    command = [sys.executable, "-c", FORKS, *modules]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forks:
        assert forks.stdin is not None
        assert forks.stdout is not None
        told, received = forks.stdin, forks.stdout

        def run(code: str, names: tuple[str, ...], *arguments: str) -> tuple[str, str]:
            environment = {**os.environ, "PWD": os.getcwd()}
            told.write(json.dumps([code, str(folder), environment, ",".join(names), *arguments]) + "\n")
            told.flush()
            out, err = received.readline(), (folder / "err").read_text(encoding="utf-8")
            assert out == "0\n", err
            said, _, imported = (folder / "out").read_text(encoding="utf-8").rpartition("imported:")
            return said + err, imported.strip()

        yield run
        told.close()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Run commands."""
    with forks(tmp_path_factory.mktemp("said")) as run:
        yield run


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Run commands that plan."""
    with forks(tmp_path_factory.mktemp("planned"), "lada.planning.compose", "lada.cli.planned") as run:
        yield run


def test_the_probe_sees_what_is_imported(ran: Ran) -> None:
    assert ran("import sys, numpy; " + READ.strip().splitlines()[-1], ("numpy", "torch")) == ("", "numpy")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "doctor"),
        (["--version"], "lada "),
        (["demo", "--dry-run", "--set", "roundz=2"], "unknown key"),
        (["demo", "--name", "../x"], "cannot be the name of a folder"),
        (["run", "--help"], "--dry-run"),
        (["methods"], "fedmkt"),
        (["examples", "list"], "demo"),
        (["examples", "show", "demo"], "zoo:llm-world-0"),
        (["rn", DEMO], " 2"),
        (["run", DEMO, "--dryrun"], " 2"),
        (["run", "nope.yaml"], "does not exist"),
        (["run", DEMO, "--dry-run", "--set", "roundz=2"], "unknown key"),
        (["run", DEMO, "--set", "rounds=two"], "rounds"),
        (["run", DEMO, "--set", "clients.clinic.distil.steps=-1"], "clients.clinic.distil.steps"),
        (["run", DEMO, "--set", "host=fedmk"], "did you mean 'fedmkt'?"),
        (["run", DEMO, "--set", "allocator.name=randon"], "did you mean 'random'?"),
        (["run", DEMO, "--set", "objective.name=sf"], "did you mean 'sft'?"),
        (["run", DEMO, "--set", "host.options.tires=2"], "host.options.tires"),
        (["run", DEMO, "--set", "allocator={name: race, options: {laps: -1}}"], "allocator.options.laps"),
        (["run", DEMO, "--set", "trackers=[{name: wandbb}]"], "did you mean 'wandb'?"),
        (["doctor", DEMO, "--set", "roundz=2"], "unknown key"),
        (["tasks", "show", DEMO, "--set", "roundz=2"], "unknown key"),
        (["bench", "--suite", "quik"], "did you mean 'quick'?"),
        (["bench", "--only", "ladda"], "did you mean 'lada'?"),
        (["bench", "--list"], "quick"),
        (["methods", "random"], "budget"),
        (["methods", "fedmk"], "did you mean 'fedmkt'?"),
        (["examples", "show", "dmo"], "did you mean 'demo'?"),
        (["zoo", "list"], "llm-world-0"),
        (["schema"], "properties"),
        (["doctor", "nope.yaml"], "does not exist"),
        (["tasks", "show", "nope.yaml"], "does not exist"),
        (["track", "nope", "--to", "wandbb"], "did you mean 'wandb'?"),
    ],
)
def test_neither_a_list_nor_a_slip_brings_along_what_computes(ran: Ran, arguments: list[str], said: str) -> None:
    printed, imported = ran(RUN, HEAVY, *arguments)
    assert said in printed
    assert imported == ""


COMPUTES = HEAVY[: HEAVY.index("pyarrow")]
OF_RUNS = (
    ("chat", "--party", "clinic"),
    ("export", "--party", "clinic", "--to", "hf"),
    ("watch", "--once"),
    ("audit",),
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        *(([command, "nope", *more], "nope") for command, *more in OF_RUNS),
        *(([command, "empty", *more], "empty") for command, *more in OF_RUNS),
        (["methods", "fedmkt"], "knowledge"),
        (["report", "empty"], "results.json"),
        (["export", "empty", "--party", "clinic", "--to", "ggf"], "did you mean 'gguf'?"),
        (["federation", "init", "nope.yaml"], "does not exist"),
        (["federation", "init", "wrong.yaml"], "unknown key"),
        (["federation", "renew", "empty"], "ca.key"),
        (["federation", "lock", "empty"], "wheel"),
        (["federation", "up", "empty"], "server.yaml"),
        (["server", "nope.yaml"], "there is no file"),
        (["server", "wrong.yaml"], "unknown key"),
        (["client", "nope.yaml"], "there is no file"),
        (["client", "wrong.yaml"], "unknown key"),
        (["doctor", "client.yaml"], "did you mean 'name'?"),
        (["zoo", "build", "slm-lama"], "did you mean 'slm-llama'?"),
        (["zoo", "build", "--corpus", "rulebook"], "did you mean 'rulebooks'?"),
        (["run", "empty", "--resume"], "config.yaml"),
        (["run", DEMO, "--set", "server.model.model=zoo:llm-world-O"], "did you mean 'llm-world-0'?"),
        (["run", DEMO, "--dry-run", "--set", "server.model.model=zoo:llm-world-O"], "did you mean 'llm-world-0'?"),
        (["run", DEMO, "--set", "clients.clinic.model.model=./nope"], "clinic.model: there is no folder './nope'"),
        (["run", DEMO, "--set", "server.model.model=empty"], "there is no model.safetensors"),
        (["run", DEMO, "--set", "task={kind: corpus, corpus: gsm8}"], "did you mean 'gsm8k'?"),
        (["run", DEMO, "--set", "task={kind: corpus, corpus: gsm8k, source: nope}"], "task.source: there is no"),
        (["run", DEMO, "--set", "task={kind: files, train: nope.jsonl, public: nope.jsonl}"], "there is no file"),
        (["run", DEMO, "--set", "task={kind: files, train: a.josnl, public: a.jsonl}"], "did you mean '.jsonl'?"),
    ],
)
def test_nor_does_a_slip_in_what_is_read(
    ran: Ran, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.yaml").write_text("roundz: 2\n", encoding="utf-8")
    (tmp_path / "client.yaml").write_text("superlink: localhost:1\nnmae: clinic\n", encoding="utf-8")
    printed, imported = ran(RUN, COMPUTES, *arguments)
    assert said in printed
    assert imported == ""


def every_help(command: click.Command, *names: str) -> Iterator[tuple[str, ...]]:
    """Yield the words before `--help` of a command and of all below it."""
    yield names
    for name, below in getattr(command, "commands", {}).items():
        yield from every_help(below, *names, name)


@pytest.mark.parametrize("words", list(every_help(get_command(app))), ids=" ".join)
def test_nor_does_help(ran: Ran, words: tuple[str, ...]) -> None:
    printed, imported = ran(RUN, HEAVY, *words, "--help")
    assert "Usage" in printed
    assert imported == ""


@pytest.mark.skipif(has_driver(), reason="a plan asks PyTorch for its accelerators")
# The demo has a command of its own, and the data of digits come with scikit-learn.
@pytest.mark.parametrize("file", [file for file in EXAMPLES if file != DEMO and "digits" not in file])
def test_nor_does_the_plan_of_an_example(
    planned: Ran, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if json.loads(SHIPPED.read_text(encoding="utf-8"))["versions"] != versions(PACKAGES):
        pytest.skip("what is shipped is for other versions")
    monkeypatch.setenv("LADA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    printed, imported = planned(RUN, COMPUTES, "run", file, "--dry-run")
    assert "does it fit?" in printed
    assert imported == ""
    assert not (tmp_path / "cache").exists()  # all was known


@pytest.mark.parametrize("file", EXAMPLES)
def test_reading_a_configuration_does_not_either(ran: Ran, file: str) -> None:
    assert ran(READ, HEAVY, file) == ("", "")


@pytest.mark.skipif(has_driver(), reason="a plan asks PyTorch for its accelerators")
def test_nor_does_the_plan_of_the_demo(planned: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if json.loads(SHIPPED.read_text(encoding="utf-8"))["versions"] != versions(PACKAGES):
        pytest.skip("what is shipped is for other versions")
    monkeypatch.setenv("LADA_CACHE", str(tmp_path / "cache"))
    printed, imported = planned(RUN, COMPUTES, "demo", "--dry-run")
    assert "does it fit?" in printed
    assert imported == ""
