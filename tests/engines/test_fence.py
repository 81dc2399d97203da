"""Strangers reach only the clients' part of Flower's server, whatever their requests say about themselves."""

import asyncio
import ipaddress
import os
import socket
from base64 import b64encode
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from served import SECRET, head, served, status

from lada.engines import fence
from lada.engines.fence import FLEET, KEY, Fence, owners
from lada.engines.nodes import sender_of
from lada.engines.operator_secret import HEADER

OPERATORS = [(HEADER.encode(), SECRET.encode())]
CONTROL = "/v1/control/start-run"


SERVER = ("192.0.2.9", 9092)


def ask(path, client, server=SERVER, *, open: str | None = FLEET, status=200, headers=OPERATORS):
    """Send one request through a fence; return what came back and what was logged."""
    sent, logged = [], []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    connection = SimpleNamespace(client=client, server=server, know=lambda most: None)
    scope = {"type": "http", "path": path, "headers": headers, "extensions": {KEY: connection}}
    asyncio.run(Fence(app, lambda level, text: logged.append(text), secret=SECRET, open=open)(scope, receive, send))
    return sent[0]["status"], logged


@pytest.fixture
def mine():
    """Both ends of a connection that this process has, the one that called first."""
    with socket.socket() as listener, socket.socket() as one:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one.connect(listener.getsockname())
        there, _ = listener.accept()
        with there:
            yield one.getsockname(), one.getpeername()


@pytest.mark.parametrize("path", [CONTROL, "/v1/runtime/acquire-task", "/docs", "/v1/fleet"])
def test_a_stranger_gets_at_the_fleet_alone(path):
    status, logged = ask(path, ("192.0.2.1", 4000))
    assert status == 403
    assert logged[0].startswith("refused: 192.0.2.1 asked for '" + path)
    assert ask(FLEET + "pull-messages", ("192.0.2.1", 4000)) == (200, [])


def test_this_user_gets_at_everything_and_another_user_of_this_machine_does_not(mine, monkeypatch):
    assert ask(CONTROL, *mine) == (200, [])
    assert ask("/anything", *mine, open=None) == (200, [])
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    if fence.TABLES[socket.AF_INET].exists():
        assert ask(CONTROL, *mine)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(HEADER.encode(), b"")],
        [(HEADER.encode(), b"a guess")],
        [(HEADER.encode(), SECRET.encode()[:-1])],
        [(b"x-" + HEADER.encode(), SECRET.encode())],
        [*OPERATORS, (HEADER.encode(), b"a guess")],
        [*OPERATORS, *OPERATORS],
    ],
)
def test_this_user_without_the_secret_is_a_stranger(mine, headers):
    assert ask(CONTROL, *mine, headers=headers)[0] == 403
    assert ask("/anything", *mine, open=None, headers=headers)[0] == 403


@pytest.mark.parametrize("client", [None, ("testclient", 1)])
def test_whoever_cannot_be_told_is_a_stranger(client):
    assert ask(CONTROL, client)[0] == 403


def test_where_no_door_tells_who_is_there_nobody_is_the_operator(mine):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": CONTROL, "headers": OPERATORS, "client": mine[0], "server": mine[1]}

    async def receive():
        return {}

    asyncio.run(Fence(lambda *_: asyncio.sleep(0), print, secret=SECRET)(scope, receive, send))
    assert sent[0]["status"] == 403


FORWARDING = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-by",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
    "via",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "client-ip",
    "remote-addr",
]


@pytest.mark.skipif(not fence.TABLES[socket.AF_INET].exists(), reason="elsewhere all of loopback is the operator's")
def test_no_header_makes_a_stranger_the_operator(monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    operators = ("127.0.0.1", 4242)  # as if that were a socket of this user's, and no other
    monkeypatch.setattr(fence, "owners", lambda one, _: {os.getuid()} if (str(one[0]), one[1]) == operators else {1})
    values = ["127.0.0.1:4242", "for=127.0.0.1:4242;host=127.0.0.1:4242", 'for="127.0.0.1:4242"', "[::1]:4242"]
    with served(proxy_headers=True, forwarded_allow_ips="*") as server:
        for name in FORWARDING:
            for value in values:
                with server.connect() as stranger:
                    stranger.sendall(head(CONTROL, content_length=0, **{name: value, HEADER: SECRET}))
                    assert status(stranger) == 403, name
        assert server.reached == []
        with server.connect() as operator:
            operators = operator.getsockname()
            operator.sendall(head(CONTROL, content_length=0, **{HEADER: SECRET}))
            assert status(operator) == 200


@pytest.mark.parametrize(("code", "said"), [(401, "set the clocks"), (412, "put the client's public key into")])
def test_a_client_that_flower_refuses_is_told_of_with_what_to_do(code, said):
    _, logged = ask(FLEET + "activate-node", ("192.0.2.1", 4000), status=code)
    assert len(logged) == 1
    assert said in logged[0]


@pytest.mark.skipif(not fence.TABLES[socket.AF_INET].exists(), reason="Linux lists sockets with their owners")
def test_the_owner_of_a_connection_is_found_by_both_its_ends(mine):
    (host, port), (_, there) = mine
    here, elsewhere = ipaddress.ip_address(host), ipaddress.ip_address("192.0.2.1")
    assert owners((here, port), (here, there)) == {os.getuid()}
    assert owners((here, port), (here, there + 1)) == set()
    assert owners((elsewhere, port), (here, there)) == set()


@pytest.mark.skipif(not fence.TABLES[socket.AF_INET].exists(), reason="Linux lists sockets with their owners")
def test_a_connection_that_is_over_is_nobodys_though_the_kernel_lists_it_as_roots(monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as one:
            ends = one.getsockname(), one.getpeername()
            there, _ = listener.accept()
        there.close()  # after the caller, whose end is left waiting for a while
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert ask(CONTROL, *ends)[0] == 403


def test_the_lifespan_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def never(*_):
        raise AssertionError

    asyncio.run(Fence(app, print, secret=SECRET, open=FLEET)({"type": "lifespan"}, never, never))
    assert seen == ["lifespan"]


def test_a_sender_is_known_by_a_fresh_signature_of_a_registered_key():
    from flwr.supercore.date import now
    from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes, sign_message

    (private, public), (other, strange) = generate_key_pairs(), generate_key_pairs()
    key = public_key_to_bytes(public)
    sender = sender_of(lambda: SimpleNamespace(get_node_id_by_public_key={key: 7}.get))

    def sent(key: Any = key, private: Any = private, time: Any = None, signed: Any = None, **changes: Any):
        time = time or now().isoformat()
        signature = b64encode(sign_message(private, (signed or time).encode()))
        headers = {"flwr-public-key": b64encode(key), "flwr-timestamp": time.encode(), "flwr-signature": signature}
        wire = {**headers, **changes}
        return sender({"headers": [(k.encode(), v) for k, v in wire.items() if v is not None]})

    assert sent() == key
    assert sent(key=public_key_to_bytes(strange), private=other) is None
    assert sent(private=other) is None
    assert sent(signed="another time") is None
    assert sent(time=(now() - timedelta(seconds=304)).isoformat()) == key
    assert sent(time=(now() - timedelta(seconds=306)).isoformat()) is None
    assert sent(time=(now() + timedelta(seconds=6)).isoformat()) is None
    assert sent(time="never") is None
    for name in ("flwr-public-key", "flwr-timestamp", "flwr-signature"):
        assert sent(**{name: None}) is None
        assert sent(**{name: b"\xff"}) is None
