"""A run whose parties learn by these objectives, broken off and resumed: the states of TAID and OFA-KD survive it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.core.arrays import bytes_to_arrays
from lada.federation import party_cache
from lada.federation.parties import STATE

CLIENT = "warehouse"
STATEFUL = f"objective/weighted/{CLIENT}|"


def config() -> dict[str, Any]:
    """Return a run of one client, which learns by four objectives, and a server that learns from it by the fifth."""
    made = tiny(rounds=2, plugin="none", host={"name": "fedmkt", "options": {"knowledge": "labels"}})
    made["task"] |= {"replay": 0}
    made["clients"] = [client for client in made["clients"] if client["name"] == CLIENT]
    made["clients"][0] |= {
        "objective": [
            "taid",
            {"name": "sinkd", "weight": 0.5},
            "pld",
            {"name": "ofa_kd", "options": {"depths": [0.5]}},
        ],
        "distil": {"steps": 2, "batch_size": 4},
    }
    made["server"] |= {"objective": {"name": "bd_kd", "options": {"role": "teacher"}}}
    return made


def states(folder: Path) -> dict[str, np.ndarray]:
    """Return what the client's objectives remember at the end."""
    arrays = bytes_to_arrays((folder / "tiny" / "checkpoints" / CLIENT / STATE).read_bytes())
    return {name.removeprefix(STATEFUL): array for name, array in arrays.items() if name.startswith(STATEFUL)}


def test_it_resumes_from_a_crash_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        writes = crash_at(10**6, patch)
        whole = lada.run(config(), runs=tmp_path / "whole")
    assert {study.party: study.soft for study in whole.studies if study.phase == "distil"} == {"llm": 6, CLIENT: 6}
    assert not any(study.skipped for study in whole.studies)
    kept = states(tmp_path / "whole")
    assert kept.keys() == {"0.t", "0.m", "0.loss", "3.exit_0.5"}
    assert float(kept["0.t"]) == 1.0  # the last of its four steps in the run

    party_cache.forget()
    with monkeypatch.context() as patch:
        crash_at(2 * writes[0] // 3, patch)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path / "broken")
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path / "broken", resume=True)) == outcome(whole)
    again = states(tmp_path / "broken")
    assert all(np.array_equal(kept[name], again[name]) for name in kept | again)
