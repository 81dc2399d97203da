"""Flower's app processes run what is installed, whatever code came with a run."""

from importlib import import_module

import flwr.superlink.cli
import flwr.supernode.cli
import pytest

from lada.engines import flower, relay, server_app

CLIENT, SERVER = "flwr.supernode.runtime.run_clientapp", "flwr.superlink.runtime.run_serverapp"


@pytest.fixture
def started(monkeypatch):
    """Let the processes end before they reach a server; put back in the end what they replaced in Flower."""
    for module, name in ((CLIENT, "install_from_fab"), (CLIENT, "get_load_client_app_fn"), (SERVER, "run_")):
        monkeypatch.setattr(import_module(module), name, getattr(import_module(module), name))
    begun: list[str] = []
    monkeypatch.setattr(flwr.supernode.cli, "flwr_clientapp", lambda: begun.append("client"))
    monkeypatch.setattr(flwr.superlink.cli, "flwr_serverapp", lambda: begun.append("server"))
    return begun


def test_a_client_installs_nothing_and_runs_the_relay(started):
    flower.clientapp()
    module = import_module(CLIENT)
    assert started == ["client"]
    assert module.install_from_fab(b"code that came with a run", skip_prompt=True) is None
    load = module.get_load_client_app_fn(default_app_ref="evil:app", app_path="", multi_app=True)
    assert load("fab id", "fab version", "fab hash") is relay.client_app


def test_the_server_runs_its_own_app_whatever_the_run_names(started, monkeypatch):
    given = []
    monkeypatch.setattr(server_app, "server_app", lambda **options: given.append(options))
    flower.serverapp()
    assert started == ["server"]
    assert import_module(SERVER).run_(grid="g", context="c", server_app_dir="evil", server_app_attr="evil:app") == "c"
    assert given == [{"grid": "g", "context": "c"}]


@pytest.mark.parametrize(
    ("module", "name", "start"),
    [(CLIENT, "get_load_client_app_fn", flower.clientapp), (SERVER, "run_", flower.serverapp)],
)
def test_where_flower_has_been_changed_nothing_is_started(started, monkeypatch, module, name, start):
    monkeypatch.delattr(import_module(module), name)
    with pytest.raises(AttributeError):
        start()
    assert started == []
