"""A run whose task has a verifier of the user's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import lada
from lada.config import make_config
from lada.core.errors import InputError
from lada.engines.own_data import deal_out
from lada.federation.parties import read_task

VERIFY = """
import time

def verify(sample, text):
    return {"right": 0.5, "nearly": 0.4, "hang": 1.0}[sample.entry] if sample.entry != "hang" else time.sleep(1000)
"""


def jsonl(file: Path, *rows: dict[str, Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "verify.py").write_text(VERIFY, encoding="utf-8")
    jsonl(tmp_path / "train.jsonl", *({"question": f"{n}?", "rationale": f"It is {n}."} for n in range(6)))
    jsonl(tmp_path / "public.jsonl", *({"question": f"public {n}?", "entry": "right"} for n in range(4)))
    jsonl(
        tmp_path / "test.jsonl",
        *({"question": f"test {entry}?", "entry": entry} for entry in ("right", "nearly", "hang")),
    )
    model = {"model": "zoo:slm-llama", "max_new_tokens": 4}
    return {
        "name": "own",
        "rounds": 1,
        "workers": 0,
        "task": {
            "kind": "files",
            "train": "train.jsonl",
            "public": "public.jsonl",
            "test": "test.jsonl",
            "partition": {"by": "iid"},
            "verifier": {"kind": "function", "file": "verify.py", "threshold": 0.5, "seconds": 1.0},
        },
        "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 4}, "distil": {"steps": 1}},
        "clients": [
            {"name": name, "model": model, "private": {"steps": 1}, "distil": {"steps": 1}} for name in ("a", "b")
        ],
        "host": "fedmkt",
        "plugin": "lada",
        "allocator": {"name": "verified", "options": {}},
    }


@pytest.mark.slow
def test_it_decides_and_what_it_costs_is_counted(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    results = lada.run(tmp_path / "run.yaml", runs=tmp_path / "runs")
    assert {(e.overall.value, e.overall.count) for e in results.evaluations} == {(33.3333, 3)}
    for party in ("llm", "a", "b"):
        for round in (0, 1):
            assert (
                f"round {round}, evaluate: the verifier of {party} failed on 1 of 3 answers, which count as wrong "
                "(1: it took longer than 1 s)"
            ) in results.notices


def test_training_rows_need_something_to_teach(config: dict[str, Any], tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", {"question": "1?", "answer": "1"}, {"question": "2?"})
    with pytest.raises(InputError, match=r"sample 'train-00002' in train\.jsonl has neither an answer nor a rationale"):
        read_task(make_config(config), tmp_path)


def test_programs_need_tests(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config["task"]["verifier"] = {"kind": "code", "sandbox": "none"}
    for entry in ({}, {"entry": "# none"}):
        jsonl(tmp_path / "public.jsonl", {"question": "public?", **entry})
        with pytest.raises(InputError, match=r"task\.verifier: sample 'public-00001' has no tests"):
            read_task(make_config(config), tmp_path)


def test_a_deployment_gives_everybody_the_verifier_and_the_entries(config: dict[str, Any], tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", *({"question": f"{n}?", "answer": "1", "entry": "right"} for n in range(6)))
    tasks = deal_out(make_config(config), tmp_path, tmp_path / "fed")
    for party, folder in (("server", "server"), ("a", "clients/a"), ("b", "clients/b")):
        assert tasks[party]["verifier"] == {
            "kind": "function",
            "file": "verifier.py",
            "threshold": 0.5,
            "seconds": 1.0,
        }
        assert (tmp_path / "fed" / folder / "verifier.py").read_text(encoding="utf-8") == VERIFY
    rows = (tmp_path / "fed" / "clients" / "a" / "private.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(row)["entry"] for row in rows} == {"right"}
    own = make_config(config | {"task": tasks["a"], "clients": config["clients"][:1]})
    assert read_task(own, tmp_path / "fed" / "clients" / "a").verifier is not None
