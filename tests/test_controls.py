"""Controls with a shuffled signal in whole runs: they change the outcome, and a resumed run equals a whole one."""

from pathlib import Path
from typing import Any

import pytest
from test_digits import config
from test_resume import Crash, crash_at, outcome

import lada
from lada.federation import party_cache


def averaged(**control: bool) -> dict[str, Any]:
    """Return clients of one network that send a sixteenth of their changes."""
    host = {"name": "fedavg", "options": {"malicious": 0, "clip": None}}
    return config("fedavg") | {"host": host, "codecs": [{"name": "flasc", "options": control}]}


def mixed(**control: bool) -> dict[str, Any]:
    """Return clients that make their predictions blunt, and learn a mixture each."""
    made = config("fedmd", fuser={"name": "knfu", "options": control})
    blunt = {"name": "swing", "options": {"seeded": True, "full_gap": 5.0, **control}}
    for client in made["clients"]:
        client["policies"] = [blunt]
    return made


@pytest.mark.parametrize("of", [averaged, pytest.param(mixed, marks=pytest.mark.slow)])
def test_a_shuffled_run_is_another_and_resumes_to_the_same_bits(of: Any, tmp_path: Path, monkeypatch: Any):
    plain = lada.run(of(), runs=tmp_path / "plain")
    with monkeypatch.context() as patch:
        writes = crash_at(10**6, patch)
        whole = lada.run(of(shuffled=True), runs=tmp_path / "whole")
    assert outcome(whole)["parties"] != outcome(plain)["parties"]  # their weights
    with monkeypatch.context() as patch:
        crash_at(2 * writes[0] // 3, patch)
        with pytest.raises(Crash):
            lada.run(of(shuffled=True), runs=tmp_path / "broken")
    party_cache.forget()
    assert outcome(lada.run(of(shuffled=True), runs=tmp_path / "broken", resume=True)) == outcome(whole)
