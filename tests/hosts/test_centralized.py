"""The ceiling: everybody studies everything, and nobody can take it for a federation."""

import shutil
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import CANARY, DISTIL, PRIVATE, Federation, federation, make, make_party, small
from test_run import builtin
from typer.testing import CliRunner

import lada
from lada.audit.audit import audit
from lada.cli.main import app
from lada.codecs import samples
from lada.codecs.base import Codecs
from lada.config import RunConfig, make_config
from lada.core.errors import CodecError, FederationError, InputError
from lada.engines.client_file import ClientFile, merge_terms
from lada.federation import run_folder
from lada.federation.ledger import read
from lada.federation.parties import read_task
from lada.federation.terms import ExpectedClient, Terms
from lada.hosts.base import HOSTS
from lada.points import chosen_points
from lada.rounds.checks import Guard
from lada.rounds.pooling import SAMPLES
from lada.rounds.wire import describe

EVERYTHING = {f"{name}-{i}" for name in "ab" for i in range(4)}


@pytest.fixture
def pooled(tmp_path: FilePath) -> Federation:
    return federation(tmp_path, "centralized", {"llm": {0, 1}, "a": {2}, "b": set()})


def test_everybody_studies_the_private_data_of_all(pooled: Federation):
    pooled.run(0)
    assert not pooled.studies("a")
    pooled.run(1, 2)
    for name, options in (("llm", [DISTIL]), ("a", [PRIVATE, DISTIL]), ("b", [PRIVATE, DISTIL])):
        studies = pooled.studies(name)
        assert [each.options for each in studies] == options * 2
        assert len({each.seed for each in studies}) == len(studies)
        for each in studies:
            assert each.texts().keys() == EVERYTHING
            assert each.texts()["b-1"] == (f"by rule answer {CANARY}1", None)
    report = pooled.server.report
    assert sorted((e.round, e.party) for e in report.evaluations) == [
        (round, party) for round in range(3) for party in ("a", "b", "llm")
    ]


def test_each_client_tells_its_samples_once(pooled: Federation):
    pooled.run(0, 1, 2)
    told = [(m.round, m.phase, m.sender, m.receiver) for m in pooled.exchange.sent if SAMPLES in m.payload]
    assert told == [
        (1, "pool", "a", "llm"),
        (1, "pool", "b", "llm"),
        *((round, "study", "llm", name) for round in (1, 2) for name in ("a", "b")),
    ]
    sent = next(m.payload[SAMPLES] for m in pooled.exchange.sent if m.sender == "b" and SAMPLES in m.payload)
    assert samples.decode(sent) == ("b", 1, pooled.clients["b"].private)
    assert describe(Codecs())(SAMPLES, {SAMPLES: sent}) == 4


def test_a_client_that_comes_later_is_heard_then(pooled: Federation):
    pooled.exchange.clients = ("a",)
    pooled.run(1)
    assert pooled.studies("llm")[0].texts().keys() == {f"a-{i}" for i in range(4)}
    pooled.exchange.clients = ("a", "b")
    pooled.run(2)
    assert pooled.studies("llm")[1].texts().keys() == pooled.studies("a")[2].texts().keys() == EVERYTHING


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (samples.encode("b", 1, ()), "of another party or round"),
        (samples.encode("a", 2, ()), "of another party or round"),
        (b"nothing", "samples"),
    ],
)
def test_what_is_told_is_the_senders_and_of_this_round(tmp_path: FilePath, data: bytes, why: str):
    guard = Guard(make(HOSTS, "centralized"), make_party("llm", set(), tmp_path))
    guard.check_reply("a", "pool", 1, {SAMPLES: samples.encode("a", 1, ())})
    with pytest.raises((FederationError, CodecError), match=why):
        guard.check_reply("a", "pool", 1, {SAMPLES: data})


def config(**changes: Any) -> dict[str, Any]:
    return builtin(host="centralized", plugin="none", allocator=None, **changes)


@pytest.mark.parametrize("engine", ["simulation", "deployment"])
def test_it_runs_on_one_machine_alone(engine: str):
    with pytest.raises(InputError, match=f"engine: '{engine}', but host 'centralized' sends the private samples"):
        make_config(config(engine=engine))


@pytest.mark.parametrize("means", [{"redact": {"pii": ["email"]}}, {"blur": {"noise": 0.1}}])
def test_holding_something_back_beside_it_is_refused(means: dict[str, Any]):
    changed = config()
    changed["clients"][1] |= means
    with pytest.raises(
        InputError, match=f"clients.clinic.{next(iter(means))}: host 'centralized' sends private samples"
    ):
        make_config(changed)


def test_a_client_of_a_deployment_refuses_a_server_that_asks_for_it():
    client = ClientFile.model_validate(
        {"name": "a", "superlink": "x:1", "model": {"model": "zoo:slm-llama"}, "task": {"kind": "rulebooks"}}
    )
    resolved: RunConfig = make_config(config())
    methods: dict[str, Any] = {point.key: getattr(resolved, point.key) for point in chosen_points() if point.agreed}
    terms = Terms(
        run="r", started=0.0, seed=0, rounds=1, server="llm", clients=(ExpectedClient(name="a", domains=()),),
        public="0" * 64, test="0" * 64, **methods,
    )  # fmt: skip
    with pytest.raises(InputError, match="engine: 'deployment', but host 'centralized'"):
        merge_terms(client, terms)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, FilePath]:
    folder = tmp_path_factory.mktemp("runs")
    return lada.run(small(config(keep_messages=True)), runs=folder), folder / "small"


def test_ledger_notices_and_audit_say_that_private_samples_left(run: tuple[Any, FilePath], tmp_path: FilePath):
    results, folder = run
    assert {(s.party, s.phase, s.lessons) for s in results.studies} == {
        ("llm", "pooled", 16),
        *((client, phase, 16) for client in ("warehouse", "clinic") for phase in ("pooled", "pooled-more")),
    }
    assert "no federation: the private samples of every client leave it" in results.notices[0]
    left = [(row.sender, row.samples) for row in read(folder) if row.kind == SAMPLES and row.sender != "server"]
    assert sorted(left) == [("clinic", 8), ("warehouse", 8)]
    question = read_task(run_folder.read(folder)[0], folder).private["clinic"][0].question
    found = audit(folder, canaries=[question])
    clinic = found.clients[0].searched
    assert clinic is not None
    assert ("canary 1", SAMPLES) in {(one.what, one.kind) for one in clinic.found}
    shutil.copytree(folder, tmp_path / "small")
    for client in ("clinic", "warehouse"):
        shutil.rmtree(tmp_path / "small" / "clients" / client / "sent")
    for told in (found, audit(tmp_path / "small")):
        assert [(client.verdict, client.pooled) for client in told.clients] == [("found", 8)] * 2
        assert not told.passed
    shown = CliRunner().invoke(app, ["audit", str(tmp_path / "small")])
    assert shown.exit_code == 1
    assert "clinic: found; 8 private samples left it as they are" in shown.output
