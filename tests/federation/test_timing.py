"""How long messages were on their way, by a clock that the test sets; and as real exchanges tell it."""

import itertools
from types import SimpleNamespace

import pytest
from test_exchange import Clients, exchange_with

from lada.core.results import ClientTime, ExchangeTime
from lada.federation.grid import LocalGrid
from lada.federation.journal import Journal
from lada.federation.ledger import Ledger
from lada.federation.pieces import PIECE
from lada.federation.timing import Clock, Timing


@pytest.fixture
def at(monkeypatch):
    """Return what sets the time."""
    time = SimpleNamespace(now=0.0)
    monkeypatch.setattr("lada.federation.timing.time", SimpleNamespace(monotonic=lambda: time.now))

    def set(now):
        time.now = float(now)

    return set


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path) as ledger:
        yield ledger


def test_the_clock_stands_still_while_it_is_halted(at):
    clock = Clock()
    at(10)
    with clock.halted():
        at(17)
        assert clock.now() == 10
    at(18)
    assert clock.now() == 11


def test_waiting_less_the_slowest_clients_computing_is_the_exchange(at):
    timing = Timing()
    timing.send("b")
    at(1)
    timing.send("a")
    at(5)  # the server itself was at work until now
    timing.wait()
    at(9)
    timing.receive("b", 6.5)  # 9 s went by, of which the server waited for 4
    at(21)
    with timing.clock.halted():
        timing.receive("a", 19.0)  # 20 s went by, of which the server waited for 16
        at(30)
    at(31)
    assert timing.told(2, "learn", {"a", "b", "c"}) == ExchangeTime(
        round=2,
        phase="learn",
        waited=16.0,
        computing=19.0,
        exchange=2.0,  # 21 s from the first sending to the last reply, less 19
        clients=(
            ClientTime(party="a", elapsed=20.0, computing=19.0, exchange=1.0),
            ClientTime(party="b", elapsed=9.0, computing=6.5, exchange=2.5),
        ),
    )


def test_what_passed_while_the_server_was_busy_is_not_counted(at):
    timing = Timing()
    timing.send("a")
    at(60)
    timing.wait()
    timing.receive("a", 10.0)  # 50 s are neither computing nor waited for
    told = timing.told(1, "learn", {"a"})
    assert told is not None
    assert (told.waited, told.exchange, told.clients[0].exchange) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("claim", [None, 4.001, 1e300])
def test_a_claim_that_cannot_be_is_not_believed(at, claim):
    timing = Timing()
    timing.send("a")
    timing.send("b")
    timing.wait()
    at(4)
    timing.receive("a", claim)
    timing.receive("b", 4.0)
    told = timing.told(1, "learn", {"a", "b"})
    assert told is not None
    assert (told.waited, told.computing, told.exchange) == (4.0, None, None)
    assert [(one.elapsed, one.computing, one.exchange) for one in told.clients] == [(4.0, None, None), (4.0, 4.0, 0.0)]


def test_pieces_are_of_the_reply_and_other_clients_pieces_are_not(at):
    timing = Timing()
    timing.send("a")
    timing.send("b")
    timing.wait()
    at(3)
    timing.receive("a", 1.0)
    timing.receive("b", 2.0)
    with timing.fetching("a"):
        at(8)
    with timing.fetching("b"):
        at(10)
    told = timing.told(1, "learn", {"a", "b"})
    assert told is not None
    assert (told.waited, told.computing, told.exchange) == (10.0, 2.0, 8.0)
    assert [(one.elapsed, one.exchange) for one in told.clients] == [(8.0, 7.0), (5.0, 3.0)]


def test_of_a_client_that_was_refused_and_of_nobody_nothing_is_told(at):
    timing = Timing()
    assert timing.told(1, "learn", {"a"}) is None
    timing.send("a")
    timing.receive("a", 0.0)
    assert timing.told(1, "learn", set()) is None


def test_a_message_that_is_sent_again_counts_from_then(at):
    timing = Timing()
    timing.send("a")
    timing.wait()
    at(30)
    timing.send("a")
    at(32)
    timing.receive("a", 1.5)
    told = timing.told(1, "learn", {"a"})
    assert told is not None
    assert (told.clients[0].elapsed, told.clients[0].exchange, told.exchange) == (2.0, 0.5, 0.5)


def test_an_exchange_tells_each_phase_and_a_resumed_one_only_who_was_asked_again(tmp_path, ledger):
    def journal(round):
        return Journal(tmp_path / "journal" / str(round))

    names, first = ["a", "b"], []
    clients = Clients(tmp_path, names)
    exchange = exchange_with(clients, names, ledger, timeout=60, journal=journal, on_timed=first.append)
    exchange.ask("large", 1, {"a": {"size": (PIECE + 1).to_bytes(8, "big")}, "b": {"size": b"\x07"}}).wait()
    (told,) = first
    assert (told.round, told.phase, [one.party for one in told.clients]) == (1, "large", names)
    for one in told.clients:
        assert one.computing is not None
        assert 0 <= one.computing <= one.elapsed
    assert told.clients[0].exchange > 0  # the pieces came after the server had begun to wait

    (tmp_path / "journal" / "1" / "missing" / "large" / "manifest.json").unlink()
    (tmp_path / "journal" / "1" / "replies" / "large" / "b" / "manifest.json").unlink()
    for expected in (["b"], None):  # as if it had broken off before b answered; then after the phase
        again = []
        exchange = exchange_with(
            clients, names, ledger, grid=LocalGrid(names, clients.submit), journal=journal, on_timed=again.append
        )
        exchange.ask("large", 1, {"a": {"size": (PIECE + 1).to_bytes(8, "big")}, "b": {"size": b"\x07"}}).wait()
        assert [[one.party for one in told.clients] for told in again] == ([expected] if expected else [])


def test_a_clients_word_comes_with_its_reply(tmp_path, ledger, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(
        "lada.federation.client_app.time", SimpleNamespace(monotonic=lambda: 1e9 * next(ticks))
    )  # a client that claims to have worked for thirty years
    told = []
    exchange = exchange_with(Clients(tmp_path, ["a"]), ["a"], ledger, on_timed=told.append)
    assert exchange.ask("echo", 1, {"a": {"x": b"1"}}).wait() == {"a": {"x": b"1"}}
    assert [(one.computing, one.exchange) for one in told[0].clients] == [(None, None)]
