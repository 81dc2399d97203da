"""One configuration over all three engines, in real processes of Flower's: equal numbers, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psutil
import pytest
from federations import change, comparable, write

from lada.core.results import Results
from lada.engines.certificates import write_node_key
from lada.engines.family import free_port
from lada.engines.setup import init

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
THIRD = {"name": "kitchen", "domains": ["kitchen"], "model": {"model": "zoo:slm-gpt2", "max_new_tokens": 24}}
STEPS = {"private": {"steps": 1, "batch_size": 4}, "distil": {"steps": 1, "batch_size": 4}}
FIRST_STARTS = 600
TEMPORARY = tempfile.mkdtemp(prefix="t-")
"""Where the commands put what is to be gone in the end; the variable tells their processes from others."""


def lada(folder, *arguments):
    """Start a command; what it prints goes to out.log."""
    environment = {**os.environ, "TMPDIR": TEMPORARY, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (folder / "out.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lada", *arguments],
            stdout=log,
            stderr=log,
            env=environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
        )


def wait_for(condition, process, what):
    deadline = time.monotonic() + FIRST_STARTS
    while not condition():
        assert process.poll() is None, what
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def said(file, text):
    return file.exists() and text in file.read_text(errors="replace")


def assert_nothing_is_left():
    """No process of ours is alive, no temporary file there."""
    left = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if process.status() != psutil.STATUS_ZOMBIE and environment.get("TMPDIR") == TEMPORARY:
            left.append(process.info)
    assert left == []
    assert [name for name in os.listdir(TEMPORARY) if not name.startswith("torchinductor")] == []


def assert_stopped(runs):
    """The run wrote its end, and nobody holds its folder."""
    assert json.loads((runs / "small" / "events.jsonl").read_text().splitlines()[-1])["status"] == "stopped"
    assert not (runs / "small" / ".lock").exists()


def results(folder):
    return Results.model_validate_json((folder / "small" / "results.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    yield tmp_path_factory.mktemp("engines")
    shutil.rmtree(TEMPORARY)


@pytest.fixture(scope="module")
def file(folder):
    file = write(folder)
    import yaml

    data = yaml.safe_load(file.read_text())
    change(file, clients=[*data["clients"], THIRD | STEPS])
    return file


@pytest.fixture(scope="module")
def local(folder, file):
    assert lada(folder, "run", str(file), "--runs", str(folder / "local")).wait(FIRST_STARTS) == 0
    return comparable(results(folder / "local"))


@pytest.fixture(scope="module")
def fed(folder, file):
    """A federation on this machine that is up."""
    init(file, folder / "fed", port=free_port())
    process = lada(folder, "federation", "up", str(folder / "fed"))
    wait_for(lambda: said(folder / "out.log", "ready: 3 clients are connected"), process, "federation up")
    yield folder / "fed"
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 0
    assert_nothing_is_left()
    assert not list((folder / "fed").rglob("*.lock"))


def submit(folder, fed, runs, *more):
    arguments = ["--engine", "deployment", "--federation", str(fed / "server"), "--runs", str(folder / runs)]
    return lada(folder, "run", str(fed / "server" / "run.yaml"), *arguments, *more)


def test_a_simulation_gives_the_numbers_of_a_local_run(folder, file, local):
    process = lada(folder, "run", str(file), "--engine", "simulation", "--runs", str(folder / "simulated"))
    assert process.wait(FIRST_STARTS) == 0
    assert comparable(results(folder / "simulated")) == local
    assert_nothing_is_left()
    kept = {path.name for path in (folder / "simulated" / "small").iterdir()}
    assert not any(name.startswith("submission") for name in kept)


def test_sigterm_ends_a_simulation_and_it_resumes_to_the_same_numbers(folder, file, local):
    runs = folder / "interrupted"
    arguments = ["run", str(file), "--engine", "simulation", "--runs", str(runs), "--resume"]
    process = lada(folder, *arguments)
    events = runs / "small" / "events.jsonl"
    wait_for(lambda: said(events, '"phase": "contribute"') or said(events, '"round": 1'), process, "simulation")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert_nothing_is_left()
    assert_stopped(runs)
    assert lada(folder, *arguments).wait(FIRST_STARTS) == 0
    assert comparable(results(runs)) == local


def actors():
    """The processes that answer for clients in a simulation of ours, at work or not."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            ours = process.environ().get("TMPDIR") == TEMPORARY
        except psutil.Error:
            continue
        if ours and " ".join(process.info["cmdline"] or []).startswith("ray::ClientAppActor"):
            found.append(process)
    return found


def test_a_simulation_gives_the_numbers_of_a_local_run_although_an_actor_is_killed(folder, file, local):
    runs = folder / "killed"
    process = lada(folder, "run", str(file), "--engine", "simulation", "--runs", str(runs), "--set", "workers=1")
    events = runs / "small" / "events.jsonl"
    wait_for(lambda: said(events, '"phase": "private"'), process, "simulation")
    (actor,) = actors()
    actor.kill()
    assert process.wait(FIRST_STARTS) == 0
    assert comparable(results(runs)) == local
    assert_nothing_is_left()


def test_a_deployment_gives_the_numbers_of_a_local_run_although_a_worker_is_killed(folder, fed, local):
    process = submit(folder, fed, "deployed")
    state = fed / "clients" / "clinic" / "state"
    wait_for(lambda: said(state / "logs" / "worker.log", "phase contribute"), process, "deployment")
    mine = str(fed / "clients" / "clinic" / "client.yaml")
    (worker,) = [
        one
        for one in psutil.process_iter(["cmdline"])
        if {"lada.engines.worker", mine} <= set(one.info["cmdline"] or [])
    ]
    worker.kill()
    assert process.wait(FIRST_STARTS) == 0
    assert comparable(results(folder / "deployed")) == local
    assert "the worker ended (code -9)" in (fed / "clients" / "clinic" / "client.log").read_text()
    (run,) = [path for path in state.iterdir() if path.name.startswith("small-")]
    assert json.loads((run / "events.jsonl").read_text().splitlines()[0])["party"] == "clinic"


def test_ctrl_c_ends_a_deployed_run_alone_and_it_resumes_to_the_same_numbers(folder, fed, local):
    process = submit(folder, fed, "stopped", "--resume")
    events = folder / "stopped" / "small" / "events.jsonl"
    wait_for(lambda: said(events, '"round": 1'), process, "deployment")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert_stopped(folder / "stopped")
    again = submit(folder, fed, "stopped", "--resume")
    assert again.wait(FIRST_STARTS) == 0
    assert comparable(results(folder / "stopped")) == local


def test_what_the_server_cannot_do_is_told_in_its_own_words(folder, fed):
    process = submit(folder, fed, "refused", "--set", "task.public=13")
    assert process.wait(FIRST_STARTS) == 1
    log = (folder / "out.log").read_text()
    assert "Client 'clinic' refused: failed (reference " in log
    errors = (fed / "clients" / "clinic" / "state" / "errors.log").read_text()
    assert "the public samples here are not those of the server" in errors


def test_an_unknown_key_is_refused_and_both_sides_say_what_to_do(folder, fed):
    shutil.copytree(fed / "clients" / "clinic", folder / "stranger", ignore=shutil.ignore_patterns("state", "*.log"))
    write_node_key(folder / "stranger" / "client.key", folder / "stranger" / "clinic.pub")
    process = lada(folder, "client", str(folder / "stranger" / "client.yaml"))
    wait_for(lambda: said(folder / "out.log", "the server does not know this client's key"), process, "stranger")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "its key is not registered here" in (fed / "server" / "superlink.log").read_text()


def test_plain_text_and_a_foreign_authority_are_refused_by_the_client(folder, fed):
    from lada.engines.certificates import write_authority

    shutil.copytree(fed / "clients" / "clinic", folder / "misled", ignore=shutil.ignore_patterns("state", "*.log"))
    write_authority(folder / "misled", 1)
    process = lada(folder, "client", str(folder / "misled" / "client.yaml"))
    wait_for(lambda: said(folder / "out.log", "is not signed by ca.crt"), process, "misled")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not (folder / "misled" / "state" / "logs" / "supernode.log").exists()
