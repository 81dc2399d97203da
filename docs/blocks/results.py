"""Figures from results/, for pages that need a few of them."""

from pathlib import Path

ALLOCATORS = Path(__file__).parents[2] / "results/allocators/README.md"
ROWS = {
    "standalone": "each client alone",
    "random": "a random choice",
    "all": "everything the teacher writes",
    "winner": "the surer party, no gold answers read",
    "lada": "LaDa's filter",
    "verified": "only answers known to be right",
}
COLUMNS = ("clients: all domains", "own", "other", "LLM: gain on clients' domains", "on its own")


def headline() -> str:
    """Return the rows of the comparison that tell its story, in few columns."""
    lines = [line for line in ALLOCATORS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    places = [head.index(column) for column in COLUMNS]
    figures = {row[0]: [row[place] for place in places] for row in reversed(rows)}  # the first table's rows win
    told = [f"| {words} | `{name}` | {' | '.join(figures[name])} |" for name, words in ROWS.items()]
    told = [line.replace(" ± ", "&nbsp;±&nbsp;") for line in told]
    return "\n".join([f"| what is studied | row | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|", *told])
