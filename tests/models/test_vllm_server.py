"""A server of vLLM's that a learner starts: once for all rounds, with its faults named, and gone with the learner."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_api import chat, serving
from pydantic import ValidationError

from lada.core.errors import InputError, LadaError
from lada.models import api_client, vllm_server
from lada.models.api import ApiLearner, check_api
from lada.models.api_options import ApiOptions, Serve
from lada.models.vllm_server import find_vllm

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a command `vllm` in front of all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "vllm"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "fake_vllm_serve.py"} "$@"\n')
    file.chmod(0o755)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(vllm_server, "PAUSE", 0.05)
    monkeypatch.setattr(vllm_server, "FREE", 0.2)
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.01)
    return file


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = probe.getsockname()[1]
    yield found
    assert not listens(found)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def options(port: int, **more: Any) -> ApiOptions:
    settings = {"serve": Serve(), "key_variable": None, "cache": "cache", **more}
    return ApiOptions(base_url=f"http://127.0.0.1:{port}/v1", model="org/big", **settings)


def engine_of(log: Path) -> int:
    found = re.search(r"^engine (\d+)$", log.read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def gone(pid: int) -> bool:
    if not psutil.pid_exists(pid):
        return True
    psutil.wait_procs([psutil.Process(pid)], timeout=20)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_is_started_once_told_of_and_gone_with_the_learner(tmp_path: Path, port: int):
    log = tmp_path / "cache" / "vllm.log"
    learner = ApiLearner(options(port, top_log_probs=5, serve=Serve(arguments=("--tensor-parallel-size=2",))), tmp_path)
    assert not listens(port)  # whose answers are all in the cache needs none
    assert [answer.text for answer in learner.answer(["a", "b"], seed=0)] == ["answer 4"] * 2
    told = f"vllm serve was started for 'org/big'; its log is {str(log)!r}"
    assert learner.take_notices() == (told,)
    first = log.read_text()
    learner.answer(["c"], seed=0)  # of a later round
    assert learner.take_notices() == ()
    assert log.read_text() == first
    engine = engine_of(log)
    given = ["serve", "org/big", "--host", "127.0.0.1", "--port", str(port), "--max-logprobs", "5"]
    given += ["--generation-config", "vllm", "--seed", "0", "--tensor-parallel-size=2"]
    assert f"telemetry 1 arguments {given}" in first
    del learner
    assert gone(engine)
    assert not listens(port)


def test_one_that_runs_already_is_used_and_left_alone(tmp_path: Path, port: int):
    first = ApiLearner(options(port), tmp_path)
    first.answer(["a"], seed=0)
    second = ApiLearner(options(port), tmp_path / "other")
    second.answer(["b"], seed=0)
    (told,) = second.take_notices()
    assert told == f"a server at http://127.0.0.1:{port}/v1 answered for 'org/big' already and is left alone"
    del second
    assert listens(port)
    del first


def test_a_key_is_the_servers_too(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEACHER_KEY", "a-key-of-some-length")
    learner = ApiLearner(options(port, key_variable="TEACHER_KEY"), tmp_path)
    assert learner.answer(["a"], seed=0)[0].text == "answer 4"
    del learner


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "ValueError: Free memory on device cuda:0 (3.2/15.9 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 14.3 GiB).",
            "the GPU has too little free memory; in serve.arguments lower --gpu-memory-utilization",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", "the GPU has too little free memory"),
        ("OSError: [Errno 98] Address already in use", "its port is taken; give another port in base_url"),
        ("OSError: org/big is not a local folder", "'OSError: org/big is not a local folder'"),
    ],
)
def test_why_it_does_not_start(words: str, reason: str, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_VLLM", words)
    learner = ApiLearner(options(port), tmp_path)
    with pytest.raises(LadaError, match=rf"model.api.serve: vllm serve ended \(code 1\); .*{re.escape(reason)}"):
        learner.answer(["a"], seed=0)


def test_an_argument_that_it_does_not_know(tmp_path: Path, port: int):
    learner = ApiLearner(options(port, serve=Serve(arguments=("--odd",))), tmp_path)
    with pytest.raises(LadaError, match=r"\(code 2\); it does not know an argument; see serve.arguments"):
        learner.answer(["a"], seed=0)


def test_one_that_ends_amid_the_answers_is_named(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FAKE_VLLM_ENDS", "1")
    learner = ApiLearner(options(port, retries=9), tmp_path)
    with pytest.raises(LadaError, match=r"vllm serve ended \(code 9\); .*'RuntimeError: Engine core died'"):
        learner.answer(["a"], seed=0)


def test_one_that_is_never_ready(tmp_path: Path, port: int, command: Path):
    command.write_text("#!/bin/sh\nexec sleep 600\n")
    learner = ApiLearner(options(port, serve=Serve(timeout=0.5)), tmp_path)
    with pytest.raises(LadaError, match=r"is not ready after 0.5 s; set a larger serve.timeout"):
        learner.answer(["a"], seed=0)
    del learner


def test_a_port_that_another_has(tmp_path: Path):
    with serving(lambda request, number: chat("x")) as api:  # knows no GET
        learner = ApiLearner(options(int(api.url.split(":")[2].removesuffix("/v1"))), tmp_path)
        with pytest.raises(InputError, match=r"what answers at .* is not a vLLM server .*give another port"):
            learner.answer(["a"], seed=0)


def test_another_model_at_the_port(tmp_path: Path, port: int):
    first = ApiLearner(options(port), tmp_path)
    first.answer(["a"], seed=0)
    other = ApiLearner(options(port).model_copy(update={"model": "org/other"}), tmp_path)
    with pytest.raises(InputError, match="answers for 'org/big', not for 'org/other'; give another port"):
        other.answer(["a"], seed=0)
    del first


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_a_run_that_is_killed(number: int, tmp_path: Path, port: int, command: Path):
    program = f"""
        import sys, time
        from lada.models import vllm_server
        from lada.models.api_options import ApiOptions, Serve
        from pathlib import Path
        vllm_server.find_vllm = lambda: {str(command)!r}
        options = ApiOptions(base_url="http://127.0.0.1:{port}/v1", model="org/big", key_variable=None, serve=Serve())
        server = vllm_server.VllmServer(options, Path({str(tmp_path / "log")!r}))
        server.ready()
        print("ready", flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    engine = engine_of(tmp_path / "log")
    keeper = next(child.pid for child in psutil.Process(parent.pid).children())
    os.kill(parent.pid, number)
    parent.communicate()
    assert gone(engine)
    assert gone(keeper)


def test_what_cannot_be_started_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch, command: Path):
    check_api(options(8000))
    command.unlink()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="the command vllm is not installed; call `pip install vllm`"):
        find_vllm()
    with pytest.raises(InputError, match="pip install vllm"):
        check_api(options(8000))
    for url in ("https://api.openai.com/v1", "http://127.0.0.1/v1", "http://10.0.0.1:8000/v1", "http://localhost:1/"):
        with pytest.raises(ValidationError, match=r"expected http://127.0.0.1:PORT/v1"):
            ApiOptions.model_validate({"base_url": url, "model": "big", "serve": {}})
    for argument in ("--port=1", "--max_logprobs", "--host"):
        with pytest.raises(ValidationError, match="is set by LaDa itself"):
            Serve(arguments=(argument,))
