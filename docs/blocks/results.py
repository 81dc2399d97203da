"""Figures from results/, for pages that need a few of them."""

from pathlib import Path

FULL = Path(__file__).parents[2] / "results/full/README.md"
SCENARIO = "heterogeneous"
"""The demo's federation, with fewer samples."""
ROWS = {
    "standalone": "each client alone",
    "random": "a random half of what the teacher writes",
    "winner": "the surer party, no gold answers read",
    "fedcot": "everything the LLM writes",
    "fedmkt_paths": "the path whose loss is the lower",
    "verified": "only answers known to be right",
    "lada": "LaDa's filter",
}
COLUMNS = ("own domains", "other domains", "LLM: gain on clients' domains", "LLM: gain on its own")


def headline() -> str:
    """Return the rows of the suite `full` that tell its story, in few columns."""
    _, _, section = FULL.read_text(encoding="utf-8").partition(f"### Methods: {SCENARIO}\n\n")
    accuracy, more = (_table(part) for part in section.split("\n\n")[:2])
    told = [
        f"| {words} | `{row}` | {' | '.join([accuracy[row]['clients, %'], *(more[row][name] for name in COLUMNS)])} |"
        for row, words in ROWS.items()
    ]
    columns = ("what is studied", "row", "clients, %", *COLUMNS)
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *told])


def _table(text: str) -> dict[str, dict[str, str]]:
    """Return a Markdown table's cells by their row's first cell and their column's heading."""
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}
