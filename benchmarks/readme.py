"""Put the main tables of the suite `full` into README.md, from results/full: `make bench` does it last."""

from pathlib import Path

SOURCE, README = Path("results/full/README.md"), Path("README.md")
OPENS, CLOSES = "<!-- results -->", "<!-- /results -->"


def overview() -> str:
    """Return the differences over all settings, the overview, and how both were made.

    Raises ValueError where the suite's page lacks one of them.
    """
    text = SOURCE.read_text(encoding="utf-8")
    made = next(line for line in text.splitlines() if "regenerates it" in line)
    return "\n\n".join([_table(text, "all scenarios"), _table(text, "overview"), made]) + "\n"


def _table(text: str, heading: str) -> str:
    """Return the first table below a heading."""
    _, found, rest = text.partition(f": {heading}\n\n")
    if not found:
        raise ValueError(f"{SOURCE} has no table {heading!r}; run `lada bench --suite full` first")
    return rest.partition("\n\n")[0]


def main() -> None:
    """Replace what stands between the two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    README.write_text(f"{before}{OPENS}\n{overview()}{CLOSES}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
