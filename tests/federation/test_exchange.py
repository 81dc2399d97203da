import hashlib
import itertools
import json
import shutil
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from flwr.app import Error, Message
from toy_nodes import CANARY

from lada.core.errors import FederationError, LadaError
from lada.federation.client_app import ERROR_LOG
from lada.federation.exchange import GridExchange
from lada.federation.grid import LocalGrid, open_clients
from lada.federation.journal import Journal
from lada.federation.ledger import Ledger, traffic
from lada.federation.messages import SERVER, Envelope, encode
from lada.federation.pieces import PIECE, announced, decode_what
from lada.federation.session import Rules, Session
from lada.federation.workers import DeadWorkerError, FailedTaskError

if TYPE_CHECKING:
    from lada.rounds.base import Exchange, Pending

    def _keeps_the_contract(exchange: GridExchange) -> tuple[Exchange, Pending]:
        return exchange, exchange.ask("phase", 1, {})


NUMBERS = itertools.count()


class Clients:
    """Toy clients in this process; `after` sees each task and may hold its future back."""

    def __init__(self, folder, names, after=None):
        nodes = {"clients": str(folder), "texts": ["{}"], "nodes": dict.fromkeys(names, 0)}
        self.handle = open_clients(json.dumps({"open_node": "toy_nodes:open_node", **nodes}), print)
        self.after = after or (lambda name, future, reply: future.set_result(reply))
        self.wire = []

    def submit(self, name, data):
        future, reply = Future(), self.handle(name, data)
        self.wire += [data, reply]
        self.after(name, future, reply)
        return future


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path, lambda kind, payload: len(payload[kind]) // 10) as ledger:
        yield ledger


def exchange_with(clients, names, ledger, *, grid=None, quorum=1.0, timeout=0.02, **options):
    grid = grid or LocalGrid(names, clients.submit)
    rules = Rules(timeout=timeout, quorum=quorum, reply_bytes=20 << 20)
    empty = Journal(ledger._folder / f"journal-{next(NUMBERS)}")
    options = {"journal": lambda round: empty.at(str(round)), **options}
    exchange = GridExchange(grid, names, Session(run="r", folder=ledger._folder, rules=rules, **options), ledger)
    exchange.connect()
    return exchange


def test_replies_come_sorted_whatever_came_first(tmp_path, ledger):
    held = []

    def last_first(name, future, reply):
        held.insert(0, (future, reply))
        if len(held) == 3:
            while held:
                future, reply = held.pop(0)
                future.set_result(reply)

    names = ["Ö", "b", "東京"]
    exchange = exchange_with(Clients(tmp_path, names, last_first), names, ledger)
    assert exchange.clients == ("b", "Ö", "東京")
    replies = exchange.ask("echo", 1, {name: {"kind": name.encode()} for name in names}).wait()
    assert list(replies.items()) == [(name, {"kind": name.encode()}) for name in ("b", "Ö", "東京")]


@pytest.mark.parametrize("copied", [False, True], ids=["one payload", "a payload for each client"])
def test_what_several_clients_are_sent_is_hashed_once(tmp_path, ledger, monkeypatch, copied):
    hashed = []

    def sha256(data):
        hashed.append(data)
        return hashlib.sha256(data)

    monkeypatch.setattr("lada.core.known.hashlib", SimpleNamespace(sha256=sha256))
    names, newest = ["a", "b", "c"], b"newest adapter"
    exchange = exchange_with(Clients(tmp_path, names), names, ledger)
    told = {"adapter": newest}
    payloads = {name: dict(told) if copied else told for name in names} | {"c": {"adapter": b"another one"}}
    assert exchange.ask("echo", 1, payloads).wait() == payloads
    assert hashed[:2] == [newest, b"another one"]
    assert len(hashed) == 2 + len(names)  # and each reply
    digests = {row.receiver: row.digest for row in ledger.rows if row.sender == SERVER and row.phase == "echo"}
    assert digests == {name: hashlib.sha256(payloads[name]["adapter"]).hexdigest() for name in names}


def test_only_the_clients_asked_are_waited_for(tmp_path, ledger):
    clients = Clients(tmp_path, ["a", "b"])
    exchange = exchange_with(clients, ["a", "b"], ledger)
    assert exchange.ask("echo", 1, {"b": {"x": b"1"}}).wait() == {"b": {"x": b"1"}}
    sent = len(clients.wire)
    with pytest.raises(FederationError, match="round 1, phase echo: no client is named 'c'"):
        exchange.ask("echo", 1, {"b": {}, "c": {}})
    assert len(clients.wire) == sent


def test_the_ledger_counts_what_crossed(tmp_path, ledger):
    names = ["a", "b"]
    clients = Clients(tmp_path, names)
    exchange = exchange_with(clients, names, ledger)
    sent = {"a": {"paths": b"p" * 100, "ids": b"i" * 7}, "b": {"paths": b"q" * 30}}
    for round in (1, 2):
        exchange.ask("echo", round, sent).wait()
    measured = sum(len(data) for payload in sent.values() for data in payload.values())
    rows = ledger.rows
    assert sum(row.bytes for row in rows) == 2 * 2 * measured == 4 * 137
    assert [(row.sender, row.receiver, row.kind, row.samples) for row in rows[:6]] == [
        (SERVER, "a", "ids", 0),
        (SERVER, "a", "paths", 10),
        (SERVER, "b", "paths", 3),
        ("a", SERVER, "ids", 0),
        ("a", SERVER, "paths", 10),
        ("b", SERVER, "paths", 3),
    ]
    assert sum(total.bytes for total in traffic(rows)) == 4 * 137
    wire = b"".join(clients.wire)
    assert [wire.count(data) for data in (b"p" * 100, b"q" * 30)] == [4, 4]


def test_one_error_names_the_silent_and_the_failed_and_tells_nothing_of_the_cause(tmp_path, ledger):
    late = []

    def after(name, future, reply):
        late.append((future, reply)) if name == "slow" and len(clients.wire) > 6 else future.set_result(reply)

    names = ["good", "slow", "żle"]
    clients = Clients(tmp_path, names, after)
    exchange = exchange_with(clients, names, ledger)
    with pytest.raises(FederationError) as caught:
        exchange.ask("fail", 3, {name: {} for name in ("slow", "żle")}).wait()
    told = str(caught.value)
    log = (tmp_path / "żle" / ERROR_LOG).read_text()
    reference = told.split("reference ")[1][:8]
    assert told == (
        "round 3, phase fail: client 'slow': silent (no reply within 0.02 s); "
        f"client 'żle': failed (reference {reference} in errors.log in its own folder)"
    )
    assert CANARY in log
    assert f"reference {reference}, run r, round 3, phase fail" in log
    assert CANARY.encode() not in b"".join(clients.wire)
    assert str(tmp_path).encode() not in b"".join(clients.wire)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None

    # The late reply belongs to nobody: the next phase is as if it had never come.
    (future, reply), after_that = late[0], exchange.ask("echo", 4, {"good": {"x": b"1"}})
    future.set_result(reply)
    assert after_that.wait() == {"good": {"x": b"1"}}


def test_replies_before_a_failure_are_in_the_ledger(tmp_path, ledger):
    def after(name, future, reply):
        if name == "a" or len(clients.wire) <= 4:
            future.set_result(reply)

    clients = Clients(tmp_path, ["a", "b"], after)
    exchange = exchange_with(clients, ["a", "b"], ledger)
    with pytest.raises(FederationError, match="client 'b': silent"):
        exchange.ask("echo", 1, {"a": {"x": b"1"}, "b": {"x": b"1"}}).wait()
    assert [(row.sender, row.receiver) for row in ledger.rows] == [(SERVER, "a"), (SERVER, "b"), ("a", SERVER)]


def silent(*names):
    """Hold back the replies of these clients from their second message on."""
    seen = []

    def after(name, future, reply):
        seen.append(name)
        if name not in names or seen.count(name) == 1:
            future.set_result(reply)

    return after


def test_a_quorum_goes_on_and_the_record_names_who_was_missing(tmp_path, ledger):
    names = [f"c{i}" for i in range(10)]
    missing = []
    clients = Clients(tmp_path, names, silent("c3", "c5", "c8"))
    exchange = exchange_with(clients, names, ledger, quorum=0.7, on_missing=missing.append)
    replies = exchange.ask("echo", 1, {name: {"x": name.encode()} for name in names}).wait()
    assert sorted(replies) == ["c0", "c1", "c2", "c4", "c6", "c7", "c9"]
    assert [(m.party, m.round, m.phase, m.why) for m in missing] == [
        (name, 1, "echo", "silent (no reply within 0.02 s)") for name in ("c3", "c5", "c8")
    ]
    clients.after = silent("c1", "c2", "c3", "c4")
    for name in names:
        clients.after(name, Future(), b"")
    with pytest.raises(FederationError, match=r"'c1': silent.*'c4': silent"):
        exchange.ask("echo", 2, {name: {"x": b""} for name in names}).wait()


@pytest.mark.parametrize(
    ("quorum", "asked", "least"), [(0.7, 10, 7), (0.5, 3, 2), (0.5, 1, 1), (0.01, 5, 1), (1.0, 4, 4)]
)
def test_the_quorum_is_rounded_up(quorum, asked, least):
    assert Rules(1.0, quorum=quorum).least(asked) == least


def test_each_client_has_its_own_deadline():
    rules = Rules(5.0, {"slow": 60.0})
    assert (rules.seconds("slow"), rules.seconds("other")) == (60.0, 5.0)


def test_a_client_that_dies_is_asked_again_and_no_more_than_thrice(tmp_path, ledger):
    deaths = [2]

    def after(name, future, reply):
        if len(clients.wire) > 2 and deaths[0]:
            deaths[0] -= 1
            future.set_exception(DeadWorkerError())
        else:
            future.set_result(reply)

    clients = Clients(tmp_path, ["a"], after)
    exchange = exchange_with(clients, ["a"], ledger)
    assert exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait() == {"a": {"x": b"1"}}
    assert [row.sender for row in ledger.rows] == [SERVER, SERVER, SERVER, "a"]  # each time it crossed is a row
    deaths[0] = 3
    with pytest.raises(FederationError, match="client 'a': died"):
        exchange.ask("echo", 2, {"a": {"x": b"1"}}).wait()


@pytest.mark.parametrize(("code", "asked"), [(0, 3), (8, 3), (2, 1)])
def test_who_dies_is_asked_again_and_who_fails_is_not(tmp_path, ledger, code, asked):
    grid = Rewriting(["a"], Clients(tmp_path, ["a"]).submit)
    exchange = exchange_with(None, ["a"], ledger, grid=grid)
    grid.rewrite = lambda reply: error_from_flower(reply, code)
    with pytest.raises(FederationError, match="died" if asked == 3 else "engine error"):
        exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait()
    assert [row.sender for row in ledger.rows] == [SERVER] * asked


class Rewriting(LocalGrid):
    """Replaces each reply with `rewrite(reply)`."""

    rewrite: Any = staticmethod(lambda reply: reply)

    def pull_messages(self, message_ids):
        return [self.rewrite(reply) for reply in super().pull_messages(message_ids)]


class Leaving(Rewriting):
    """Reports of the messages to one client that it is away, and keeps it away for some looks."""

    away = 0

    def get_node_ids(self):
        self.away -= 1
        return [] if self.away >= 0 else super().get_node_ids()


@pytest.mark.parametrize("code", [3, 5])
def test_who_is_lost_is_asked_again_once_it_is_back_and_no_more_often(tmp_path, ledger, monkeypatch, code):
    monkeypatch.setattr("lada.federation.asking.LOOK", 0.01)
    grid = Leaving(["a"], Clients(tmp_path, ["a"]).submit)
    exchange = exchange_with(None, ["a"], ledger, grid=grid, timeout=60)
    losses = [1, 2, 3, 4]  # more often than one that dies would be asked

    def lose(reply):
        if not losses:
            return reply
        grid.away = losses.pop()
        return error_from_flower(reply, code)

    grid.rewrite = lose
    assert exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait() == {"a": {"x": b"1"}}
    assert [row.sender for row in ledger.rows] == [SERVER] * 5 + ["a"]
    assert grid.away < 0  # all looks were taken


def test_who_is_lost_for_good_is_missing_at_its_deadline(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr("lada.federation.asking.LOOK", 0.01)
    grid = Leaving(["a"], Clients(tmp_path, ["a"]).submit)
    exchange = exchange_with(None, ["a"], ledger, grid=grid, timeout=0.2)
    grid.away, grid.rewrite = 10**9, lambda reply: error_from_flower(reply, 5)
    told = r"client 'a': lost \(its node lost contact, and no reply came within 0.2 s\)"
    with pytest.raises(FederationError, match=told):
        exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait()
    assert [row.sender for row in ledger.rows] == [SERVER]


def test_what_was_heard_before_a_crash_is_not_asked_again(tmp_path, ledger):
    def journal(round):
        return Journal(tmp_path / "journal" / str(round))

    names = ["a", "b", "c"]
    first = Clients(tmp_path, names, silent("c"))
    exchange = exchange_with(first, names, ledger, journal=journal)
    with pytest.raises(FederationError, match="client 'c': silent"):
        exchange.ask("echo", 1, {name: {"kind / one": name.encode()} for name in names}).wait()
    second = Clients(tmp_path, names)
    exchange = exchange_with(second, names, ledger, journal=journal, quorum=0.5)
    before = len(second.wire)
    replies = exchange.ask("echo", 1, {name: {"kind / one": name.encode()} for name in names}).wait()
    assert replies == {name: {"kind / one": name.encode()} for name in names}
    assert len(second.wire) - before == 2  # one message and its reply: that of c
    third = Clients(tmp_path, names)
    exchange = exchange_with(third, names, ledger, journal=journal)
    before = len(third.wire)
    assert exchange.ask("echo", 1, {name: {"kind / one": name.encode()} for name in names}).wait() == replies
    assert len(third.wire) == before
    exchange.void()  # what was in them ended the run
    exchange = exchange_with(third, names, ledger, journal=journal)
    before = len(third.wire)
    assert exchange.ask("echo", 1, {name: {"kind / one": name.encode()} for name in names}).wait() == replies
    assert len(third.wire) - before == 6


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_reply_that_a_closed_phase_lost_is_asked_again_or_missing_with_the_reason(tmp_path, ledger, damage):
    def journal(round):
        return Journal(tmp_path / "journal" / str(round))

    names, messages = ["a", "b"], {name: {"x": name.encode()} for name in ("a", "b")}
    exchange = exchange_with(Clients(tmp_path, names), names, ledger, journal=journal)
    replies = exchange.ask("echo", 1, messages).wait()
    entry = tmp_path / "journal" / "1" / "replies" / "echo" / "a"

    def spoil():
        if damage == "remove":
            return shutil.rmtree(entry)
        return (entry / "payload" / "0").write_bytes(b"z")

    spoil()
    if damage == "flip":
        with pytest.raises(LadaError, match=r"payload/0' has changed since it was written; continue with --resume"):
            replies["a"]["x"]
    again = Clients(tmp_path, names)
    exchange = exchange_with(again, names, ledger, journal=journal)
    before = len(again.wire)
    assert exchange.ask("echo", 1, messages).wait() == messages
    assert len(again.wire) - before == 2  # b is not asked

    spoil()
    missing = []
    exchange = exchange_with(
        Clients(tmp_path, names, silent("a")), names, ledger, journal=journal, quorum=0.5, on_missing=missing.append
    )
    assert exchange.ask("echo", 1, messages).wait() == {"b": messages["b"]}
    (gone,) = missing
    assert gone.why == (
        "its reply in the server's journal is damaged or gone, and asked again: silent (no reply within 0.02 s)"
    )
    exchange = exchange_with(Clients(tmp_path, names), names, ledger, journal=journal, on_missing=missing.append)
    assert exchange.ask("echo", 1, messages).wait() == {"b": messages["b"]}
    assert missing == [gone, gone]


def test_a_reply_that_was_heard_and_not_yet_entered_into_the_ledger_is_entered(tmp_path, ledger):
    names = ["a"]
    exchange = exchange_with(
        Clients(tmp_path, names), names, ledger, journal=lambda round: Journal(tmp_path / "journal" / str(round))
    )
    exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait()
    with Ledger(tmp_path / "resumed", ledger._describe, earlier=ledger.rows[:1]) as fewer:
        exchange._channel.ledger = fewer
        for _ in range(2):
            exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait()
        assert fewer.rows == ledger.rows


def test_who_was_missing_stays_missing_when_a_phase_is_gone_through_again(tmp_path, ledger):
    def journal(round):
        return Journal(tmp_path / "journal" / str(round))

    outcomes = []
    for after in (silent("b"), None):
        missing = []
        clients = Clients(tmp_path, ["a", "b"], after)
        exchange = exchange_with(clients, ["a", "b"], ledger, journal=journal, quorum=0.5, on_missing=missing.append)
        outcomes.append((exchange.ask("echo", 1, {"a": {"x": b"1"}, "b": {"x": b"1"}}).wait(), missing))
    assert outcomes[0] == outcomes[1]
    assert list(outcomes[0][0]) == ["a"]
    assert [m.party for m in outcomes[0][1]] == ["b"]


@pytest.mark.parametrize(("error", "told"), [(DeadWorkerError(), "died"), (FailedTaskError(), "engine error")])
def test_a_worker_that_died_or_failed_is_an_error_code(tmp_path, ledger, error, told):
    def after(name, future, reply):
        future.set_result(reply) if len(clients.wire) == 2 else future.set_exception(error)

    clients = Clients(tmp_path, ["a"], after)
    exchange = exchange_with(clients, ["a"], ledger)
    with pytest.raises(FederationError, match=f"client 'a': {told}"):
        exchange.ask("echo", 1, {"a": {}}).wait()


def in_answer_to(reply: Message, envelope: Envelope) -> Message:
    reply.content.clear()
    for key, record in encode(envelope, {}).items():
        reply.content[key] = record
    return reply


def error_from_flower(reply: Message, code: int = 2) -> Message:
    swapped = Message(Error(code, CANARY), reply_to=reply)
    swapped.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
    return swapped


def with_other_records(reply: Message) -> Message:
    reply.content.clear()
    return reply


@pytest.mark.parametrize(
    ("rewrite", "told"),
    [
        (error_from_flower, "engine error"),
        (with_other_records, "expected exactly the records"),
        (lambda reply: in_answer_to(reply, Envelope("r", "echo", 1, "b")), "another client's name"),
        (lambda reply: in_answer_to(reply, Envelope("r", "echo", 2, "a")), "another run, phase or round"),
        (lambda reply: in_answer_to(reply, Envelope("r", "other", 1, "a")), "another run, phase or round"),
        (lambda reply: in_answer_to(reply, Envelope("s", "echo", 1, "a")), "another run, phase or round"),
    ],
)
def test_a_reply_that_is_not_one_is_told_without_repeating_it(tmp_path, ledger, rewrite, told):
    grid = Rewriting(["a"], Clients(tmp_path, ["a"]).submit)
    exchange = exchange_with(None, ["a"], ledger, grid=grid)
    grid.rewrite = rewrite
    with pytest.raises(FederationError, match=told) as caught:
        exchange.ask("echo", 1, {"a": {}}).wait()
    assert CANARY not in str(caught.value)


def test_a_message_the_client_cannot_read_comes_back_as_a_code(tmp_path, ledger):
    clients = Clients(tmp_path, ["a"])

    class Garbling(LocalGrid):
        def push_messages(self, messages):
            messages = list(messages)
            for message in messages:
                message.content["more"] = message.content["envelope"]
            return super().push_messages(messages)

    grid = LocalGrid(["a"], clients.submit)
    exchange = exchange_with(clients, ["a"], ledger, grid=grid)
    grid.__class__ = Garbling
    with pytest.raises(FederationError, match=r"client 'a': malformed message \(it could not read ours; reference"):
        exchange.ask("echo", 1, {"a": {}}).wait()
    assert "expected exactly the records" in (tmp_path / "a" / ERROR_LOG).read_text()


def test_a_node_that_returns_no_bytes_fails_on_its_own_side(tmp_path, ledger):
    exchange = exchange_with(Clients(tmp_path, ["a"]), ["a"], ledger)
    with pytest.raises(FederationError, match="client 'a': failed"):
        exchange.ask("lie", 1, {"a": {}}).wait()
    assert "'number' is of type int; expected bytes" in (tmp_path / "a" / ERROR_LOG).read_text()


def test_a_message_flower_does_not_take_is_an_engine_error(tmp_path, ledger, monkeypatch):
    grid = LocalGrid(["a"], Clients(tmp_path, ["a"]).submit)
    exchange = exchange_with(None, ["a"], ledger, grid=grid)
    monkeypatch.setattr(grid, "push_messages", lambda messages: [None])  # what Flower's own grid returns then
    with pytest.raises(FederationError, match="client 'a': engine error"):
        exchange.ask("echo", 1, {"a": {}}).wait()


@pytest.mark.parametrize(("connected", "expected"), [(["a", "b"], ["a", "c"]), (["a"], ["a", "b"])])
def test_other_clients_than_expected_are_named(tmp_path, ledger, connected, expected):
    grid = LocalGrid(connected, Clients(tmp_path, connected).submit)
    with pytest.raises(FederationError) as caught:
        exchange_with(None, expected, ledger, grid=grid)
    assert f"expected {', '.join(expected)}; connected are {', '.join(connected)}." in str(caught.value)


def test_a_node_of_another_run_plays_no_part(tmp_path, ledger):
    clients = Clients(tmp_path, ["a", "b"])
    exchange = exchange_with(clients, ["a"], ledger, grid=LocalGrid(["a", "b"], clients.submit))
    assert exchange.clients == ("a",)
    assert exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait() == {"a": {"x": b"1"}}


def test_two_nodes_with_one_name_are_refused(tmp_path, ledger):
    clients = Clients(tmp_path, ["a", "b"])
    grid = LocalGrid(["a", "b"], lambda name, data: clients.submit("a", data))
    with pytest.raises(FederationError, match="two nodes give the name 'a'"):
        exchange_with(clients, ["a", "b"], ledger, grid=grid)


def test_a_reply_too_large_for_one_message_comes_in_pieces_of_which_none_is_larger(tmp_path, ledger):
    clients = Clients(tmp_path, ["a", "b"])
    exchange = exchange_with(clients, ["a", "b"], ledger, timeout=60)
    clients.wire.clear()
    size = (PIECE + 3).to_bytes(8, "big")
    replies = exchange.ask("large", 1, {"a": {"size": size}, "b": {"size": b"\x07"}}).wait()
    assert replies["b"] == {"large": bytes(range(7)), "small": b"x"}
    assert dict(replies["a"]) == {"large": bytes(i % 251 for i in range(PIECE + 3)), "small": b"x"}
    assert max(map(len, clients.wire)) < PIECE + 2000
    told = [(row.sender, row.phase, row.kind, row.bytes) for row in ledger.rows if row.sender == "a"]
    assert told == [("a", "large", "large", PIECE + 3), ("a", "large", "small", 1)]


def test_a_reply_larger_than_the_limit_is_not_fetched(tmp_path, ledger):
    exchange = exchange_with(Clients(tmp_path, ["a"]), ["a"], ledger)
    with pytest.raises(FederationError, match=r"sizes: 20971521 bytes; expected at most limits.reply_bytes, 20971520"):
        exchange.ask("large", 1, {"a": {"size": (20 << 20).to_bytes(8, "big")}}).wait()


@pytest.mark.parametrize("fault", ["short", "fail"])
def test_a_piece_that_is_not_what_was_asked_for_loses_the_reply(tmp_path, ledger, monkeypatch, fault):
    def fetch(self, round, what):
        return b"short" if fault == "short" else self.fail(round, {})

    monkeypatch.setattr("toy_nodes.ToyNode.fetch", fetch)
    exchange = exchange_with(Clients(tmp_path, ["a", "b"]), ["a", "b"], ledger, quorum=0.5, timeout=60)
    replies = exchange.ask("large", 1, {"a": {"size": (9 << 20).to_bytes(8, "big")}, "b": {"size": b"\x01"}}).wait()
    assert list(replies) == ["b"]


def test_all_pieces_of_a_reply_have_the_time_of_one_reply(tmp_path, ledger, monkeypatch):
    clients = Clients(tmp_path, ["a"])
    exchange = exchange_with(clients, ["a"], ledger, timeout=60)
    clock = itertools.count(step=25)  # seconds: each look at the clock finds it later
    monkeypatch.setattr("lada.federation.pending.time.monotonic", lambda: float(next(clock)))
    with pytest.raises(FederationError, match=r"client 'a': silent \(no reply within 60 s\)"):
        exchange.ask("large", 1, {"a": {"size": (20 * PIECE // 10).to_bytes(8, "big")}}).wait()


def test_what_checking_one_reply_takes_is_not_the_others_delay(tmp_path, ledger, monkeypatch):
    from lada.federation import pending as module

    held, admit = [], module.admit

    def after(name, future, reply):
        held.append((future, reply)) if name == "b" and len(clients.wire) > 4 else future.set_result(reply)

    def slow(guard, name, reply, limit):
        """Take longer than any client has; meanwhile b answers, in time."""
        while held:
            future, answer = held.pop()
            future.set_result(answer)
            time.sleep(0.1)
        return admit(guard, name, reply, limit)

    clients = Clients(tmp_path, ["a", "b"], after)
    exchange = exchange_with(clients, ["a", "b"], ledger)
    monkeypatch.setattr(module, "admit", slow)
    assert sorted(exchange.ask("echo", 1, {"a": {"x": b"1"}, "b": {"x": b"2"}}).wait()) == ["a", "b"]


@pytest.mark.parametrize("what", [b"", b"{}", b"[]", b'{"phase":"p","kind":"k","start":-1,"length":1}', b"\xff"])
def test_a_fetch_that_is_none_is_refused(what):
    with pytest.raises(FederationError, match="fetch: expected phase, kind, start and length"):
        decode_what({"what": what})
    with pytest.raises(FederationError, match="fetch: expected exactly"):
        decode_what({"what": what, "more": b""})


@pytest.mark.parametrize("sizes", [b"", b"{}", b"[]", b'{"a":-1}', b'{"a":"1"}', b'{"a":1.5}', b"\xff"])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(FederationError, match="sizes: expected"):
        announced({"sizes": sizes}, 100)


def test_no_more_than_a_window_of_messages_is_under_way(tmp_path, ledger, monkeypatch):
    monkeypatch.setattr("lada.federation.channel.IN_FLIGHT", 5000)
    names = [f"c{i:02}" for i in range(10)]
    under_way, most = [], []

    def later(name, future, reply):
        under_way.append((future, reply))
        most.append(len(under_way))
        if len(under_way) == 5 or len(most) == 20:
            while under_way:
                future, reply = under_way.pop()
                future.set_result(reply)

    clients = Clients(tmp_path, names)
    exchange = exchange_with(clients, names, ledger)
    clients.after = later
    most += [0] * 10  # the messages of connecting
    replies = exchange.ask(
        "echo", 1, {name: {"x": bytes(1000)} for name in names[:2]} | {name: {"x": b"1"} for name in names[2:]}
    ).wait()
    assert list(replies) == names
    assert max(most) == 5


def test_a_reply_that_turns_out_to_be_of_no_use_counts_as_missing(tmp_path, ledger):
    clients, missing = Clients(tmp_path, ["a", "b", "c"]), []
    exchange = exchange_with(clients, ["a", "b", "c"], ledger, quorum=0.5, timeout=5, on_missing=missing.append)
    exchange.ask("echo", 1, {name: {} for name in "abc"}).wait()
    exchange.drop("echo", 1, {"b": "it is odd"})
    assert [(m.party, m.round, m.phase, m.why) for m in missing] == [("b", 1, "echo", "malformed message (it is odd)")]
    with pytest.raises(FederationError, match=r"round 1, phase echo: client 'c': malformed message \(it is odd too\)"):
        exchange.drop("echo", 1, {"c": "it is odd too"})  # one of three is no half
    assert [m.party for m in missing] == ["b", "c"]
