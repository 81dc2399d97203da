"""Whole runs with an augmenter and an LLM behind an API: what is kept, paid for and resumed, on all engines."""

from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, serving
from teacher import writes
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.bench.cell import Cell, CellKey
from lada.bench.outcome import outcome as outcome_of
from lada.cli.planned import plan_tables
from lada.federation import party_cache
from lada.federation.run_folder import read
from lada.planning.compose import plan

OPTIONS = {
    "symbolic_kd": {"new": 4, "paths": 3, "calibration": 8, "shots": 2, "verify": "verifier", "recall": 1.0},
    "pgkd": {"new": 4, "per_call": 2, "paths": 3, "validation": 0.25, "probed": 3, "verify": "verifier"},
}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-1234567890")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def config(api: FakeApi, cache: Path, method: str, **changes: Any) -> dict[str, Any]:
    made = tiny(rounds=2, host="fedcot", augmenter={"name": method, "options": OPTIONS[method]}, **changes)
    made["task"] |= {"public": 16}
    model = {"base_url": api.url, "model": "big", "cache": str(cache), "log_probs": False}
    made["server"]["model"] = {"api": model}
    return made


@pytest.mark.parametrize("name", OPTIONS)
def test_right_questions_join_the_pool_and_every_call_is_counted(tmp_path: Path, name: str):
    with serving(writes(every=2)) as api:
        results = lada.run(config(api, tmp_path / "cache", name, keep_messages=True), runs=tmp_path)
        planned = plan(config(api, tmp_path / "cache", name))
    rows = results.augmentations
    assert [row.round for row in rows] == [1, 2]
    assert sum(row.kept for row in rows) == rows[-1].pool > 0
    for row in rows:
        assert row.drafts == row.kept + sum(row.refused.values())
        assert row.right in (None, 100.0)
        assert row.well_formed in (None, 100.0)
        written = row.calls - (row.written - 8 * row.calls) // 4  # 12 tokens for a prompt's reply, 8 for a path
        assert row.read == 20 * written + 40 * (row.calls - written)
    # Whatever is not the augmenter's are the greedy paths: 16 public and 8 test questions, and the new ones.
    public = 16 - round(OPTIONS[name].get("validation", 0) * 16)
    assert len(api.requests) == sum(row.calls for row in rows) + public + 8 + rows[-1].pool
    assert planned.generation is not None
    assert planned.generation.calls >= sum(row.calls for row in rows)
    assert planned.generation.read >= sum(row.read for row in rows)
    assert f"{name} calls the LLM at most {planned.generation.round_calls} times a round" in "\n".join(
        str(each) for each in plan_tables(planned)
    )
    crossed = [row for row in results.traffic if row.kind == "generated"]
    assert {row.receiver for row in crossed} == {"warehouse", "clinic"}
    told = outcome_of(Cell(CellKey("s", name, 0, 0), read(results.folder)[0]), results.folder)
    for figure in ("drafts", "kept", "calls", "written"):
        assert getattr(told, figure) == sum(getattr(row, figure) for row in rows)
    outcomes = {row.sender for row in results.traffic if row.kind == "outcomes"}
    assert outcomes == ({"warehouse", "clinic"} if name == "pgkd" else set())


@pytest.mark.parametrize("name", ["symbolic_kd", pytest.param("pgkd", marks=pytest.mark.slow)])
def test_a_run_resumes_to_the_same_figures_and_pays_for_no_call_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    with serving(writes(every=2)) as api:
        with monkeypatch.context() as patch:
            saves = crash_at(10**6, patch)
            whole = outcome(lada.run(config(api, tmp_path / "one", name), runs=tmp_path / "whole"))
        paid = len(api.requests)
        for number in (saves[0] // 3, 2 * saves[0] // 3):
            api.requests.clear()
            runs, cache = tmp_path / f"broken-{number}", tmp_path / f"cache-{number}"
            party_cache.forget()
            with monkeypatch.context() as patch:
                crash_at(number, patch)
                with pytest.raises(Crash):
                    lada.run(config(api, cache, name), runs=runs)
            party_cache.forget()
            again = outcome(lada.run(config(api, cache, name), runs=runs, resume=True))
            notices = [[text for text in each.pop("notices") if " took " not in text] for each in (dict(whole), again)]
            assert notices[0] == notices[1]
            same = whole.keys() - {"notices", "environment"}  # the checkout may have changed
            assert {key: again[key] for key in same} == {key: whole[key] for key in same}
            assert len(api.requests) == paid
