"""Figures in prose are those of the committed results."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

FIGURE = re.compile(r"[-+]?\d+\.\d(?: \[[-+]?\d+\.\d, [-+]?\d+\.\d\])?")
"""A number with one decimal, with its interval if there is one."""


def figures(text: str) -> list[str]:
    return FIGURE.findall(text.replace("−", "-"))


def section(page: Path, heading: str) -> str:
    return " ".join(page.read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0].split())


def hypotheses(root: Path, suite: str) -> list[tuple[str, str]]:
    """Difference and verdict of each hypothesis on a suite's page."""
    page = (root / "results" / suite / "README.md").read_text()
    rows = [row.split(" | ") for row in re.findall(r"^\| .* \| \*\*\w+\*\* \| .* \|$", page, re.MULTILINE)]
    return [(row[2], row[6].strip("*")) for row in rows]


@pytest.mark.parametrize(
    ("page", "heading", "suites"),
    [
        ("README.md", "## What the benchmark shows", ["reach", "judgement", "votes"]),
        ("docs/learned.md", "## What `skips` found", ["skips"]),
        ("docs/learned.md", "## What `reach` found", ["reach"]),
        ("docs/learned.md", "## What `judgement` found", ["judgement"]),
        ("docs/learned.md", "## What `votes` found", ["votes"]),
        ("docs/results.md", "## In short", ["reach", "skips", "quick", "votes"]),
        ("docs/results.md", "## Methods next to their controls", ["neighbours", "neighbours-lm"]),
    ],
)
def test_every_figure_of_a_suite_stands_on_its_page(root: Path, page: str, heading: str, suites: list[str]):
    pages = [(root / "results" / suite / "README.md").read_text() for suite in suites]
    told = {each for text in pages for figure in figures(text) for each in (figure, figure.partition(" ")[0])}
    found = figures(section(root / page, heading))
    assert found
    assert [figure for figure in found if figure not in told] == []


@pytest.mark.parametrize(
    ("page", "heading", "suite"),
    [
        ("learned.md", "## What `reach` found", "reach"),
        ("learned.md", "## What `judgement` found", "judgement"),
        ("learned.md", "## What `votes` found", "votes"),
        ("results.md", "## Methods next to their controls", "neighbours"),
    ],
)
def test_the_difference_of_every_hypothesis_is_told(root: Path, page: str, heading: str, suite: str):
    told = figures(section(root / "docs" / page, heading))
    assert [difference for difference, _ in hypotheses(root, suite) if difference not in told] == []


@pytest.mark.parametrize(
    ("suite", "page", "heading", "said", "counts"),
    [
        ("reach", "docs/learned.md", "## What `reach` found", ["nine hold and six are inconclusive"], (9, 6, 0)),
        ("reach", "README.md", "## What the benchmark shows", ["nine hold:", "other six are inconclusive"], (9, 6, 0)),
        (
            "votes",
            "docs/learned.md",
            "## What `votes` found",
            ["three hold, four are inconclusive and two fail"],
            (3, 4, 2),
        ),
        ("judgement", "docs/learned.md", "## What `judgement` found", ["Two hold", "Four are inconclusive"], (2, 4, 0)),
        (
            "neighbours",
            "docs/results.md",
            "## Methods next to their controls",
            ["Four of ten hypotheses hold", "Five are inconclusive", "One fails"],
            (4, 5, 1),
        ),
        (
            "neighbours-lm",
            "docs/results.md",
            "## Methods next to their controls",
            ["None of the thirteen hypotheses holds", "Twelve are inconclusive", "Swing fails"],
            (0, 12, 1),
        ),
    ],
)
def test_verdicts_are_counted(
    root: Path, suite: str, page: str, heading: str, said: list[str], counts: tuple[int, int, int]
):
    found = Counter(verdict for _, verdict in hypotheses(root, suite))
    assert found == Counter({"holds": counts[0], "inconclusive": counts[1], "fails": counts[2]})
    text = section(root / page, heading)
    assert [each for each in said if each not in text] == []


def test_the_best_of_each_search_is_told(root: Path):
    search = json.loads((root / "results/judgement/search.json").read_text())
    best = {choice["row"]: max(tried["mean"] for tried in choice["tried"]) for choice in search["choices"]}
    order = ["sft", "distillm2", "jsd", "k1", "k3", "soft_targets"]
    order += ["keep", "step", "hinge", "wrong_step", "odds_ratio", "align_kl", "align_margin"]
    assert sorted(order) == sorted(best)
    table = section(root / "docs/learned.md", "## What `judgement` found").partition("| loss |")[2]
    told = re.findall(r"\d+\.\d(?= %)", table)
    assert told[: len(order)] == [f"{best[row]:.1f}" for row in order]


def test_exposures_are_those_of_the_cells(root: Path):
    cells = json.loads((root / "results/exposure/cells.json").read_text())
    for setting, shown in (
        ("nothing", "nothing"),
        ("withholding (the default)", "withholding (the default)"),
        ("swing, patterns", "`swing`, `score: patterns`"),
        ("swing, gap", "`swing`, `score: gap`"),
        ("swing, rarity", "`swing`, `score: rarity`"),
    ):
        of = [cell for cell in cells if cell["setting"] == setting]
        bits = [each for cell in of for each in cell["bits"]["llm"]]
        loss = sum(cell["loss"] for cell in of) / len(of)
        row = f"| {shown} | {sum(bits) / len(bits):.2f} | {loss:.2f} |"
        assert row in (root / "docs/privacy.md").read_text()


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
