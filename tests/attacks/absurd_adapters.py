"""A client sends an adapter of 3·10^38, or claims 999,999,999 samples for an adapter of zeros, to break all models.

In every host and form that exchanges adapters.
"""

import tempfile
from pathlib import Path

import harness
import numpy as np
from actors import Federation
from drive import drive
from safetensors.numpy import load, save
from worlds import Gate, World, wire, worlds

from lada.rounds.averaging import ADAPTER

VALUES = (3e38, -3e38, 1e30, 1e20, 1e5, 1.0001e4, 5000.0)
CLAIMS = (999_999_999, 5)
HONEST = 4
"""Private samples of each client."""


def spoilt(data: bytes, value: float | None, samples: int) -> bytes:
    """Return an adapter with one value everywhere (None: as it is), and a claim of samples."""
    weights = load(data)
    if value is not None:
        weights = {name: np.full_like(array, value) for name, array in weights.items()}
    return save(weights, metadata={"kind": "adapters", "samples": str(samples)})


def attack() -> harness.Count:
    """Send each to each host; it succeeds where an exception or numbers out of range come of it."""
    tried = succeeded = 0
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(Path(folder) / "gate")
        for known in worlds(Path(folder) / "worlds", "adapters|fedavg|feddf|fedcollm"):
            world = Counted(known.name, known.make, known.sent, known.before)
            for key in [key for key, payload in world.sent.items() if ADAPTER in payload and key[2] == "a"]:
                for value, samples in [(value, HONEST) for value in VALUES] + [(0.0, claim) for claim in CLAIMS]:
                    data = spoilt(world.sent[key][ADAPTER], value, samples)
                    tried += 1
                    try:
                        sent = wire(key, {**world.sent[key], ADAPTER: data})
                        outcome = drive(gate, world, key, sent, Path(folder) / "case")
                        succeeded += outcome == "accepted" and samples != HONEST
                    except Exception as error:
                        print(f"{world.name}, {key}, {value}, {samples}: {error!r}", file=harness.sys.stderr)
                        succeeded += 1
    told = "The adapter is refused if a number or the claim is out of range. The average of the others is sound."
    return harness.Count(tried, succeeded, told)


class Counted(World):
    """A world whose server knows how many samples each client has, as on one machine."""

    def server(self, folder: Path, round: int) -> Federation:
        both = super().server(folder, round)
        both.server.samples_of = lambda client: HONEST
        return both


if __name__ == "__main__":
    harness.main(attack)
