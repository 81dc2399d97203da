"""Relay and worker over a real socket, and a whole run through them: a deployment without Flower's processes."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import warm
from federations import change, comparable, small, write
from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Proto

import lada
from lada.config_source import read_config
from lada.core.errors import FederationError
from lada.engines.binding import read_binding, read_keys, write_binding
from lada.engines.relay import VARIABLE, Relay, RelayFile, client_app
from lada.engines.setup import init
from lada.engines.worker import TERMS_FILE
from lada.federation import party_cache, run_folder
from lada.federation.grid import LocalGrid
from lada.federation.messages import HELLO, MESSAGE_TYPE, Envelope, decode, encode
from lada.federation.parties import Place, read_task
from lada.federation.run import Run, ignore
from lada.federation.terms import TERMS, run_id, terms_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets")


def keys(home):
    """Return the paths of a client's own key and of the server's public one."""
    return str(home / "client.key"), str(home / "identity.pub")


def bound(fed):
    """Return the binding of a federation whose nodes are those of a LocalGrid."""
    found = read_keys(fed / "server" / "keys")
    write_binding(fed / "server", found, {name: node for node, name in enumerate(found, start=2)})
    return read_binding(fed / "server", found)


class Workers:
    """Workers, by client, each started again when it dies, as `lada client` would."""

    def __init__(self, fed):
        self.folder = Path(tempfile.mkdtemp(prefix="lada-test-"))
        self.files = {path.name: path / "client.yaml" for path in (fed / "clients").iterdir()}
        self.processes = {}
        self.relays = {
            name: RelayFile(name, str(home / "state"), str(self.folder / name), 10**6, *keys(home), patience=60)
            for name, home in ((name, file.parent) for name, file in self.files.items())
        }
        for name, relay in self.relays.items():
            relay.write(self.folder / f"{name}.json")

    def start(self, name):
        file, environment = self.files[name], {**os.environ, "OMP_NUM_THREADS": "1"}
        command = "-m", "lada.engines.worker", file, self.relays[name].socket
        self.processes[name] = warm.start(*command, log=file.parent / "worker.log", env=environment)

    def submit(self, name, data):
        """Do what Flower's process for a message does."""
        if name not in self.processes:
            self.start(name)
        os.environ[VARIABLE] = str(self.folder / f"{name}.json")
        reply = client_app(message_from_proto(Proto.FromString(data)), Context(1, 2, {}, RecordDict(), {}))
        future = Future()
        future.set_result(message_to_proto(reply).SerializeToString())
        return future

    def end(self):
        for process in self.processes.values():
            process.stdin.close()  # a worker ends when whoever started it does
            process.wait(30)
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()
        os.environ.pop(VARIABLE, None)


@pytest.fixture
def workers(tmp_path):
    init(write(tmp_path), tmp_path / "fed")
    crew = Workers(tmp_path / "fed")
    yield crew
    crew.end()


def hello(tmp_path, **changes):
    """Return a run's name and terms."""
    config = read_config(tmp_path / "fed" / "server" / "run.yaml", tuple(f"{k}={v}" for k, v in changes.items()))
    place = Place(tmp_path / "small", tmp_path, 1e9)
    return run_id(place), terms_of(config, read_task(config, tmp_path), place)


@pytest.mark.slow
def test_a_run_through_relays_and_workers_gives_the_bits_of_a_local_one_although_workers_are_killed(tmp_path, workers):
    local = lada.run(tmp_path / "run.yaml", runs=tmp_path / "local")
    party_cache.forget()
    config = read_config(tmp_path / "fed" / "server" / "run.yaml")
    place = run_folder.new(tmp_path / "runs", config, tmp_path / "fed" / "server")
    seen = []

    def submit(name, data):
        """Kill a worker with -9 amid its third message, the first with studies; it is started again."""
        seen.append(name)
        if name != "clinic" or seen.count(name) != 3:
            return workers.submit(name, data)
        victim = workers.processes[name]

        def kill_and_start():
            time.sleep(0.3)
            victim.kill()
            victim.wait()
            workers.start(name)

        thread = Thread(target=kill_and_start)
        thread.start()
        future = workers.submit(name, data)
        thread.join()
        return future

    grid = LocalGrid([client.name for client in config.clients], submit)
    far = Run(config, place, ignore, read_task(config, place.base), {}, grid, bound(tmp_path / "fed")).go()
    assert far.notices == local.notices
    assert comparable(far) == comparable(local)
    assert all(evaluation.agreement is None for evaluation in far.evaluations)
    assert {path.name for path in (place.folder / "clients").iterdir()} == {"llm"}
    state = tmp_path / "fed" / "clients" / "clinic" / "state"
    assert [path.name for path in state.iterdir() if path.is_dir()] == [run_id(place)]
    assert (state / run_id(place) / "events.jsonl").stat().st_size > 0


@pytest.mark.slow
def test_clients_of_a_kind_of_which_some_are_drawn_give_the_bits_of_a_local_run(tmp_path):
    clients: Any = small()["clients"]
    clients[0]["count"] = 2
    file = write(tmp_path, rounds=2, participants=2, clients=clients)
    names = init(file, tmp_path / "fed")
    assert len(names) == 3
    crew = Workers(tmp_path / "fed")
    try:
        local = lada.run(file, runs=tmp_path / "local")
        party_cache.forget()
        config = read_config(tmp_path / "fed" / "server" / "run.yaml")
        place = run_folder.new(tmp_path / "runs", config, tmp_path / "fed" / "server")
        grid = LocalGrid(names, crew.submit)
        far = Run(config, place, ignore, read_task(config, place.base), {}, grid, bound(tmp_path / "fed")).go()
    finally:
        crew.end()
    assert comparable(far) == comparable(local)
    asked = {name for row in far.wall_clock.exchanges if row.round == 1 for name in (c.party for c in row.clients)}
    assert len(asked) == 2


def test_terms_come_first_and_are_held_to(tmp_path, workers):
    run, terms = hello(tmp_path)
    workers.start("clinic")
    relay = Relay(workers.relays["clinic"], run)
    with pytest.raises(FederationError, match="has accepted no terms"):
        relay.handle("evaluate", 0, {})
    assert stat.S_IMODE(os.stat(workers.relays["clinic"].socket).st_mode) == 0o600
    with pytest.raises(FederationError, match="cannot be the name of a folder"):
        Relay(workers.relays["clinic"], "../../escape").handle(HELLO, 0, terms)
    with pytest.raises(FederationError, match="they cannot be read"):
        relay.handle(HELLO, 0, {TERMS: b'{"run": "small"}'})
    with pytest.raises(FederationError, match="expected 1 to"):
        relay.handle(HELLO, 0, {TERMS: b" " * (2**20 + 1)})
    with pytest.raises(FederationError, match="they are for run"):
        Relay(workers.relays["clinic"], "other").handle(HELLO, 0, terms)
    _, other = hello(tmp_path, **{"task.public": 13})
    with pytest.raises(
        FederationError, match=r"the public samples here are not those of the server; compare task\.public"
    ):
        relay.handle(HELLO, 0, other)
    _, other = hello(tmp_path, **{"task.test_per_domain": 2})
    with pytest.raises(FederationError, match="the test samples here are not"):
        relay.handle(HELLO, 0, other)
    assert not (tmp_path / "fed" / "clients" / "clinic" / "state" / run).exists()
    assert relay.handle(HELLO, 0, terms) == {}
    assert relay.handle(HELLO, 0, terms) == {}
    _, longer = hello(tmp_path, rounds=3)
    assert relay.handle(HELLO, 0, longer) == {}
    kept = (tmp_path / "fed" / "clients" / "clinic" / "state" / run / TERMS_FILE).read_bytes()
    with pytest.raises(
        FederationError, match=r"\d rounds?, but this client has accepted 3 before. Either they are a replay"
    ):
        relay.handle(HELLO, 0, terms)
    assert (tmp_path / "fed" / "clients" / "clinic" / "state" / run / TERMS_FILE).read_bytes() == kept
    _, other = hello(tmp_path, **{"allocator.options.budget": 5})
    with pytest.raises(FederationError, match=r"differ from those with which run .* began"):
        relay.handle(HELLO, 0, other)
    first = relay.handle("evaluate", 0, {})
    assert relay.handle("evaluate", 0, {}) == first
    relay.handle("contribute", 1, {})
    with pytest.raises(FederationError, match="it is a replay"):
        relay.handle("evaluate", 0, {})
    log = (tmp_path / "fed" / "clients" / "clinic" / "worker.log").read_text()
    told = (
        "refused or failed: message 0-evaluate: this client answered it before, and later ones since, so it is a replay"
    )
    assert told in log


def ask(workers, name, payload):
    """Send one message as Flower would and return the reply's content."""
    sent = Message(encode(Envelope("r-1", "evaluate", 0, "server"), payload), 2, MESSAGE_TYPE)
    future = workers.submit(name, message_to_proto(sent).SerializeToString())
    return decode(message_from_proto(Proto.FromString(future.result())).content)


def test_an_oversized_message_is_refused_before_it_reaches_the_worker(tmp_path, workers):
    LocalGrid(["clinic"], workers.submit)  # gives this process the identity that a message needs
    workers.processes["clinic"] = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    envelope, payload = ask(workers, "clinic", {"paths": b"x" * (10**6 + 1)})
    assert (envelope.sender, envelope.code, payload) == ("clinic", "malformed", {})
    log = (tmp_path / "fed" / "clients" / "clinic" / "state" / "errors.log").read_text()
    assert f"reference {envelope.reference}" in log
    assert (
        "it has 1000001 bytes and the limit is 1000000; let the sender send less, or raise limits.max_message_bytes"
        in log
    )


def test_work_that_takes_too_long_is_given_up_the_next_message_answered_and_a_worker_ends_with_its_owner(
    tmp_path, workers
):
    """One test, since a worker takes seconds to start."""
    change(workers.files["clinic"], limits={"seconds": 0.05})
    run, terms = hello(tmp_path)
    relay = Relay(workers.relays["clinic"], run)
    workers.start("clinic")
    with pytest.raises(FederationError, match=r"phase 'hello' took more than limits\.seconds = 0\.05"):
        relay.handle(HELLO, 0, terms)
    assert workers.processes["clinic"].wait(30) == 1
    change(workers.files["clinic"], limits={})
    workers.start("clinic")
    assert relay.handle(HELLO, 0, terms) == {}
    process = workers.processes.pop("clinic")
    process.send_signal(signal.SIGINT)  # Ctrl-C is for whoever looks after it
    time.sleep(0.2)
    assert psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    process.stdin.close()
    assert process.wait(30) == 0


def test_a_worker_that_never_starts_is_told_of(tmp_path):
    relay = Relay(RelayFile("c", str(tmp_path), str(tmp_path / "none"), 10, *keys(tmp_path), patience=0.1), "r")
    with pytest.raises(FederationError, match=r"did not start within 0\.1 s"):
        relay.handle(HELLO, 0, {})


def test_a_worker_that_dies_again_and_again_is_told_of(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="lada-test-"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        accepted = []

        def drop():
            for _ in range(3):
                connection, _ = listener.accept()
                accepted.append(connection.recv(1))
                connection.close()

        thread = Thread(target=drop)
        thread.start()
        with pytest.raises(FederationError, match="died 3 times in phase 'learn' of round 2"):
            Relay(RelayFile("c", str(tmp_path), str(folder / "s"), 10, *keys(tmp_path)), "r").handle(
                "learn", 2, {"paths": b"x"}
            )
        thread.join()
    assert len(accepted) == 3
    (folder / "s").unlink()
    folder.rmdir()


def test_the_relay_starts_without_torch_and_transformers():
    heavy = "torch", "transformers", "lada.config"
    code = f"import sys, lada.engines.relay; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert out.stdout.strip() == "[]"
