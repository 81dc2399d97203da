"""Every attack script fails, and the committed table is theirs."""

import json
from pathlib import Path

import pytest
from run_attacks import PAGE, ROOT, run, scripts, title, with_table


@pytest.mark.attack
@pytest.mark.timeout(700)
@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)
def test_the_attack_fails(script: Path):
    assert run(script)["repelled"]


def test_every_attack_has_a_title():
    assert all(title(script) for script in scripts())


def test_the_security_page_has_the_table_of_the_committed_results():
    results = ROOT / "results" / "attacks" / "attacks.json"
    rows = json.loads(results.read_text(encoding="utf-8"))
    assert all(row["repelled"] for row in rows)
    assert [row["name"] for row in rows] == [script.stem for script in scripts()]
    page = PAGE.read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row['title']} | {row['tried']} | {row['succeeded']} | {row['outcome']} |" in page
    assert with_table(page, rows) == page
