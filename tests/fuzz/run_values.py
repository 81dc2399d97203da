"""Send absurd messages: `python tests/fuzz/run_values.py --count 100000` (or `make fuzz`), with seeds 0, 1, 2, …

Each is a sound reply, of every host and phase, in which a number, a name or a list became an extreme. Whatever is
accepted goes on through the server's half, the results, the pages, the trackers and a checkpoint; any exception ends
the run and names its seed (`--seed N --count 1` repeats it). Prints what came of them as JSON, and writes it to the
folder `--out`, with a page of it.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path += [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / room) for room in ("hosts", "federation"))]

from command import main
from drive import clean, drive
from values import mutate
from worlds import Gate, worlds


def fuzz(first: int, count: int) -> dict[str, float]:
    """Send the messages of `count` seeds from `first` on and return figures."""
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        known, gate = worlds(Path(folder) / "worlds"), Gate(Path(folder) / "gate")
        for number in range(first, first + count):
            case = Path(folder) / "case"
            try:
                outcomes[drive(gate, *mutate(random.Random(number), known), case)] += 1
            except BaseException:
                print(f"seed {number}:", file=sys.stderr)
                raise
            clean(case)
    return {
        "messages": count,
        "first seed": first,
        **{name: outcomes[name] for name in ("refused", "dropped", "accepted", "ended")},
        "exceptions": 0,
        "seconds": round(time.monotonic() - began, 1),
    }


TOLD = [
    "Sound replies of every host and phase in which a number, a name or a list became an extreme: 0, ±1,",
    "1e308, a subnormal number, NaN, 2^31, 2^63 - 1, another party's name, rows 9,000 times. *Accepted* ones",
    "went on through the server's half, the results, the report, the trackers and a checkpoint without an",
    "exception; *dropped* ones cost their sender the round there; *ended* are runs of two clients with",
    "adapters of two shapes, of which nobody can say which are right. `make fuzz` regenerates it.",
]
"""What the page says about its figures."""


if __name__ == "__main__":
    main(__doc__, 100_000, fuzz, "Absurd messages", TOLD)
