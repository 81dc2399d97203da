"""A client puts extreme numbers, names and lists everywhere into sound messages, to break later code.

A sample of `tests/fuzz/run_values.py`: what is accepted goes on to the results, the pages, the trackers and a
checkpoint.
"""

import random
import tempfile
from pathlib import Path

import harness
from drive import clean, drive
from values import mutate
from worlds import Gate, worlds

FIRST, CASES = 2**32, 600


def attack() -> harness.Count:
    """Send each message; it succeeds where an exception comes of it."""
    succeeded = 0
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(Path(folder) / "gate")
        known = worlds(Path(folder) / "worlds")
        for number in range(FIRST, FIRST + CASES):
            try:
                drive(gate, *mutate(random.Random(number), known), Path(folder) / "case")
            except Exception as error:
                print(f"seed {number}: {type(error).__name__}: {error}", file=harness.sys.stderr)
                succeeded += 1
            clean(Path(folder) / "case")
    told = "A message is refused, costs its sender the round, or is harmless up to the report."
    return harness.Count(CASES, succeeded, told)


if __name__ == "__main__":
    harness.main(attack)
