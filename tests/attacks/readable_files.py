"""Another user of the machine searches the files of runs and federations whose owner has the umask 000."""

import os
import sys
import tempfile
from pathlib import Path

import harness
import yaml
from tiny_run import tiny

import lada
from lada.engines.family import Family, python
from lada.engines.setup import init
from lada.export.export import export
from lada.report.comparison import compare
from lada.report.page import render

OTHERS = 0o077


def open_to_others(folder: Path) -> list[str]:
    """Return the files and folders below one, and itself, that group or others may do anything with."""
    places = [folder, *sorted(folder.rglob("*"))]
    return [str(path.relative_to(folder.parent)) for path in places if path.lstat().st_mode & OTHERS]


def attack() -> harness.Count:
    """Walk a run in this process, one with workers by the command, its export, and a federation's files."""
    before = os.umask(0)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            file = folder / "run.yaml"
            file.write_text(yaml.safe_dump(tiny(rounds=0, keep_messages=True)), encoding="utf-8")
            lada.run(file, runs=folder / "api" / "runs")
            run = folder / "api" / "runs" / "tiny"
            render(run)
            export(run, "clinic", "hf")
            with Family() as family:
                command = ["run", str(file), "--set", "workers=1", "--runs", str(folder / "command")]
                done = family.call(python("lada", *command))
                assert done.returncode == 0, done.stderr
            fed = init(file, folder / "fed") and folder / "fed"
            walked = [run, folder / "command" / "tiny", fed]
            opened = [path for each in walked for path in open_to_others(each)]
            print(*opened[:20], sep="\n", file=sys.stderr)
            shared = compare([run, folder / "command" / "tiny"], folder / "comparison.html")
            assert shared.stat().st_mode & OTHERS  # a page that is made to be shown follows the umask
            tried = sum(1 for each in walked for _ in each.rglob("*"))
            return harness.Count(tried, len(opened), "Files have mode 600 and folders 700, whatever the umask.")
    finally:
        os.umask(before)


if __name__ == "__main__":
    harness.main(attack)
