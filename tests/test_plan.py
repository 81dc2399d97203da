"""Plans: what they say beforehand is what a run then does; nothing is written, no network is asked."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import lada
from lada.cli.main import app
from lada.core.errors import InputError
from lada.core.results import Environment, PhaseTime, Results, WallClock
from lada.examples import texts
from lada.models.placement import has_driver
from lada.planning.fit import RESIDENT
from lada.planning.machine import Device
from lada.planning.used import compare

SIMILAR = 2.0
"""How far off an expected size may be, as a factor."""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tables from wrapping what is looked for; a console reads COLUMNS when it is made, which is long past."""
    monkeypatch.setattr("lada.core.console.console.width", 160)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def small(**changes: Any) -> dict[str, Any]:
    """A run of one round over two clients that takes a few seconds."""
    lora = {"tune": "lora", "lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}}
    config = {
        "name": "small",
        "rounds": 1,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 60, "private": 24, "test_per_domain": 2, "replay": 8},
        "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 60}, "distil": {"steps": 2}},
        "clients": [
            {
                "name": name,
                "model": {"model": "zoo:slm-llama", "max_new_tokens": 60, **lora},
                "private": {"steps": 2},
                "distil": {"steps": 3},
            }
            for name in ("a", "b")
        ],
        "allocator": "all",
    }
    return config | changes


LABELS = {"plugin": "none", "host": {"name": "fedmkt", "options": {"average_adapters": True}}}


RUNS: dict[str, dict[str, Any]] = {
    "paths": {"allocator": "lark"},
    "labels": LABELS,
    "standalone": {"host": "standalone"},
    "fedavg": {"host": "fedavg"},
    "centralized": {"host": "centralized"},
}


QUICK = ("paths", "fedavg")
PARAMS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in RUNS]


@pytest.fixture(scope="module", params=PARAMS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Results]:
    config = small(**RUNS[request.param])
    config["server"]["model"]["model"] = "zoo:slm-gpt2"
    for party in (config["server"], *config["clients"]):
        party["model"]["max_new_tokens"] = 32
    config["task"]["test_per_domain"] = 1
    if request.param not in ("paths", "labels"):  # whose messages are mostly head where samples are few
        config["task"] |= {"public": 24, "private": 12}
    return lada.plan(config), lada.run(config, runs=tmp_path_factory.mktemp("runs"))


def test_the_phases_are_those_that_were_planned(both: tuple[Any, Results]) -> None:
    plan, results = both
    server = results.config["server"]["name"]  # type: ignore[index]
    found = {(p.round, "server" if p.party == server else "client", p.phase) for p in results.wall_clock.phases}
    planned = {
        (round, step.side, step.phase)
        for rounds in plan.schedule
        for round in range(rounds.first, rounds.last + 1)
        for step in rounds.steps
        if step.verb is not None
    }
    assert found == planned


def test_the_traffic_is_about_what_was_expected(both: tuple[Any, Results]) -> None:
    plan, results = both
    knowledge = {
        (row.round, row.sender, row.receiver, row.kind): row.bytes
        for row in results.traffic
        if row.kind not in ("metrics", "times")
    }
    expected = {(row.round, row.sender, row.receiver, row.kind): row.bytes for row in plan.traffic}
    assert expected.keys() == knowledge.keys()
    for key, size in knowledge.items():
        assert 1 / SIMILAR < expected[key] / size < SIMILAR, key


def test_the_studies_take_about_as_many_tokens_as_expected(both: tuple[Any, Results]) -> None:
    plan, results = both
    expected = {(party.name, study.phase): study for party in plan.parties for study in party.studies}
    assert results.studies
    for study in results.studies:
        planned = expected[study.party, study.phase]
        assert study.steps == planned.steps
        assert 1 / SIMILAR < planned.tokens / study.tokens < SIMILAR


def test_parties_are_counted_to_the_parameter(both: tuple[Any, Results]) -> None:
    plan, results = both
    assert {party.name: (party.memory.parameters, party.private) for party in plan.parties} == {
        party.name: (party.parameters, party.private_samples) for party in results.parties
    }


def test_memory_is_measured(both: tuple[Any, Results]) -> None:
    _, results = both
    for phase in results.wall_clock.phases:
        assert 50e6 < phase.peak_memory < 50e9


def test_a_budget_of_tokens_is_planned_in_steps() -> None:
    config = small()
    config["clients"][0]["private"] = {"tokens": 3200, "batch_size": 4}
    one = lada.plan(config).parties[1]
    study = next(study for study in one.studies if study.phase == "private")
    assert study.tokens == 3200
    assert study.steps == pytest.approx(3200 / (4 * one.mean), abs=1)


def test_epochs_are_planned_in_the_most_steps_that_they_can_be() -> None:
    config = small()
    config["server"]["distil"] = config["clients"][0]["private"] = {"epochs": 1.5, "batch_size": 16}
    llm, client, _ = lada.plan(config).parties
    steps = {study.phase: study.steps for study in (*llm.studies, *client.studies[:1])}
    assert steps == {"distil": 6, "private": 3}  # of 60 public and 24 private samples, rounded up


def test_a_long_run_repeats_its_rounds(tmp_path: Path) -> None:
    private = {"name": "fedmkt", "options": {"private_rounds": 2}}
    plan = lada.plan(small(rounds=9, host=private))
    # After the first round the LLM has said what it knows.
    assert [(rounds.first, rounds.last) for rounds in plan.schedule] == [(0, 0), (1, 1), (2, 2), (3, 9)]
    assert not any(step.phase == "private" for step in plan.schedule[-1].steps)
    assert {row.round for row in plan.traffic} == set(range(1, 10))


@pytest.mark.skipif(has_driver(), reason="this machine has an accelerator")
def test_a_party_whose_device_is_not_here_has_no_time() -> None:
    server = small()["server"]
    plan = lada.plan(small(server=server | {"model": server["model"] | {"device": "cuda"}}))
    assert [time.party for time in plan.times] == ["a", "b"]
    assert plan.seconds == pytest.approx(sum(time.seconds for time in plan.times), abs=0.11)


def test_without_rounds_nobody_studies() -> None:
    plan = lada.plan(small(rounds=0))
    assert (plan.traffic, [party.studies for party in plan.parties]) == ((), [(), (), ()])
    assert all(party.memory and party.memory.studying == 0 for party in plan.parties)


class TestExamples:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("lada.models.api.find_vllm", lambda: "vllm")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize("name", sorted(name for name, text in texts().items() if "zoo:" in text))
    def test_each_with_shipped_models_can_be_planned(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "my.yaml").write_text(texts()[name], encoding="utf-8")
        plan = lada.plan(tmp_path / "my.yaml")
        assert (plan.name, plan.faults) == (name, ())
        assert {party.shape for party in plan.parties} == {"from its config.json"}

    def test_a_paper_s_models_are_planned_in_their_whole_depth(self, tmp_path: Path) -> None:
        (tmp_path / "my.yaml").write_text(texts()["paper-cot"], encoding="utf-8")
        memory = lada.plan(tmp_path / "my.yaml").parties[0].memory
        assert memory is not None
        assert memory.parameters - memory.trainable == 7_615_616_512  # under LoRA

    @pytest.mark.parametrize("name", sorted(name for name, text in texts().items() if "kind: corpus" in text))
    def test_each_can_be_planned_offline(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "my.yaml").write_text(texts()[name], encoding="utf-8")
        plan = lada.plan(tmp_path / "my.yaml")
        assert plan.name == name
        assert plan.faults == ()
        local = [party for party in plan.parties if party.device != "remote"]
        assert [party.shape for party in local] == ["from a shipped shape"] * len(local)
        assert "is loaded when the run starts" in plan.data
        assert {path.name for path in tmp_path.iterdir()} == {"my.yaml"}

    def test_classifiers_are_planned_on_their_scans(self, tmp_path: Path) -> None:
        (tmp_path / "my.yaml").write_text(texts()["digits"], encoding="utf-8")
        plan = lada.plan(tmp_path / "my.yaml")
        assert (plan.name, plan.faults, plan.data) == ("digits", (), "counted in the data")
        assert {party.name: (party.model, party.private) for party in plan.parties} == {
            "llm": ("two_tower", 0),
            "paper": ("mlp", 120),
            "negative": ("cnn", 120),
            "tilted": ("graph", 120),
        }
        memory = {party.name: party.memory for party in plan.parties if party.memory}
        assert {name: its.parameters for name, its in memory.items()} == {
            "llm": 66_881,
            "paper": 8_970,
            "negative": 66_890,
            "tilted": 8_970,
        }
        assert {(party.device, party.prompt, party.completion, party.mean) for party in plan.parties} == {
            ("cpu", 64, 1, 1.0),
            ("cpu", 6 * 64 + 6 * 6, 1, 1.0),  # the nodes and edges of a graph
        }
        (cpu,) = plan.devices
        assert (cpu.parties, cpu.missing) == (("llm", "paper", "negative", "tilted"), ())
        largest = max(memory[name].peak for name in ("paper", "negative", "tilted"))
        assert cpu.needed == memory["llm"].peak + largest + RESIDENT  # of one process, since workers is 0
        assert plan.times == ()

    def test_a_classifier_that_does_not_fit_needs_no_adapter(self) -> None:
        run = yaml.safe_load(texts()["digits"])
        run["clients"] = [{"name": "paper", "model": {"learner": "mlp", "options": {"width": 65_536, "depth": 100}}}]
        plan = lada.plan(run)
        assert not plan.devices[0].fits
        assert plan.devices[0].remedies == ()
        assert plan.parties[1].memory is not None
        assert plan.parties[1].memory.weights > 1.6e12

    def test_averaged_classifiers_send_all_their_weights(self) -> None:
        run = yaml.safe_load(texts()["digits"]) | {"host": "fedavg", "plugin": "none"}
        for client in run["clients"]:
            client["model"] = {"learner": "mlp"}
        sent = {row.bytes for row in lada.plan(run).traffic if row.kind == "adapter"}
        assert sent == {4 * 8970}

    def test_the_papers_numbers(self) -> None:
        for name, corpus in (("paper-mathinstruct", "mathinstruct"), ("paper-cot", "cot-collection")):
            data = yaml.safe_load(texts()[name])
            task = data["task"]
            assert (data["rounds"], task["corpus"], len(data["clients"])) == (5, corpus, 3)
            assert (task["public"], task["private"], task["test"]) == (1000, 1000, 3 * 500)
            assert (data["host"], data["plugin"]) == ("fedmkt", "lada")

    def test_every_key_of_the_papers_says_where_its_value_is_from(self) -> None:
        head, *_ = texts()["paper-mathinstruct"].partition("clients:")
        for line in head.splitlines():
            key, _, value = line.partition(":")
            if value.strip() not in ("", "&study") and not line.startswith("#") and key.strip() not in ("name", "kind"):
                assert any(word in value for word in ("# paper", "# our choice", "# FedMKT")), line

    def test_a_key_that_is_not_set_is_a_fault(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        (tmp_path / "api.yaml").write_text(texts()["api"], encoding="utf-8")
        result = CliRunner().invoke(app, ["run", str(tmp_path / "api.yaml"), "--dry-run"])
        assert result.exit_code == 2
        assert "missing here: " in result.output
        assert "OPENAI_API_KEY" in result.output

    def test_an_unknown_model_is_told_apart(self, tmp_path: Path) -> None:
        config = small()
        config["clients"][1]["model"] = {"model": "someone/some-model"}
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        result = CliRunner().invoke(app, ["run", str(tmp_path / "my.yaml"), "--dry-run"])
        assert result.exit_code == 0, result.output
        assert "b: unknown offline: run `hf download someone/some-model config.json`" in result.output
        assert "unknown; b not counted" in result.output
        assert "a: LoRA adapts 15% of the weights between embeddings and logits" in result.output


class TestCommands:
    @pytest.fixture
    def config(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my.yaml").write_text(yaml.safe_dump(small()), encoding="utf-8")
        return str(tmp_path / "my.yaml")

    def run(self, *words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    def test_a_dry_run_writes_nothing(self, config: str, tmp_path: Path) -> None:
        result = self.run("run", config, "--dry-run")
        assert result.exit_code == 0, result.output
        for word in (
            "answer-anew",
            "private",
            "approximate time of all rounds",
            "maximum memory of tensors",
            "does it fit?",
        ):
            assert word in result.output
        assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]

    def test_a_dry_run_as_data(self, config: str) -> None:
        result = self.run("run", config, "--dry-run", "--json", "--set", "rounds=3")
        assert json.loads(result.stdout) == lada.plan(config, overrides=("rounds=3",)).model_dump(mode="json") | {
            "devices": json.loads(result.stdout)["devices"]  # what is free changes from moment to moment
        }

    def test_data_are_for_dry_runs(self, config: str) -> None:
        assert self.run("run", config, "--json").exit_code == 2

    def test_a_wrong_configuration_is_refused(self, config: str) -> None:
        result = self.run("run", config, "--dry-run", "--set", "server.model.model=./nowhere")
        assert result.exit_code == 2
        with pytest.raises(InputError, match=r"no folder './nowhere'"):
            lada.plan(config, overrides=("server.model.model=./nowhere",))

    def test_the_doctor_looks_at_the_machine(self) -> None:
        result = self.run("doctor")
        assert result.exit_code == 0, result.output
        assert "packages that are missing" in result.output
        assert "cpu" in result.output

    def test_the_doctor_says_that_it_fits(self, config: str) -> None:
        result = self.run("doctor", config)
        assert (result.exit_code, "fits" in result.output, "does not fit" in result.output) == (0, True, False)

    def test_the_doctor_says_what_would_make_it_fit(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lada.planning.compose.devices", lambda: (Device("cpu", "small", 10, 900 * 10**6),))
        result = self.run("doctor", config)
        assert result.exit_code == 1
        assert "does not fit; would with batch_size: 8" in result.output

    def test_the_doctor_compares_a_run_with_its_plan(self, both: tuple[Any, Results], tmp_path: Path) -> None:
        _, results = both
        (tmp_path / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
        result = self.run("doctor", str(tmp_path))
        assert result.exit_code == 0, result.output
        for party in results.parties:
            assert party.name in result.output
        assert "not measured" not in result.output

    def test_examples_are_listed_and_shown(self) -> None:
        listed = self.run("examples", "list").output
        assert all(name in listed for name in texts())
        assert self.run("examples", "show", "api").stdout == texts()["api"]
        assert self.run("examples", "show", "papers").exit_code == 2


def test_a_finished_run_without_its_data_is_compared_all_the_same(tmp_path: Path) -> None:
    where = {"party": "a", "round": 1, "start": 0.0, "seconds": 1.0}
    results = Results(
        name="old",
        config=small(task={"kind": "files", "train": "gone.jsonl", "public": "gone.jsonl"}),
        environment=Environment(lada="0", git=None, python="3", packages={}, device="cpu"),
        parties=(),
        evaluations=(),
        studies=(),
        allocations=(),
        traffic=(),
        shown=(),
        notices=(),
        wall_clock=WallClock(
            started="",
            seconds=2.0,
            phases=(
                PhaseTime(phase="private", peak_memory=700, **where),
                PhaseTime(phase="distil", peak_memory=900, **where),
            ),
        ),
    )
    (tmp_path / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
    rows = {row.party: row for row in compare(tmp_path)}
    assert (rows["a"].used, rows["a"].phase, rows["llm"].used) == (900, "distil", 0)
    assert all(row.expected for row in rows.values())


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no readable results\.json"):
        compare(tmp_path)


def test_trials_are_part_of_the_study_that_follows() -> None:
    config = small(allocator={"name": "race", "options": {"laps": 4, "warm_up": 0.125, "lap": 0.04}})
    for party in (config["server"], *config["clients"]):
        party["distil"] = {"steps": 100, "batch_size": 4}
    plan = lada.plan(config)
    (steps,) = [rounds.steps for rounds in plan.schedule if rounds.first == 1]
    for side in ("server", "client"):
        told = [(step.phase, step.verb, step.samples) for step in steps if step.side == side]
        at = [phase for phase, _, _ in told].index("distil")
        trials = [
            ("try", verb, samples)
            for verb, samples in (("study", "lessons"), ("judge", "public"), ("answer", "public"))
        ]
        assert told[at - 4 : at] == [("read", "read", "public"), *trials]
    for party in plan.parties:
        taken = {study.phase: study.steps for study in party.studies}
        assert (taken["try"], taken["distil"]) == (
            44,
            56,
        )  # 0.125 + 2 · 4 · 0.04 of 100, which rounds to an even number
    assert sum("takes up to 44.5 % of the budget of the study `distil`" in notice for notice in plan.notices) == 1


@pytest.mark.parametrize(
    "changes",
    [{"allocator": {"name": "race", "options": {"laps": 0}}}, {"host": "fedavg"}, {"allocator": "lada"}],
)
def test_who_tries_nothing_has_no_trials_in_the_plan(changes: dict[str, Any]) -> None:
    plan = lada.plan(small(**({"allocator": "race"} | changes)))
    assert not {step.phase for rounds in plan.schedule for step in rounds.steps} & {"read", "try"}
    assert not any("on trial" in notice for notice in plan.notices)
