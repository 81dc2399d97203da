"""A run whose parties learn from judgements of their own texts, broken off and resumed: it ends in the same digits."""

from pathlib import Path
from typing import Any

import pytest
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.audit.audit import audit
from lada.config_source import open_config
from lada.core.errors import InputError
from lada.federation import party_cache


def config() -> dict[str, Any]:
    """Return a run in which the server asks for one number per token, and a client for the likeliest tokens."""
    made = tiny(rounds=2, objective={"name": "on_policy", "options": {"estimator": "k1"}})
    made["clients"][1]["objective"] = {"name": "distillm2", "options": {"k": 4}}
    return made


@pytest.mark.parametrize("host", ["fedmd", "public_sft", "standalone"])
@pytest.mark.parametrize("objective", ["on_policy", "distillm2"])
def test_hosts_without_judgements_are_refused(host: str, objective: str):
    with pytest.raises(InputError, match=f"objective '{objective}' .* host '{host}'; expected host fedmkt"):
        open_config(tiny(objective=objective, host=host))


def test_an_objective_of_one_client_alone_is_refused_too():
    made = tiny(host="public_sft")
    made["clients"][1]["objective"] = "on_policy"
    with pytest.raises(InputError, match="objective 'on_policy'"):
        open_config(made)


def test_a_policy_that_hides_losses_contradicts_judgements():
    made = tiny(objective="on_policy")
    made["clients"][0]["blur"] = {"noise": 0.1}
    with pytest.raises(InputError, match="blur: objective 'on_policy' sends soft targets or judgements"):
        open_config(made)


@pytest.mark.parametrize("objective", ["sft", {"name": "on_policy", "options": {"label_weight": 0.0}}])
def test_models_trained_by_text_and_by_judgement_are_attacked_alike(tmp_path: Path, objective: Any):
    told = lada.run(tiny(objective=objective, membership_audit=True), runs=tmp_path)
    found = audit(tmp_path / "tiny", memberships=True)
    attacks = [one for client in found.clients for one in client.memberships]
    assert [(one.party, one.attack, one.members) for one in attacks] == [
        (party, attack, 6) for party in ("clinic", "warehouse") for attack in ("loss", "gain")
    ]
    assert all(one.others > 0 and 0 <= one.low <= one.auc <= one.high <= 1 for one in attacks)
    in_run, afterwards = ({(one.party, one.attack): one for one in each} for each in (told.memberships, attacks))
    assert in_run == afterwards
    distilled = {study.soft > 0 for study in told.studies if study.phase == "distil" and study.party != "llm"}
    assert distilled == {objective != "sft"}


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
