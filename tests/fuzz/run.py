"""Send spoilt messages: `python tests/fuzz/run.py --count 1000000` (or `make fuzz`), with seeds 0, 1, 2, …

Each message goes from Flower's bytes through all checks. Whatever is accepted is looked at a second time, slowly; any
exception ends the run and names its seed (`--seed N --count 1` repeats it). Prints what came of them, the rate and the
memory as JSON, and writes it to the folder `--out`, with a page of it.
"""

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "hosts")]

from command import main
from judge import send
from mutate import mutate
from seeds import seeds

HEADROOM = 2 << 30
"""Bytes of address space that the process may take in addition to what it has when it starts."""


def fuzz(first: int, count: int) -> dict[str, float]:
    """Send the messages of `count` seeds from `first` on and return figures."""
    with tempfile.TemporaryDirectory() as folder:
        sound = seeds(Path(folder))
    for seed in sound:
        send(seed, seed.wire(seed.payload))
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + HEADROOM, resource.RLIM_INFINITY))
    before, began = _megabytes(), time.monotonic()
    outcomes: Counter[str] = Counter()
    for number in range(first, first + count):
        try:
            outcomes[send(*mutate(random.Random(number), sound))] += 1
        except BaseException:
            print(f"seed {number}:", file=sys.stderr)
            raise
    seconds = time.monotonic() - began
    return {
        "messages": count,
        "first seed": first,
        **{name: outcomes[name] for name in ("refused", "announced", "accepted")},
        "crashes": 0,
        "seconds": round(seconds, 1),
        "memory before, MiB": before,
        "memory at most, MiB": _megabytes(),
    }


def _megabytes() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


TOLD = [
    "Sound messages of every kind with bits flipped, parts cut, doubled and exchanged, lengths made up, tables",
    "rewritten and frames that grow, each sent from Flower's bytes through every check. *Accepted* ones passed",
    "the checks and a second, slow look that shares nothing with them; *announced* ones say that a large reply",
    "is to be fetched. A crash or a wrong acceptance ends the run. `make fuzz` regenerates it.",
]
"""What the page says about its figures."""


if __name__ == "__main__":
    main(__doc__, 1_000_000, fuzz, "Spoilt messages", TOLD)
