"""Who keeps the server waiting, or sends it too much before anybody vouched for it, is cut off: on a real uvicorn."""

import gc
import time
from contextlib import ExitStack, suppress

import pytest
from served import PATH, SECRET, head, served, status, trusting

from lada.engines import door, fence
from lada.engines.certificates import write_authority, write_server_certificate
from lada.engines.operator_secret import HEADER

MIB = 1 << 20
CHUNK = b"10000\r\n" + bytes(1 << 16) + b"\r\n"


@pytest.fixture
def soon(monkeypatch):
    """Let nobody wait long."""
    for name in ("HANDSHAKE", "HEAD", "BODY"):
        monkeypatch.setattr(door, name, 0.3)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    write_authority(folder, 30)
    write_server_certificate(folder, folder, [], 30)
    return folder


def is_cut(connection):
    """Return whether the other side ends a connection without an answer."""
    try:
        return connection.recv(4096) == b""
    except ConnectionError:
        return True


def go_on(connection, data, pause=0.0):
    """Send the same again and again until the other side ends the connection."""
    with suppress(ConnectionError):
        while True:
            connection.sendall(data)
            time.sleep(pause)


@pytest.mark.parametrize(("size", "answer"), [(MIB, 200), (MIB + 1, 413)])
def test_a_strangers_body_has_a_mebibyte_at_most_by_what_it_declares(size, answer):
    with served() as server, server.connect() as stranger:
        stranger.sendall(head(content_length=size))
        if answer == 200:
            stranger.sendall(bytes(size))
        assert status(stranger) == answer
        assert server.reached == ([(PATH, size)] if answer == 200 else [])
        assert len(server.logged) == (answer == 413)


def test_a_chunked_body_is_refused_as_soon_as_it_passes_that():
    with served() as server, server.connect() as stranger:
        stranger.sendall(head(transfer_encoding="chunked") + 17 * CHUNK)
        assert status(stranger) == 413
        assert server.reached == []
        assert server.logged == [
            "refused: 127.0.0.1 sent more than the 1048576 bytes that no registered key vouches for may have"
        ]


def test_all_strangers_together_have_little_room(monkeypatch):
    monkeypatch.setattr(fence, "STRANGER", fence.Room(MIB, 2 * MIB))
    with served() as server, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.connect()).sendall(head(content_length=MIB) + bytes(MIB - 1))
        last = stack.enter_context(server.connect())
        while True:  # until what the others sent has arrived
            last.sendall(head(content_length=100) + bytes(100))
            if status(last) == 503:
                break
            assert last.fileno() >= 0
        assert "sent more than the 2097152 bytes" in server.logged[-1]


def test_a_registered_sender_has_room_for_messages_and_no_more(monkeypatch):
    monkeypatch.setattr(fence, "NODE", fence.Room(3 * MIB, 3 * MIB))
    with served(sender=lambda scope: b"key") as server:
        with server.connect() as node:
            node.sendall(head(content_length=3 * MIB) + bytes(3 * MIB))
            assert status(node) == 200
        with server.connect() as node:
            node.sendall(head(content_length=3 * MIB + 1))
            assert status(node) == 413
        assert server.reached == [(PATH, 3 * MIB)]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "no head of a request in time"),
        (b"POST /v1/fleet/x HTTP/1.1\r\nhost: h", "no head of a request in time"),
        (head(content_length=5) + b"four", "no body of a request in time"),
        (head(transfer_encoding="chunked") + CHUNK, "no body of a request in time"),
    ],
)
def test_who_says_nothing_or_stops_is_cut_off(soon, sent, why):
    with served() as server, server.connect() as stranger:
        stranger.sendall(sent)
        assert is_cut(stranger)
        assert server.logged == [f"refused: dropped a connection of 127.0.0.1: {why}"]


def test_who_drips_is_cut_off(soon):
    with served() as server, server.connect() as stranger:
        stranger.sendall(head(content_length=100))
        go_on(stranger, b"x", pause=0.05)
        assert server.reached == []


def test_who_does_not_shake_hands_is_cut_off(soon, ours):
    with served(certificate=ours) as server, server.connect() as stranger:
        assert is_cut(stranger)
        assert server.logged == ["refused: dropped a connection of 127.0.0.1: no TLS handshake in time"]


def test_a_registered_sender_must_keep_a_rate_and_may_take_long(soon, monkeypatch):
    monkeypatch.setattr(door, "LEAST", 3)
    with served(sender=lambda scope: b"key") as server, server.connect() as node, server.connect() as idle:
        node.sendall(head(content_length=100))
        idle.sendall(head(content_length=100) + b"x")
        for _ in range(20):  # three times what a stranger has
            time.sleep(0.05)
            node.sendall(bytes(5))
        assert status(node) == 200
        assert is_cut(idle)
        assert server.reached == [(PATH, 100)]
        assert server.logged == ["refused: dropped a connection of 127.0.0.1: a body of less than 3 bytes in 0.3 s"]


def test_a_head_has_a_limit():
    with served() as server, server.connect() as stranger:
        stranger.sendall(b"POST /v1/fleet/x HTTP/1.1\r\nlong: ")
        go_on(stranger, bytes(b"x" * (1 << 16)))
        assert server.logged == ["refused: dropped a connection of 127.0.0.1: a head of more than 65536 bytes"]


def test_a_trailer_counts_as_body():
    with served() as server, server.connect() as stranger:
        stranger.sendall(head(transfer_encoding="chunked") + b"0\r\n")
        go_on(stranger, b"trailer: " + b"x" * (1 << 16) + b"\r\n")
        assert server.logged == ["refused: dropped a connection of 127.0.0.1: a body of more bytes than allowed"]


def test_of_too_many_strangers_the_first_goes_and_known_senders_stay(monkeypatch):
    monkeypatch.setattr(door, "STRANGERS", 2)
    with served(sender=lambda scope: b"key") as server, ExitStack() as stack:
        node = stack.enter_context(server.connect())
        node.sendall(head(content_length=0))
        assert status(node) == 200
        first, *others = [stack.enter_context(server.connect()) for _ in range(3)]
        assert is_cut(first)
        for one in (node, *others):
            one.sendall(head(content_length=0))
            assert status(one) == 200


def test_a_connection_serves_many_requests_over_tls(ours):
    with served(certificate=ours, sender=lambda scope: b"key") as server, server.connect(trusting(ours)) as node:
        for size in (0, 2 * MIB, 3):
            node.sendall(head(content_length=size) + bytes(size))
            assert status(node) == 200
        assert [size for _, size in server.reached] == [0, 2 * MIB, 3]
        node.sendall(head("/v1/control/list-runs", content_length=0, **{HEADER: SECRET}))
        assert status(node) == 200


def test_no_other_protocol_is_spoken():
    upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec_websocket_version": 13, "sec_websocket_key": "x"}
    with served() as server, server.connect() as stranger:
        stranger.sendall(head("/v1/control/x", method="GET", **upgrade))
        assert status(stranger) == 400
        assert server.reached == []


def test_what_is_cut_off_again_and_again_is_summed_up(monkeypatch):
    monkeypatch.setattr(door, "SUMMARY", 0.2)
    monkeypatch.setattr(door, "STRANGERS", 1)
    with served() as server, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(server.connect())
        while len(server.logged) < 2:
            time.sleep(0.01)
        why = "more than 1 connections without a known sender"
        assert server.logged == [
            f"refused: dropped a connection of 127.0.0.1: {why}",
            f"refused: dropped 2 more connections: {why}",
        ]


def test_a_connection_that_is_over_is_let_go_of(ours):
    gc.collect()
    gc.disable()
    try:
        with served(certificate=ours, sender=lambda scope: b"key") as server:
            for _ in range(5):
                with server.connect(trusting(ours)) as node:
                    node.sendall(head(content_length=3) + b"abc")
                    assert status(node) == 200
        assert not [one for one in gc.get_objects() if isinstance(one, door.Connection)]
    finally:
        gc.enable()
