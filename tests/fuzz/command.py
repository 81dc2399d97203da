"""What the commands that fuzz have in common: their options, and the folder and page that they write."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

Figures = dict[str, float]


def main(about: str | None, count: int, fuzz: Callable[[int, int], Figures], title: str, told: list[str]) -> None:
    """Run `fuzz` from the command line, with `count` messages if nothing else is said.

    `about` is what `--help` prints; `title` and the lines `told` begin the page.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    figures = fuzz(options.seed, options.count)
    text = json.dumps(figures, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "figures.json").write_text(text + "\n", encoding="utf-8")
        (options.out / "README.md").write_text(_page(title, told, figures), encoding="utf-8")


def _page(title: str, told: list[str], figures: Figures) -> str:
    rows = [f"| {name} | {figures[name]:,} |" for name in figures if name not in ("first seed", "seconds")]
    return "\n".join([f"# {title}\n", *told, "", "| | |", "|---|---|", *rows, ""])
