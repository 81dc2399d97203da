"""Put the tables of the suite `reach` into README.md, from results/reach: `make bench` does it last."""

import re
from itertools import takewhile
from pathlib import Path

SOURCE, README = Path("results/reach/README.md"), Path("README.md")
OPENS, CLOSES = "<!-- results -->", "<!-- /results -->"
DIFFERENCES = "by kind of question, points:"
"""What ends the line above a table of differences: one for each scenario of each track."""
MAIN = ("With answers", "Without answers")
"""The tables of all rows of a track; the suite's page has further ones."""


def overview() -> str:
    """Return each main table of differences below the name of its track and scenario, and how they were made.

    Raises ValueError where the suite's page has none.
    """
    parts, heading, lines = list[str](), "", SOURCE.read_text(encoding="utf-8").splitlines()
    for place, line in enumerate(lines):
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        if line.endswith(DIFFERENCES) and heading.startswith(MAIN):
            table = takewhile(bool, lines[place + 2 :])
            parts += [f"**{heading}.** {line}", "\n".join(table)]
    cells = re.search(r"(\d+) of (\d+) cells", "\n".join(lines))
    if not cells or not parts:
        raise ValueError(f"{SOURCE} has no differences by kind of question; run `lada bench --suite reach` first")
    last = (
        f"So far, {cells[1]} of {cells[2]} cells have run. A *cell* is one row in one scenario and world. "
        f"`lada bench --suite reach` runs\nthe rest. [The suite's page]({SOURCE}) has hypotheses, costs and versions."
    )
    return "\n\n".join([*parts, last]) + "\n"


def main() -> None:
    """Replace what stands between the two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    README.write_text(f"{before}{OPENS}\n{overview()}{CLOSES}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
