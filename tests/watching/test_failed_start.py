"""A run that ended before anybody did anything shows its parties, and the one that it ended over with its error."""

import io
import json
import shutil
from pathlib import Path

import pytest
from followed import folder
from rich.console import Console

import lada
from lada.cli.watched import shown
from lada.core.errors import FederationError, InputError
from lada.federation.exchange import GridExchange
from lada.federation.grid import LocalGrid
from lada.federation.journal import Journal
from lada.federation.ledger import Ledger
from lada.federation.session import Rules, Session
from lada.watching.watch import Snapshot, Watch
from lada.zoo.shipped import locate

GOOD = {"model": "zoo:slm-llama", "max_new_tokens": 20}


def printed(now: Snapshot) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(shown(now, 0.0))
    return out.getvalue()


@pytest.fixture
def unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A model whose weights are whole and not those of its configuration, which only loading is to tell here."""
    for room in ("models.load", "models.frame"):
        monkeypatch.setattr(f"lada.{room}.check_frame", lambda *_: None)
    target = Path(shutil.copytree(locate("zoo:slm-llama"), tmp_path / "unfit"))
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"intermediate_size": config["intermediate_size"] + 8}))
    return {**GOOD, "model": str(target)}


def start(tmp_path: Path, server: dict[str, object], client: dict[str, object]) -> Snapshot:
    task = {"kind": "rulebooks", "public": 20, "private": 8, "test_per_domain": 1, "replay": 0}
    clients = [{"name": "good", "model": GOOD}, {"name": "bad", "model": client}]
    config = {"name": "w", "rounds": 1, "workers": 0, "task": task, "server": {"model": server}, "clients": clients}
    with pytest.raises(InputError):
        lada.run(config, runs=tmp_path / "runs")
    return Watch(tmp_path / "runs" / "w").look()


def test_the_server_s_model_cannot_be_loaded(tmp_path: Path, unfit: dict[str, object]):
    now = start(tmp_path, unfit, GOOD)
    assert (now.state, [party.name for party in now.parties]) == ("failed", ["llm", "bad", "good"])
    llm = now.parties[0]
    assert (llm.doing, llm.phase) == ("failed", "start")
    assert llm.error is not None
    assert llm.error.startswith("server.model: the weight ")
    assert "failed in round 0, start: server.model: the weight" in printed(now)


def test_a_client_s_model_cannot_be_loaded(tmp_path: Path, unfit: dict[str, object]):
    now = start(tmp_path, GOOD, unfit)
    assert (now.state, [party.name for party in now.parties]) == ("failed", ["llm", "bad", "good"])
    assert [party.error is None for party in now.parties] == [True, False, True]
    assert "failed in round 0, evaluate: failed: model: the weight" in printed(now)


def test_a_run_that_told_of_nothing_shows_whom_it_is_for(tmp_path: Path):
    where = folder(tmp_path / "demo", [])
    (where / "config.yaml").write_text("server: {name: big}\nclients: [{name: b}, {name: a}]\n")
    assert [party.name for party in Watch(where).look().parties] == ["big", "a", "b"]
    for broken in ("", "[", "server: 3", "clients: [{}]"):
        (where / "config.yaml").write_text(broken)
        assert Watch(where).look().parties == ()


def test_clients_that_never_came_are_named(tmp_path: Path):
    events: list[dict[str, object]] = []
    grid = LocalGrid([], lambda *_: None)  # pyright: ignore[reportArgumentType]
    journal = Journal(tmp_path)
    session = Session(run="r", folder=tmp_path, rules=Rules(0.01), journal=lambda _: journal, emit=events.append)
    with Ledger(tmp_path) as ledger:
        exchange = GridExchange(grid, ["b", "a"], session, ledger)
        with pytest.raises(FederationError, match="connected are none"):
            exchange.connect()
    assert [(event["kind"], event["party"], event["phase"]) for event in events] == [
        ("failure", "a", "hello"),
        ("failure", "b", "hello"),
    ]
    assert str(events[0]["why"]).startswith("absent")
