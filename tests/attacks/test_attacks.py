"""Every attack script fails, and the committed table is theirs."""

import json
from pathlib import Path

import pytest
from run_attacks import ROOT, run, scripts, title


@pytest.mark.attack
@pytest.mark.timeout(700)
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_the_attack_fails(script: Path):
    assert run(script)["repelled"]


def test_every_attack_has_a_title():
    assert all(title(script) for script in scripts())


def test_the_security_page_has_the_table_of_the_committed_results():
    results = ROOT / "results" / "attacks" / "attacks.json"
    if not results.exists():
        pytest.skip("no results are committed yet")
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for row in json.loads(results.read_text(encoding="utf-8")):
        assert row["repelled"]
        assert f"| {row['title']} | {row['tried']} | {row['succeeded']} | {row['outcome']} |" in page
    assert [row["name"] for row in json.loads(results.read_text(encoding="utf-8"))] == [s.stem for s in scripts()]
