"""Figures in prose are those of the committed results."""

import json
import re
from pathlib import Path

import pytest

FIGURE = re.compile(r"[-+]?\d+\.\d(?: \[[-+]?\d+\.\d, [-+]?\d+\.\d\])?")
"""A number with one decimal, with its interval if there is one."""


def figures(text: str) -> list[str]:
    return FIGURE.findall(text.replace("−", "-"))


@pytest.mark.parametrize(
    ("page", "heading", "suites"),
    [
        ("learned.md", "## What `skips` found", ["skips"]),
        ("learned.md", "## What `reach` found", ["reach"]),
        ("results.md", "## In short", ["reach", "skips", "quick"]),
        ("results.md", "## Methods next to their controls", ["neighbours", "neighbours-lm"]),
    ],
)
def test_every_figure_of_a_suite_stands_on_its_page(root: Path, page: str, heading: str, suites: list[str]):
    section = (root / "docs" / page).read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    pages = [(root / "results" / suite / "README.md").read_text() for suite in suites]
    told = {each for text in pages for figure in figures(text) for each in (figure, figure.partition(" ")[0])}
    found = figures(" ".join(section.split()))
    assert found
    assert [figure for figure in found if figure not in told] == []


def test_verdicts_that_differ_from_those_with_a_shuffled_signal_are_counted(root: Path):
    cells = map(json.loads, (root / "results/neighbours-lm/cells.jsonl").read_text().splitlines())
    found = {(cell["row"], cell["seed"]): cell for cell in cells if cell["scenario"] == "teacher"}
    differing = total = 0
    for row, seed in found:
        if row == "soft_targets" and (other := found.get((f"{row}_shuffled", seed))):
            right = [int(cell["members"]["clinic"]["right"], 16) for cell in (found[row, seed], other)]
            differing += (right[0] ^ right[1]).bit_count()
            total += other["questions"]
    assert f"{differing} of {total:,} verdicts" in (root / "docs/results.md").read_text()


def test_figures_are_found_with_their_intervals():
    assert figures("It has 28.6 %, by −3.3 [−5.8, −0.8] less, of 8 worlds.") == ["28.6", "-3.3 [-5.8, -0.8]"]
