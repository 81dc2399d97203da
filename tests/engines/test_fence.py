"""Strangers get at nothing but the clients' part of Flower's server."""

import asyncio
import ipaddress
import os
import socket

import pytest

from lada.engines import fence
from lada.engines.fence import FLEET, Fence, owners


async def receive():
    return {"type": "http.request"}


def ask(path, client, *, open: str | None = FLEET, status=200):
    """Send one request through a fence; return what came back and what was logged."""
    sent, logged = [], []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "client": client}
    asyncio.run(Fence(app, lambda level, text: logged.append(text), open=open)(scope, receive, send))
    return sent[0]["status"], logged


@pytest.fixture
def mine():
    """An end of a connection that this process has."""
    with socket.socket() as listener, socket.socket() as one:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        one.connect(listener.getsockname())
        yield one.getsockname()


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/v1/fleet"])
def test_a_stranger_gets_at_the_fleet_alone(path):
    status, logged = ask(path, ("192.0.2.1", 4000))
    assert status == 403
    assert logged[0].startswith("refused: 192.0.2.1 asked for '" + path)
    assert ask(FLEET + "pull-messages", ("192.0.2.1", 4000)) == (200, [])


def test_this_user_gets_at_everything_and_another_user_of_this_machine_does_not(mine, monkeypatch):
    assert ask("/v1/control/start-run", mine) == (200, [])
    assert ask("/anything", mine, open=None) == (200, [])
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    if fence.TABLES[socket.AF_INET].exists():
        assert ask("/v1/control/start-run", mine)[0] == 403


@pytest.mark.parametrize("client", [None, ("testclient", 1)])
def test_whoever_cannot_be_told_is_a_stranger(client):
    assert ask("/v1/control/start-run", client)[0] == 403


@pytest.mark.parametrize(("status", "said"), [(401, "set the clocks"), (412, "put the client's public key into")])
def test_a_client_that_flower_refuses_is_told_of_with_what_to_do(status, said):
    _, logged = ask(FLEET + "activate-node", ("192.0.2.1", 4000), status=status)
    assert len(logged) == 1
    assert said in logged[0]


@pytest.mark.skipif(not fence.TABLES[socket.AF_INET].exists(), reason="Linux lists sockets with their owners")
def test_the_owner_of_a_socket_is_found(mine):
    assert owners(ipaddress.ip_address("127.0.0.1"), mine[1]) == {os.getuid()}
    assert owners(ipaddress.ip_address("192.0.2.1"), mine[1]) == set()


def test_other_traffic_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    async def send(_message):
        pass

    asyncio.run(Fence(app, print, open=FLEET)({"type": "lifespan"}, receive, send))
    assert seen == ["lifespan"]
