import hashlib
import os

import pytest

from lada.core.errors import FederationError, InputError
from lada.federation.journal import Journal
from lada.federation.ledger import read
from lada.federation.local import run_local
from lada.federation.session import Rules, Session

NODE = "toy_nodes:open_node"
CONFIG = {"Clinic-2": '{"seed": 1}', "b": '{"seed": 2}', "tokyo": '{"seed": 3}'}


def grow_twice(exchange, seen):
    for round in (1, 2):
        asked = exchange.ask("grow", round, {name: {"seed": f"{round} {name}".encode()} for name in exchange.clients})
        seen.append(asked.wait())


def session(folder, **options):
    journal = Journal(folder / "journal" / "server")
    rules = Rules(600.0)
    return Session(run="r", folder=folder, rules=rules, journal=lambda round: journal.at(str(round)), **options)


def run(folder, serve, *, config=CONFIG, workers=0, emit=print, **options):
    return run_local(NODE, config, serve, session(folder, emit=emit, **options), workers=workers, emit=emit)


def expected(name: str) -> list[bytes]:
    first = hashlib.sha512(CONFIG[name].encode() + f"1 {name}".encode()).digest()
    return [first, hashlib.sha512(first + f"2 {name}".encode()).digest()]


def test_the_same_bits_in_this_process_and_in_one_or_two_workers(tmp_path):
    outcomes = []
    for workers in (0, 1, 2):
        seen, events = [], []
        folder = tmp_path / str(workers) / "run"
        rows = run(folder, lambda exchange: grow_twice(exchange, seen), workers=workers, emit=events.append)  # noqa: B023
        for i, replies in enumerate(seen):
            assert list(replies) == ["Clinic-2", "b", "tokyo"]
            assert replies == {n: {"state": expected(n)[i], "name": n.encode()} for n in CONFIG}
        assert rows == read(folder)
        files = {path.name for path in folder.iterdir()}
        assert files == {"clients", "digests.json", "journal", "ledger.parquet"} | (
            {"workers.log"} if workers else set()
        )
        order = sorted(events, key=lambda event: (event["round"], event["party"], event.get("direction", "")))
        outcomes.append((rows, order, (folder / "ledger.parquet").read_bytes()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    rows, events, _ = outcomes[0]
    assert len(rows) == 2 * 3 * 3
    assert sum(row.bytes for row in rows) == sum(
        len(f"{round} {name}".encode()) + 64 + len(name.encode()) for round in (1, 2) for name in CONFIG
    )
    messages = [event for event in events if event["kind"] == "message"]
    assert [(event["direction"], event["phase"]) for event in messages] == [("down", "grow"), ("up", "grow")] * 6
    assert sum(event["bytes"] for event in messages) == sum(row.bytes for row in rows)
    assert len(events) - len(messages) == 6


def test_a_client_whose_worker_is_killed_is_named_and_the_others_replies_are_kept(tmp_path):
    def serve(exchange):
        exchange.ask("echo", 1, {name: {"x": b"1"} for name in exchange.clients}).wait()
        with pytest.raises(FederationError) as caught:
            exchange.ask("die", 2, {"b": {}}).wait()
        assert str(caught.value) == "round 2, phase die: client 'b': died (its process ended over the message)"
        assert exchange.ask("echo", 3, {"b": {"x": b"2"}}).wait() == {"b": {"x": b"2"}}
        raise caught.value

    with pytest.raises(FederationError, match="client 'b': died"):
        run(tmp_path, serve, workers=1)
    assert [row.round for row in read(tmp_path)] == [1] * 6 + [3, 3]


def test_without_workers_a_clients_failure_has_the_same_words(tmp_path):
    with pytest.raises(FederationError, match=r"client 'b': failed \(reference"):
        run(tmp_path, lambda exchange: exchange.ask("fail", 1, {"b": {}}).wait())
    assert (tmp_path / "clients" / "b" / "errors.log").exists()


def test_a_resumed_run_keeps_the_rows_it_is_given(tmp_path):
    first = run(tmp_path, lambda exchange: grow_twice(exchange, []))
    kept = [row for row in first if row.round == 1]
    again = run(tmp_path, lambda exchange: None, earlier=kept)
    assert list(again) == kept
    assert list(read(tmp_path)) == kept


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b", "c:", "x\x00", "x\n", "n" * 201])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"(?s)^clients: .*cannot be the name of a folder"):
        run(tmp_path / "run", lambda exchange: None, config={name: "{}"})
    assert not (tmp_path / "run").exists()


def test_the_servers_name_is_taken(tmp_path):
    with pytest.raises(InputError, match="the name 'server' is the server's"):
        run(tmp_path, lambda exchange: None, config={"server": "{}"})


def test_a_node_that_is_not_there_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(InputError, match="'toy_nodes:closed'"):
        run_local("toy_nodes:closed", CONFIG, print, session(tmp_path / "run"), workers=2, emit=print)
    assert not (tmp_path / "run").exists()


def test_flower_is_told_to_report_nothing():
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
