"""The Python API: what the package offers, what it imports for that, and what a run shows."""

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub.utils import are_progress_bars_disabled
from tiny_run import tiny
from transformers.utils import logging

import lada
from lada.models.quiet import no_bars
from lada.report.interactive import RunResults

PUBLIC = ["__version__", "compare", "demo", "load", "plan", "run"]
LIGHT = """
import sys, lada
print(dir(lada), lada.__version__, lada.load.__name__, lada.compare.__name__)
print([name for name in ("torch", "transformers", "flwr", "pandas", "matplotlib") if name in sys.modules])
"""


@pytest.fixture
def _bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show other libraries' progress bars, whatever the environment of this process says."""
    hub = sys.modules["huggingface_hub.utils.tqdm"]  # by its name it is the class of that name
    monkeypatch.setattr(hub, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    monkeypatch.setattr(hub, "progress_bar_states", {})
    monkeypatch.setattr(logging, "_tqdm_active", True)


def test_the_package_shows_its_api_and_imports_nothing_that_computes() -> None:
    said = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"{PUBLIC} {lada.__version__} load compare", "[]"]
    assert all(callable(getattr(lada, name)) for name in PUBLIC[1:])
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = lada.rum


@pytest.mark.usefixtures("_bars")
def test_a_run_shows_what_the_command_shows_and_no_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[str] = []
    results = lada.run(tiny(), runs=str(tmp_path), progress=True, emit=lambda event: events.append(event["kind"]))
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"run tiny in {tmp_path / 'tiny'}\n")
    assert "clinic after round 1: overall" in said.out
    assert {"run", "round", "evaluation", "end"} <= set(events)
    assert isinstance(results, RunResults)
    assert results.folder == tmp_path / "tiny"
    assert lada.load(results.folder) == results
    assert logging.is_progress_bar_enabled()


def test_a_run_is_silent_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lada.run(tiny(rounds=0), runs=tmp_path)
    assert capsys.readouterr().out == ""


def test_the_demo_runs_the_shipped_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shorter = ("rounds=0", "workers=0", "task={kind: rulebooks, public: 6, private: 6, test_per_domain: 1, replay: 2}")
    results = lada.demo(runs=tmp_path, overrides=shorter)
    assert (results.name, len(results.parties)) == ("demo", 4)
    assert "llm after round 0: overall" in capsys.readouterr().out


@pytest.mark.usefixtures("_bars")
@pytest.mark.parametrize("shown", [True, False])
def test_the_setting_of_bars_is_restored(shown: bool) -> None:
    if not shown:
        logging.disable_progress_bar()
    seen: list[tuple[bool, bool]] = []

    @no_bars()
    def fail() -> None:
        seen.append((logging.is_progress_bar_enabled(), not are_progress_bars_disabled()))
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [(False, False)]
    assert (logging.is_progress_bar_enabled(), not are_progress_bars_disabled()) == (shown, shown)
