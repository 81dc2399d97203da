"""Put the overview of the suite `full` into the project's README.md, from results/full: `make bench` does it last."""

from pathlib import Path

SOURCE, README = Path("results/full/README.md"), Path("README.md")
OPENS, CLOSES = "<!-- results -->", "<!-- /results -->"


def overview() -> str:
    """Return the overview's heading and table, and how they were made. Raises ValueError where there is none."""
    text = SOURCE.read_text(encoding="utf-8")
    made = next(line for line in text.splitlines() if "regenerates it" in line)
    _, found, rest = text.partition(": overview\n\n")
    if not found:
        raise ValueError(f"{SOURCE} has no overview; run `lada bench --suite full` first")
    table, _, _ = rest.partition("\n\n")
    return f"{table}\n\n{made}\n"


def main() -> None:
    """Replace what stands between the two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    README.write_text(f"{before}{OPENS}\n{overview()}{CLOSES}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
