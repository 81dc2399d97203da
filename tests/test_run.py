"""Whole runs, small: nothing private crosses, equal seeds give equal bits, users' own data work."""

import json
import random
from pathlib import Path

import pytest
import yaml
from actors import small
from typer.testing import CliRunner

import lada
from lada.cli.main import app
from lada.core.results import Results
from lada.federation import run_folder
from lada.federation.messages import decode
from lada.federation.parties import read_task, server_party
from lada.models.identity import weights_digest
from lada.watching.watch import Watch

CANARY = "zanzibar"
NO_REPLAY = {"private": 0.0, "paths": 0.0, "general": 0.0}


def builtin(**changes):
    """A run of one round over two clients that takes a few seconds. The threshold lets in what untaught ones guess."""
    config = {
        "name": "small",
        "rounds": 1,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 24, "private": 24, "test_per_domain": 1, "replay": 8},
        "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 16}, "distil": {"steps": 2}},
        "clients": [
            {
                "name": name,
                "domains": [name],
                "model": {"model": f"zoo:{model}", "max_new_tokens": 16},
                "private": {"steps": 2},
                "distil": {"steps": 2},
            }
            for name, model in (("warehouse", "slm-llama"), ("clinic", "slm-olmo2"))
        ],
        "plugin": "lada",
        "allocator": {"name": "lada_paper", "options": {"budget": 12}},
    }
    return config | changes


def without_times(results: Results) -> dict:
    data = results.model_dump(mode="json")
    del data["wall_clock"]
    return data


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return lada.run(builtin(), runs=folder), folder / "small"


def test_the_run_folder_holds_what_it_promises(first):
    results, folder = first
    for name in ("config.yaml", "results.json", "events.jsonl", "ledger.parquet", "allocations.parquet", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert Results.model_validate_json((folder / "results.json").read_text()).model_dump() == results.model_dump()
    assert {(e.party, e.round) for e in results.evaluations} == {
        (party, round) for party in ("llm", "warehouse", "clinic") for round in (0, 1)
    }
    assert {(a.teacher, a.student) for a in results.allocations} == {
        ("llm", "warehouse"),
        ("llm", "clinic"),
        ("warehouse", "llm"),
        ("clinic", "llm"),
    }
    for line in (folder / "events.jsonl").read_text().splitlines():
        assert {"kind", "time"} <= json.loads(line).keys()


def test_whoever_watches_sees_what_the_results_say(first):
    results, folder = first
    now = Watch(folder).look()
    assert (now.state, now.round, now.rounds, now.unreadable) == ("finished", 1, 1, 0)
    assert [party.name for party in now.parties] == ["llm", "clinic", "warehouse"]
    for party in now.parties:
        rows = [row for row in results.traffic if party.name in (row.sender, row.receiver)]
        assert party.sent == sum(row.bytes for row in rows if row.sender == party.name) > 0
        assert party.received == sum(row.bytes for row in rows if row.receiver == party.name)
        overall = [results.of(party.name, round).overall.value for round in (0, 1)]
        assert (party.accuracy["overall"], party.change) == (overall[1], overall[1] - overall[0])
        assert party.tokens >= sum(study.tokens for study in results.studies if study.party == party.name) > 0
        assert party.last_seen is not None


def test_a_checkpoint_loads_with_transformers_alone_and_is_what_the_results_say(first):
    from transformers import AutoModelForCausalLM

    results, folder = first
    for party in results.parties:
        model = AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / party.name / "model")
        assert weights_digest(model) == party.weights


@pytest.mark.usefixtures("_warm_workers")
def test_worker_processes_and_a_second_time_give_the_same_bits(first, tmp_path):
    again = lada.run(builtin(workers=2), runs=tmp_path)
    expected = without_times(first[0])
    got = without_times(again)
    del expected["config"]["workers"], got["config"]["workers"]
    assert got == expected


def test_another_seed_draws_other_samples(first, tmp_path):
    other = lada.run(builtin(seed=1, rounds=0), runs=tmp_path)
    questions = {shown.question for shown in other.shown}
    assert questions
    assert not questions & {shown.question for shown in first[0].shown}


def test_results_say_which_gold_answers_are_wrong_and_parties_are_not_told(tmp_path):
    config = builtin(rounds=0)
    config["task"]["noise"] = 0.25
    results = lada.run(config, runs=tmp_path)
    assert len(results.noisy) == round(0.25 * 24)
    resolved, place = run_folder.read(tmp_path / "small")
    task = read_task(resolved, place.base)
    assert results.noisy == tuple(sorted(task.noisy))
    assert server_party(resolved, place, task, lambda event: None).task.noisy == frozenset()


def rows(count: int, offset: int, word: str) -> list[dict]:
    """Sums whose question and answer both carry a word of their own."""
    rng = random.Random(offset)
    pairs = [(a, b) for a in range(30) for b in range(30)]
    rng.shuffle(pairs)
    return [
        {
            "question": f"{word} {a} and {b} ?",
            "answer": f"{word}{a + b}",
            "rationale": f"{word} {a} + {b} = {a + b} . answer {word}{a + b}",
            "domain": "sums" if a < b else "differences",
        }
        for a, b in pairs[offset : offset + count]
    ]


def own_files(folder: Path) -> dict:
    """A federation over the user's own JSONL, two clients."""
    for name, count, offset, word in (("train", 60, 0, CANARY), ("public", 20, 100, "open"), ("test", 8, 200, "test")):
        text = "".join(json.dumps(row) + "\n" for row in rows(count, offset, word))
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    config = builtin()
    config["task"] = {
        "kind": "files",
        "train": "train.jsonl",
        "public": "public.jsonl",
        "test": "test.jsonl",
        "partition": {"by": "domain"},
    }
    config["server"]["model"]["model"] = "zoo:slm-gpt2"
    for client in config["clients"]:
        client["domains"] = []
    return config


def test_own_files_run_and_nothing_private_is_in_any_message(tmp_path, monkeypatch):
    seen: list[bytes] = []

    def spy(records, *limits):
        seen.extend(bytes(array.data) for record in records.array_records.values() for array in record.values())
        return decode(records, *limits)

    for module in ("client_app", "admission"):
        monkeypatch.setattr(f"lada.federation.{module}.decode", spy)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(own_files(tmp_path)), encoding="utf-8")
    results = lada.run(tmp_path / "run.yaml", runs=tmp_path / "runs")
    assert len(results.parties) == 3
    assert {domain for party in results.parties for domain in party.domains} == {"sums", "differences"}
    # Compression could hide a text; so what a message decodes to is searched as well.
    from lada.codecs.paths import decode as decode_paths
    from lada.core.errors import CodecError

    texts = []
    for part in seen:
        try:
            texts += [path.text for path in decode_paths(part, known_ids=None).paths]
        except CodecError:
            texts.append(part.decode("utf-8", "replace"))
    assert len(texts) > 40
    private = {row["question"] for row in rows(60, 0, CANARY)}
    for text in texts:
        assert CANARY not in text
        assert not any(question in text for question in private)
    assert not any(CANARY.encode() in part for part in seen)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"plugin": "lda"}, "plugin"),
        ({"rouds": 2}, "rounds"),
        ({"allocator": "lad"}, "did you mean 'lada'"),
        ({"allocator": {"name": "random", "options": {"budget": 0}}}, "budget"),
        ({"rounds": "two"}, "rounds"),
        ({"clients": []}, "clients"),
        ({"host": {"name": "fedmtk"}}, "fedmkt"),
    ],
)
def test_a_bad_configuration_is_refused_with_exit_code_2(change, expected, tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(builtin(**change)), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml"), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2, result.output
    assert expected in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda f, c: (f / "train.jsonl").unlink(), "train.jsonl"),
        (lambda f, c: (f / "train.jsonl").open("a").write('{"question": "a"\n'), "line 61"),
        (lambda f, c: (f / "train.jsonl").open("a").write('{"question": "a", "answer": ""}\n'), "answer"),
        (
            lambda f, c: (f / "train.jsonl").write_text(
                '{"id": "a", "question": "a", "answer": "1"}\n{"id": "a", "question": "b", "answer": "1"}\n'
            ),
            "'a'",
        ),
        (lambda f, c: (f / "test.jsonl").write_text('{"question": "a"}\n'), "answer"),
        (lambda f, c: c["task"]["partition"].update(by="given"), "client"),
        (lambda f, c: c["clients"][0]["model"].update(model=str(f)), "tokenizer"),
        (lambda f, c: c["clients"][0]["model"].update(model="zoo:slm-lama"), "did you mean 'slm-llama'"),
    ],
)
def test_bad_data_and_models_are_refused_with_exit_code_2(break_it, expected, tmp_path):
    config = own_files(tmp_path)
    break_it(tmp_path, config)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(tmp_path / "run.yaml"), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2, result.output
    assert expected in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["methods"], "contrastive"),
        (["schema"], '"x-methods"'),
        (["tasks", "show"], "private of kitchen"),
        (["zoo", "list"], "slm-olmo2"),
        (["--help"], "demo"),
    ],
)
def test_commands_that_only_look_work(command, expected):
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert expected in result.output


def test_report_compares_runs_and_names_a_folder_that_holds_none(first, tmp_path):
    _, folder = first
    result = CliRunner().invoke(app, ["report", str(folder), str(folder), "--output", str(tmp_path / "both.html")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "both.html").stat().st_size > 1000
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 2


def fedmkt(**changes):
    """A smaller run as in FedMKT's paper: labels for knowledge, soft targets."""
    config = small(builtin(plugin="none", **changes))
    del config["allocator"]
    return config


def kinds(results: Results) -> dict[str, set[str]]:
    """Return which kinds of message each party sent after round 0, reports aside."""
    sent: dict[str, set[str]] = {}
    for row in results.traffic:
        if row.round and row.kind not in ("metrics", "times"):
            sent.setdefault(row.sender, set()).add(row.kind)
    return sent


def test_fedmkt_bare_and_with_lada_differ_in_one_line(tmp_path):
    for plugin, kind in (("none", "likelihoods"), ("lada", "paths")):
        results = lada.run(fedmkt() | {"plugin": plugin}, runs=tmp_path, name=plugin)
        sent = kinds(results)
        assert sent.keys() == {"llm", "warehouse", "clinic"}
        assert all(kind in crossed for crossed in sent.values())
        assert all(("soft_targets" in crossed) == (plugin == "none") for crossed in sent.values())
        soft = {study.party: study.soft for study in results.studies if study.phase == "distil"}
        assert all((count > 0) == (plugin == "none") for count in soft.values())


def test_fedmkt_with_one_client_and_one_way(tmp_path):
    config = fedmkt(host={"name": "fedmkt", "options": {"directions": "llm_to_slm"}})
    config["clients"] = config["clients"][1:]
    results = lada.run(config, runs=tmp_path)
    assert kinds(results) == {"llm": {"likelihoods", "soft_targets", "vocabulary"}}
    assert {study.party for study in results.studies} == {"clinic"}


def test_fedmkt_with_one_model_averages_adapters(tmp_path):
    host = {"name": "fedmkt", "options": {"average_adapters": True, "client_replay": NO_REPLAY}}
    config = fedmkt(host=host, rounds=2)
    for client in config["clients"]:
        client["model"] = {"model": "zoo:slm-llama", "tune": "lora", "lora": {"rank": 2}, "max_new_tokens": 16}
    results = lada.run(config, runs=tmp_path)
    one, other = (party.weights for party in results.parties if party.role == "client")
    assert one == other
    assert kinds(results)["clinic"] == {"likelihoods", "soft_targets", "vocabulary", "adapter"}
