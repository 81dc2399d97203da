"""The memory that a phase takes on a CPU."""

import sys

import numpy as np
import pytest

from lada.models.peak import begin_peak, peak_memory, resident_peak

LARGE = 200 * 2**20


def test_a_peak_is_seen_after_it_is_over() -> None:
    begin_peak("cpu")
    before = peak_memory("cpu")
    assert np.ones(LARGE, np.uint8).sum() == LARGE
    assert peak_memory("cpu") > before + 0.9 * LARGE


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot forget a peak")
def test_a_phase_forgets_the_peak_of_the_one_before() -> None:
    assert np.ones(LARGE, np.uint8).sum() == LARGE
    high = peak_memory("cpu")
    begin_peak("cpu")
    assert peak_memory("cpu") < high - 0.5 * LARGE


def test_without_proc_there_is_the_peak_of_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    pytest.importorskip("resource")
    known = resident_peak()
    monkeypatch.setattr("lada.models.peak.STATUS", tmp_path / "nowhere")
    monkeypatch.setattr("lada.models.peak.CLEAR", tmp_path / "nowhere" / "either")
    begin_peak("cpu")
    assert peak_memory("cpu") >= 0.5 * known
