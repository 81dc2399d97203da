"""A whole run whose LLM is behind an API: it teaches two shipped SLMs and learns nothing."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_api import Say, chat, serving
from fake_vllm import scoring

import lada
from lada.config import full_schema, make_config
from lada.core.errors import InputError
from lada.hosts.base import HOSTS
from lada.models.api_meter import ApiError
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

KEY = "sk-very-secret-1234567890"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def config(url: str = "http://127.0.0.1:1/v1", api: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A run of two rounds over two clients that takes a few seconds."""
    return {
        "name": "remote",
        "rounds": 2,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 12, "private": 8, "test_per_domain": 1, "replay": 4},
        "server": {"model": {"api": {"base_url": url, "model": "big", "cache": "answers", **(api or {})}}},
        "clients": [
            {
                "name": name,
                "domains": [name],
                "model": {"model": f"zoo:{model}", "max_new_tokens": 12},
                "private": {"steps": 1},
                "distil": {"steps": 1},
            }
            for name, model in (("warehouse", "slm-llama"), ("clinic", "slm-olmo2"))
        ],
        "allocator": "all",
    } | changes


def test_a_server_that_the_run_starts_ends_with_it(tmp_path, monkeypatch):
    fake = Path(__file__).parent / "models" / "fake_vllm_serve.py"
    command = tmp_path / "vllm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {fake} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setattr("lada.models.vllm_server.find_vllm", lambda: str(command))
    monkeypatch.setattr("lada.models.api.find_vllm", lambda: str(command))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = {"serve": {}, "key_variable": None, "cache": str(tmp_path / "answers")}
    results = lada.run(config(f"http://127.0.0.1:{port}/v1", served), runs=tmp_path / "runs")
    log = tmp_path / "answers" / "vllm.log"
    assert f"llm: vllm serve was started for 'big'; its log is {str(log)!r}" in results.notices
    assert log.read_text().count("engine ") == 1  # for all rounds
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def answer(request: dict[str, Any], number: int) -> Say:
    return chat("so it is 4 . answer 4", [-0.5, -0.25] if request.get("logprobs") else None)


def test_an_llm_behind_an_api_teaches_and_the_key_stays_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving(answer) as api:
        results = lada.run(config(api.url), runs=tmp_path / "runs")
    folder = tmp_path / "runs" / "remote"
    (llm,) = (party for party in results.parties if party.role == "server")
    assert (llm.model, llm.architecture, llm.parameters, llm.weights) == ("big", "api", 0, "")
    assert {(study.party, study.phase, study.round) for study in results.studies} == {
        (client, phase, round)
        for client in ("warehouse", "clinic")
        for phase in ("private", "distil")
        for round in (1, 2)
    }
    assert {(a.teacher, a.student, a.candidates, a.from_teacher) for a in results.allocations} == {
        ("llm", "warehouse", 12, 12),
        ("llm", "clinic", 12, 12),
    }
    # Every question once, though the LLM is asked for each in every round.
    questions = [request["messages"][-1]["content"] for request in api.requests]
    assert len(questions) == len(set(questions))
    assert all(e.calibration_error is None for e in results.evaluations if e.party == "llm")
    switched_off, spent = results.notices[0], results.notices[-1]
    assert "SLM→LLM is switched off" in switched_off
    assert (
        spent
        == f"llm took {len(questions)} requests, {10 * len(questions):,} input and {5 * len(questions)} output tokens"
    )
    assert [file.name for file in (folder / "checkpoints" / "llm").rglob("*.safetensors")] == ["state.safetensors"]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > len(questions)
    assert not any(KEY.encode() in file.read_bytes() for file in files)
    assert "behind an API" in (folder / "report.html").read_text()


def test_a_budget_that_is_spent_keeps_what_was_answered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with serving(answer) as api:
        with pytest.raises(ApiError, match="requests: 5 has no room"):
            lada.run(config(api.url, {"budget": {"requests": 5}}), runs=tmp_path / "runs")
        assert len(api.requests) == 5
    assert len(list((tmp_path / "answers").rglob("*.json"))) == 5


def test_questions_that_are_refused_are_taught_by_nobody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse = Say({"error": {"message": "filtered", "code": "content_filter"}}, 400)
    seen: list[str] = []

    def say(request: dict[str, Any], number: int) -> Say:
        question = request["messages"][-1]["content"]
        if question not in seen:
            seen.append(question)
        place = seen.index(question)
        return (
            refuse
            if place % 4 == 1
            else chat(None, message={"refusal": "no"})
            if place % 4 == 2
            else answer(request, 0)
        )

    with serving(say) as api:
        results = lada.run(config(api.url, {"concurrency": 1}), runs=tmp_path / "runs")
        assert len(api.requests) == len(seen)
    lost = [text for text in results.notices if "questions are left out, since llm gave no answer" in text]
    counts = [int(text.split(": ", 1)[1].split(" of 12 ")[0]) for text in lost]
    assert [text.split(":")[0] for text in lost] == ["round 1", "round 2"]
    assert 0 < counts[0] == counts[1] < 12
    assert {(a.student, a.round, a.candidates) for a in results.allocations} == {
        (client, round, 12 - counts[0]) for client in ("warehouse", "clinic") for round in (1, 2)
    }
    assert any("requests to answer failed; the first: status 400: filtered" in text for text in results.notices)
    assert any("answers are none; the first: finish_reason 'refusal'" in text for text in results.notices)


def test_an_llm_behind_an_api_that_scores_teaches_its_distributions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = locate("zoo:slm-llama-large")
    score = scoring(load(folder, ModelOptions(model=folder, device="cpu")))

    written = {"text": "so it is 4 . answer 4", "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.5, -0.25]}}

    def say(request: dict[str, Any], number: int) -> Say:
        return score(request, number) if request["max_tokens"] <= 16 else Say({"choices": [written]})

    api_options = {"style": "completions", "prompt": "{question}\n", "scores": "prompt_logprobs", "log_probs": True}
    api_options |= {"tokenizer": "zoo:slm-llama-large", "key_variable": None}
    with serving(say) as api:
        run = config(api.url, api_options, rounds=1, plugin="none", objective="soft_targets")
        del run["allocator"]
        results = lada.run(run, runs=tmp_path / "runs")
    studies = [study for study in results.studies if study.phase == "distil"]
    assert len(studies) == 2
    assert sum(study.soft for study in studies) > 0  # of what the allocator chose of the teacher's
    assert not any("not scored" in text for text in results.notices)
    scored = [str(request) for request in api.requests if "prompt_logprobs" in request]
    assert len(scored) == len(set(scored)) >= 24  # the losses and the distributions of 12 texts


def test_a_missing_key_is_found_before_a_run_has_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        lada.run(config(), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_llm_that_only_answers_is_taught_nothing_unless_that_is_asked_for():
    resolved = make_config(config())
    assert resolved.choice(HOSTS).options["directions"] == "llm_to_slm"
    assert make_config(resolved.model_dump(mode="json")) == resolved
    with pytest.raises(InputError, match="directions: llm_to_slm for a server that only teaches"):
        make_config(config(host={"name": "fedmkt", "options": {"directions": "both"}}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"allocator": "lada"}, "allocator 'lada' needs a learner that can confidence, but that of 'llm' cannot "),
        ({"allocator": "lada"}, "(model.api; with log_probs: true it has confidence; with scores it has"),
        ({"objective": "soft_targets"}, "objective 'soft_targets' needs a learner that can log_probs"),
        ({"plugin": "none", "objective": "sft"}, "host 'fedmkt' needs a learner that can judge"),
        ({"host": "standalone"}, "host 'standalone' needs a learner that can study"),
    ],
)
def test_methods_that_need_more_are_refused(changes, told):
    with pytest.raises(InputError) as error:
        make_config(config(**changes))
    assert told in str(error.value)


def test_log_probs_are_enough_for_lada():
    assert make_config(config(api={"log_probs": True}, allocator="lada")).server_only_teaches


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ({"base_url": f"https://me:{KEY}@host/v1"}, "server.model.api.base_url: expected http(s)://host/path"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "server.model.api.base_url: expected http(s)://host/path"),
        ({"base_url": "host/v1"}, "server.model.api.base_url: expected http(s)://host/path"),
        ({"api_key": KEY}, "server.model.api.api_key: unknown key (its value is not shown); expected one of base_url"),
        ({"key_variable": KEY}, "server.model.api.key_variable: expected the name of an environment variable"),
        ({"prompt": "Hello"}, "server.model.api.prompt: 'Hello' holds no '{question}'"),
        ({"style": "completions", "system": "x"}, "server.model.api: system is for style 'chat'"),
        ({"budget": {"cost": 1.0}}, "server.model.api: budget.cost needs prices"),
        ({"extra_headers": {"X-Api-Key": KEY}}, "server.model.api.extra_headers: 'X-Api-Key' looks like a secret"),
        (
            {"extra_headers": {"X": f"{KEY}\n"}},
            "server.model.api.extra_headers: 'X' has a value that is not valid in a header",
        ),
        ({"extra_headers": {"Host": "x"}}, "server.model.api.extra_headers: 'Host' cannot be set"),
        ({"secret_headers": {"api-key": KEY}}, "server.model.api.secret_headers: expected the name of an environment"),
        ({"extra_body": {"user": {"api_key": KEY}}}, "server.model.api.extra_body: 'api_key' looks like a secret"),
        ({"extra_body": {"n": 2}}, "server.model.api.extra_body: 'n' cannot be set here"),
        ({"extra_body": {"top_p": float("nan")}}, "server.model.api.extra_body: it holds what JSON cannot"),
        ({"scores": "echo"}, "server.model.api: scores: 'echo' is for style 'completions'"),
        ({"style": "chats"}, "server.model.api.style: 'chats' is not valid; expected 'chat' or 'completions'"),
        ({"modle": "x"}, "server.model.api.modle: unknown key (its value is 'x'); expected one of base_url, budget"),
        ({"budget": {"request": 1}}, "did you mean 'requests'?"),
    ],
)
def test_a_fault_is_named_and_no_key_repeated(api, told):
    with pytest.raises(InputError) as error:
        make_config(config(api=api))
    assert told in str(error.value)
    assert KEY not in str(error.value)


def test_a_client_has_no_api():
    clients = config()["clients"]
    clients[0]["model"] = {"api": {"base_url": "http://host/v1", "model": "big"}}
    with pytest.raises(InputError, match=r"clients\.warehouse\.model\.api: unknown key"):
        make_config(config(clients=clients))


def test_the_schema_publishes_each_form():
    schema = full_schema()
    forms = schema["$defs"]["ServerConfig"]["properties"]["model"]["oneOf"]
    assert [form["$ref"].rpartition("/")[2] for form in forms] == ["ModelOptions", "ApiModel", "OtherModel"]
    assert "base_url" in schema["$defs"]["ApiOptions"]["required"]
