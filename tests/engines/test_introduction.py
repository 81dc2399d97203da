"""What LaDa puts into Flower's processes: each server behind fence and door, each client with the secret."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from flwr.supercore.protobuf.client import ProtobufClient

from lada.engines import flower
from lada.engines.door import Connection, Loop
from lada.engines.family import Family
from lada.engines.fence import Fence
from lada.engines.operator_secret import HEADER, VARIABLE, make_secret, read_secret


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """A secret that the environment names; put back in the end what is replaced in Flower and uvicorn."""
    file = make_secret(tmp_path)
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setattr(uvicorn.Config, "__init__", uvicorn.Config.__init__)
    monkeypatch.setattr(ProtobufClient, "__init__", ProtobufClient.__init__)
    return read_secret(file)


def test_every_server_is_fenced_and_believes_no_header(secret, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    async def app(*_):
        raise AssertionError

    module = SimpleNamespace(create_app=lambda *_, **__: app)
    flower._fence(module, open=None)
    fence = module.create_app("configuration", lifespan=1)
    assert isinstance(fence, Fence)
    config = uvicorn.Config(fence, proxy_headers=True, forwarded_allow_ips="*", ws="auto", http="h11")
    config.load()
    assert config.loaded_app is fence  # nothing stands before it that would change who is there
    assert config.ws_protocol_class is None
    assert config.http_protocol_class.func is Connection  # pyright: ignore
    assert config.get_loop_factory() is Loop


def test_a_request_shows_the_secret_and_keeps_what_flower_adds(secret):
    flower.introduce()
    flowers: Any = SimpleNamespace(intercept=lambda one, go: go(one))
    with ProtobufClient("http://127.0.0.1:1", interceptors=[flowers]) as client:
        request = httpx.Request("POST", "http://127.0.0.1:1")
        sent: Any = SimpleNamespace(request=request)
        answer: Any = object()
        first, last = client._interceptors
        assert first is flowers
        go: Any = {id(sent): answer}.get
        assert last.intercept(sent, lambda given: go(id(given))) is answer
        assert request.headers[HEADER] == secret


def test_flowers_command_waits_for_a_slow_server_and_does_nothing_twice(secret, monkeypatch):
    made = []
    monkeypatch.setattr("flwr.cli.app.app", lambda: made.append(ProtobufClient("http://127.0.0.1:1", timeout=1)))
    flower.flwr()
    (client,) = made
    client.close()
    assert client._client.timeout.read == flower.ANSWERING
    patience = client._retry_invoker
    assert patience.max_time == flower.CONNECTING
    assert patience.recoverable_exceptions == (httpx.ConnectError, httpx.ConnectTimeout)
    assert patience.should_giveup(httpx.ConnectError("certificate verify failed"))
    assert not patience.should_giveup(httpx.ConnectError("connection refused"))


def test_no_port_is_opened_beside_the_fenced_one(monkeypatch):
    for name in ("FLWR_INTERNAL_GRPC_CONTROL_API", "FLWR_INTERNAL_GRPC_FLEET_API"):
        monkeypatch.setenv(name, "1")
        with Family() as family:
            assert family.environment[name] == "0"
