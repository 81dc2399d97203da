"""Run one cell, in a process whose memory is its own: `python -m lada.bench.one CELL.json RUNS COMMON`."""

import json
import sys
from pathlib import Path

import lada
from lada.core.errors import LOST
from lada.core.signals import ended_by_signal

if __name__ == "__main__":
    # Plain data and no file: relative paths in a suite start at the working directory, as those of the cell do.
    with ended_by_signal():
        cell, runs, common = map(Path, sys.argv[1:])
        results = lada.run(json.loads(cell.read_text(encoding="utf-8")), runs=runs, resume=True, common=common)
        for line in results.lost():
            print(line, file=sys.stderr)
        sys.exit(LOST if results.missing else 0)
