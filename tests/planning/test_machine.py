"""What this machine has."""

from pathlib import Path

import pytest

from lada.planning import machine


def test_the_cpu_is_always_there() -> None:
    cpu = machine.devices()[0]
    assert cpu.name == "cpu"
    assert 0 < cpu.free <= cpu.total


def test_a_container_may_have_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "memory.max")
    whole = machine.devices()[0].total
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert machine.devices()[0].total == whole
    (tmp_path / "memory.max").write_text("1000000\n", encoding="utf-8")
    assert (machine.devices()[0].free, machine.devices()[0].total) == (1_000_000, 1_000_000)


def test_packages_are_those_that_lada_names(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ["torch>=2", "no-such-package>=1; extra == 'math'", "pytest; extra == 'dev'", "numpy; extra == 'hub'"]
    monkeypatch.setattr(machine, "requires", lambda _: named)
    found = {package.name: package for package in machine.packages()}
    assert set(found) == {"torch", "no-such-package", "numpy"}
    assert found["torch"].have
    assert (found["no-such-package"].have, found["no-such-package"].install) == (None, "pip install 'lada-fed[math]'")


def test_disks_are_told_of_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    runs = machine.disks(tmp_path / "not" / "yet")[0]
    assert runs.folder == tmp_path / "not" / "yet"
    assert runs.free > 0
