"""Every attack script fails, and the committed table is theirs."""

import json
from pathlib import Path

import pytest
import run_attacks
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


def test_results_elsewhere_leave_the_security_page_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page, usual = tmp_path / "security.md", tmp_path / "results"
    page.write_text("before\n<!-- attacks -->\nold\n<!-- /attacks -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(run_attacks, "PAGE", page)
    monkeypatch.setattr(run_attacks, "OUT", usual)
    rows = [{"title": "Knock", "tried": 3, "succeeded": 0, "outcome": "nobody opens"}]
    run_attacks.write(rows, tmp_path / "elsewhere")
    assert page.read_text(encoding="utf-8").splitlines()[2] == "old"
    assert json.loads((tmp_path / "elsewhere" / "attacks.json").read_text(encoding="utf-8")) == rows
    run_attacks.write(rows, usual)
    assert page.read_text(encoding="utf-8").splitlines()[4] == "| Knock | 3 | 0 | nobody opens |"
