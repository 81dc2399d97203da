"""A run whose parties learn from judgements of their own texts, broken off and resumed: it ends in the same digits."""

from pathlib import Path
from typing import Any

import pytest
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.federation import party_cache


def config() -> dict[str, Any]:
    """Return a run in which the server asks for one number per token, and a client for the likeliest tokens."""
    made = tiny(rounds=2, objective={"name": "on_policy", "options": {"estimator": "k1"}})
    made["clients"][1]["objective"] = {"name": "distillm2", "options": {"k": 4}}
    return made


def test_it_resumes_from_a_crash_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        writes = crash_at(10**6, patch)
        whole = lada.run(config(), runs=tmp_path / "whole")
    told = {(study.round, study.party): study.soft for study in whole.studies if study.phase == "distil"}
    # Six public samples: own texts alone, and for clinic the LLM's texts too. The LLM is told in round 2 only.
    assert told == {
        (1, "llm"): 0,
        (1, "warehouse"): 6,
        (1, "clinic"): 12,
        (2, "llm"): 6,
        (2, "warehouse"): 6,
        (2, "clinic"): 12,
    }
    assert not any(study.skipped for study in whole.studies)

    party_cache.forget()
    with monkeypatch.context() as patch:
        crash_at(2 * writes[0] // 3, patch)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path / "broken")
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path / "broken", resume=True)) == outcome(whole)
