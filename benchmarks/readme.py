"""Put the tables of the suite `skips` into README.md, from results/skips: `make bench` does it last."""

from pathlib import Path

SOURCE, README = Path("results/skips/README.md"), Path("README.md")
OPENS, CLOSES = "<!-- results -->", "<!-- /results -->"
CLAIMS, OVERVIEW = "## Hypotheses", ": overview"
"""What was claimed before, and the rows of one track in every scenario."""


def overview() -> str:
    """Return how the tables were made, the hypotheses, and one table for each track.

    Raises ValueError where the suite's page lacks one of them.
    """
    text = SOURCE.read_text(encoding="utf-8")
    made = [line for line in text.splitlines() if "regenerates it" in line]
    tables = [part for line in text.splitlines() if _is_shown(line) for part in (_told(line), _table(text, line))]
    if not made or CLAIMS not in text or OVERVIEW not in text:
        raise ValueError(f"{SOURCE} has no hypotheses or no overview; run `lada bench --suite skips` first")
    return "\n\n".join([*tables, *made]) + "\n"


def _is_shown(line: str) -> bool:
    return line == CLAIMS or (line.startswith("### ") and line.endswith(OVERVIEW))


def _told(heading: str) -> str:
    """Return a heading of the suite's page as a line of text."""
    return f"**{heading.lstrip('# ').removesuffix(OVERVIEW)}**"


def _table(text: str, heading: str) -> str:
    """Return the first table below a heading."""
    return text.partition(f"\n{heading}\n\n")[2].partition("\n\n")[0]


def main() -> None:
    """Replace what stands between the two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    README.write_text(f"{before}{OPENS}\n{overview()}{CLOSES}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
