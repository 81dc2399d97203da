"""The suite for public models: nobody can run it here, so each of its cells is planned."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import lada
from lada.bench.cell import CellKey
from lada.bench.suite import Suite, read_suite
from lada.cli.main import app


@pytest.fixture(scope="module")
def suite() -> Suite:
    return read_suite("public")


@pytest.mark.parametrize("scenario", ["mathinstruct", "cot_collection"])
def test_every_cell_can_be_planned_without_the_hub(
    suite: Suite, scenario: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    rows = [row for row in suite.rows if suite.runs(row, scenario)]
    assert len(rows) == 9
    for row in rows:
        config = suite.cell(CellKey(scenario, row, 0, suite.seeds[0])).config
        plan = lada.plan(config)
        assert plan.faults == ()
        assert [party.shape for party in plan.parties] == ["from a shipped shape"] * 4
        studies = [config.server.distil, *(study for c in config.clients for study in (c.private, c.distil))]
        assert {study.tokens for study in studies if study is not None} == {150_000}


def test_the_models_have_half_a_billion_to_seven_billion_parameters(suite: Suite) -> None:
    plan = lada.plan(suite.cell(CellKey("mathinstruct", "lada", 0, 0)).config)
    sizes = [party.memory.parameters - party.memory.trainable for party in plan.parties if party.memory is not None]
    assert len(sizes) == 4
    assert min(sizes) > 0.45e9
    assert max(sizes) == 7_615_616_512


def test_a_dry_run_lists_all_cells(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "--suite", "public", "--results", str(tmp_path), "--dry-run"])
    assert done.exit_code == 0
    assert "cot_collection, fedcot, world 0, seed 2" in done.output
    assert "54 of 54 cells would be run" in done.output
