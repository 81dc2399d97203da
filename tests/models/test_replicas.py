"""The processes of a parallel study: they do their share, say what fails, and never outlive who started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from lada.core.errors import InputError, LadaError
from lada.core.registry import Options
from lada.core.terms import Lesson
from lada.models import replicas
from lada.models.assignment import Assignment
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions, Parallel
from lada.models.private import Privacy
from lada.models.ranks import ALONE
from lada.models.replicas import Replicas
from lada.objectives.contrastive import Contrastive, ContrastiveOptions
from lada.objectives.sft import Sft
from lada.zoo.shipped import locate

CPU = torch.device("cpu")
SFT = Sft(Options())
LESSONS = [
    Lesson(f"s-{i}", f"a box holds {i} .", f"{i} plus 2 makes {i + 2} ." + " answer 5" * (i % 4), "answer 9")
    for i in range(11)
]
LOADED = "import json, sys\nsay = lambda **told: print(json.dumps(told), flush=True)\nsys.stdin.readline()\n"


def model(timeout: float = 60.0, **more: Any) -> ModelOptions:
    return ModelOptions(model="tiny", device="cpu", parallel=Parallel(processes=2, timeout=timeout), **more)


def fake(monkeypatch: pytest.MonkeyPatch, program: str, timeout: float = 60.0) -> Replicas:
    """Return ranks of which the second is a program that does what a test says."""
    monkeypatch.setattr(replicas, "BOOT", LOADED + program)
    return Replicas("nowhere", model(timeout), 0)


def begin(ranks: Replicas) -> None:
    with ranks.studying(Assignment(LESSONS, SFT, Study(), 0), CPU):
        raise AssertionError("it began without the others")


@pytest.mark.parametrize(
    ("program", "timeout", "kind", "message"),
    [
        (
            "sys.exit(7)",
            60,
            LadaError,
            r"rank 1 of 2 ended during a study \(code 7\); give it the memory that it needs",
        ),
        ("raise MemoryError('no room')", 60, LadaError, r"\(code 1\), its last output: 'MemoryError: no room'"),
        ("sys.stdin.read()", 0.5, LadaError, r"rank 1 of 2 has been silent for 0.5 s; set a larger parallel.timeout"),
        ("say(word='failed', kind='InputError', why='no such folder')", 60, InputError, "rank 1 of 2: no such folder"),
        ("say(word='failed', kind='ValueError', why='odd')", 60, LadaError, "rank 1 of 2: odd"),
    ],
)
def test_a_rank_that_cannot_begin_is_named(
    monkeypatch: pytest.MonkeyPatch, program: str, timeout: float, kind: type[Exception], message: str
):
    ranks = fake(monkeypatch, program, timeout)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(kind, match=message) as caught:
        begin(ranks)
    assert type(caught.value) is kind
    assert {child.pid for child in psutil.Process().children()} <= before  # it is gone, and waited for


def test_nothing_is_left_of_what_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    ranks = fake(monkeypatch, "sys.stdin.read()", 0.1)
    folder = ranks._folder
    assert folder.stat().st_mode & 0o077 == 0  # the log of a rank is for its owner
    with pytest.raises(LadaError, match="silent"):
        begin(ranks)
    del ranks
    assert not folder.exists()


def test_what_another_rank_has_to_say_is_told_once(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replicas, "Group", lambda *told: ALONE)
    learner = tiny.learner()
    learner.replicas = fake(monkeypatch, "say(word='ready'); say(word='done', notices=['it shrank']); sys.stdin.read()")
    assert learner.study(LESSONS, SFT, Study(steps=1), seed=0).steps == 1
    assert learner.take_notices() == ("rank 1 of 2: it shrank",)
    assert learner.take_notices() == ()


def test_a_private_study_is_one_processes_work(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    private = Study(steps=2, batch_size=4, dp=Privacy(noise_multiplier=1.0, seeded=True))
    alone, shared = tiny.learner(), tiny.learner()
    shared.replicas = fake(monkeypatch, "sys.exit(7)")
    for learner in (alone, shared):
        learner.study(LESSONS, SFT, private, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(alone.model.parameters(), shared.model.parameters(), strict=True))
    assert shared.take_notices()[0] == "model.parallel: a study with dp runs in one process, not in 2"


def shipped(**more: Any) -> HuggingFaceLearner:
    return load(locate("zoo:slm-llama"), ModelOptions(model="zoo:slm-llama", device="cpu", **more))


def gap(a: HuggingFaceLearner, b: HuggingFaceLearner) -> float:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [{}, {"tune": "lora"}])
def test_two_processes_study_as_one_does(tuned: dict[str, Any]):
    one, two = shipped(**tuned), shipped(**tuned, parallel=Parallel(processes=2))
    start = shipped(**tuned)
    two.load_adapter(one.adapter())
    for seed, objective in enumerate((SFT, Contrastive(ContrastiveOptions(form="dpo", reference=True)))):
        study = Study(steps=5, batch_size=4, micro_batch_size=2)
        a, b = (learner.study(LESSONS, objective, study, seed=seed) for learner in (one, two))
        assert (a.steps, a.lessons, a.tokens, a.pairs) == (b.steps, b.lessons, b.tokens, b.pairs)
        assert b.last_loss == pytest.approx(a.last_loss, abs=1e-3)
    assert gap(one, start) > 1e-2
    assert gap(one, two) < 1e-3  # Adam blows rounding in tiny gradients up


def survivors(pids: list[int]) -> list[int]:
    """Return which processes are still alive when they have had their time to end."""
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def children_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "lada.models.replica" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_a_rank_that_dies_amid_a_study_is_named_and_the_next_study_has_another():
    learner = shipped(parallel=Parallel(processes=2))
    killed: list[int] = []

    def kill(verb: str, done: int, total: int, tokens: int) -> None:
        if done == 2:
            killed.extend(child.pid for child in children_of(psutil.Process()))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(LadaError, match=r"model.parallel: rank 1 of 2 ended during a study \(code -9\)"):
        learner.study(LESSONS, SFT, Study(steps=500, batch_size=4), seed=0, progress=kill)
    assert survivors(killed) == []
    assert learner.study(LESSONS, SFT, Study(steps=2, batch_size=4), seed=0).steps == 2
    (other,) = children_of(psutil.Process())
    assert other.pid not in killed
    del learner
    assert survivors([other.pid]) == []


PARENT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_replicas import LESSONS, SFT, shipped
from lada.models.base import Study
from lada.models.options import Parallel
learner = shipped(parallel=Parallel(processes=2))
learner.study(LESSONS, SFT, Study(steps=100_000, batch_size=4), seed=0, progress=lambda *told: print(*told, flush=True))
"""


def started() -> tuple["subprocess.Popen[bytes]", list[int]]:
    """Start a process that studies for long with another, and return it and the other when they are at it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=dict(os.environ))
    assert parent.stdout is not None
    while b"study" not in parent.stdout.readline():
        assert parent.poll() is None
    return parent, [child.pid for child in children_of(psutil.Process(parent.pid))]


def interrupted(parent: "subprocess.Popen[bytes]") -> None:
    parent.send_signal(signal.SIGINT)


def killed(parent: "subprocess.Popen[bytes]") -> None:
    parent.kill()


@pytest.mark.slow
@pytest.mark.parametrize("end", [interrupted, killed])
def test_no_rank_outlives_who_started_it(end: Callable[[Any], None]):
    parent, pids = started()
    assert len(pids) == 1
    time.sleep(0.2)  # amid a step, not at the first one's end
    end(parent)
    parent.communicate()
    assert survivors(pids) == []
