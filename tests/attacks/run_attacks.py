"""Run the attack scripts one after another and write their table into results/attacks and docs/security.md.

Behind `make attack`:

python tests/attacks/run_attacks.py [NAME ...] [--out results/attacks]

With names nothing is written; with `--out` elsewhere, the page stays as it is.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- attacks -->", "<!-- /attacks -->"
"""What the table stands between in PAGE."""
NO_ATTACK = {"harness", "run_attacks", "test_attacks"}
OUT = ROOT / "results" / "attacks"
"""Where the results go that PAGE shows."""
LIMIT = 1800
"""Seconds for one script, on a busy machine too."""


def scripts() -> list[Path]:
    """Return the attack scripts, sorted by name."""
    return sorted(file for file in HERE.glob("*.py") if file.stem not in NO_ATTACK)


def title(script: Path) -> str:
    """Return the first line of a script's docstring."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").splitlines()[0]


def run(script: Path) -> dict[str, Any]:
    """Run one script and return its row: name, title, counts, outcome, seconds, and whether the attack failed."""
    began = time.monotonic()
    try:
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=LIMIT, check=False)
        code, printed, errors = done.returncode, done.stdout.strip().splitlines(), done.stderr
    except subprocess.TimeoutExpired:
        code, printed, errors = -1, [], f"no end after {LIMIT} s"
    try:
        count = json.loads(printed[-1])
    except (IndexError, ValueError):
        count = {"tried": 0, "succeeded": 0, "outcome": "the script broke"}
    if code:
        print(errors[-4000:], file=sys.stderr)
    seconds = round(time.monotonic() - began)
    return {"name": script.stem, "title": title(script), **count, "repelled": code == 0, "seconds": seconds}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| attack | attempts | succeeded | what happens instead |", "|---|---|---|---|"]
    lines += [f"| {row['title']} | {row['tried']} | {row['succeeded']} | {row['outcome']} |" for row in rows]
    return "\n".join(lines)


def with_table(page: str, rows: list[dict[str, Any]]) -> str:
    """Return the text of PAGE with the table of these rows."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}"


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Write the rows into the folder `out`, and the table into PAGE where that is OUT."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "attacks.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    about = "Each row is a script in tests/attacks. `make attack` regenerates this page."
    (out / "README.md").write_text(f"# Attacks\n\n{about}\n\n{table(rows)}\n", encoding="utf-8")
    if out.resolve() == OUT.resolve():
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


def main() -> None:
    """Run the named scripts, or all, and exit with 1 where an attack succeeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    os.chdir(ROOT)
    rows = []
    for script in scripts():
        if options.names and script.stem not in options.names:
            continue
        rows.append(run(script))
        print(f"{'repelled ' if rows[-1]['repelled'] else 'SUCCEEDED'} {script.stem}: {rows[-1]}", flush=True)
    if not options.names:
        write(rows, options.out)
    sys.exit(0 if rows and all(row["repelled"] for row in rows) else 1)


if __name__ == "__main__":
    main()
