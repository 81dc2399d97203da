"""A client claims that its work took 10^308 seconds, or began before or after all time, to prevent a report.

Whole runs, and a resumption of each, with one client that lies in every report.
"""

import tempfile
from pathlib import Path

import harness
import numpy as np
from test_resume import config

import lada
from lada.federation import party_cache
from lada.federation.nodes import Node

LIAR = "warehouse"
LIES = ((0, 1e308), (1, 1e308), (0, -1e308), (2, 1e300), (1, 1e15))
"""Which number of each phase (start, seconds, bytes), and what is said."""
AN_HOUR = 3600.0


def attack() -> harness.Count:
    """Run once per lie; it succeeds where no report comes of it, or one with a time that cannot be."""
    honest, succeeded = Node.handle, 0
    for place, number in LIES:

        def lying(self, phase, round, payload, place=place, number=number):
            reply = dict(honest(self, phase, round, payload))
            if self._name == LIAR and "times" in reply:
                times = np.frombuffer(reply["times"], "<f8").copy()
                times[place::3] = number
                reply["times"] = times.tobytes()
            return reply

        with tempfile.TemporaryDirectory() as folder:
            Node.handle = lying
            try:
                overrides = ("rounds=1", "quorum=0.5")
                lada.run(config(), runs=Path(folder), overrides=overrides)
                party_cache.forget()
                results = lada.run(config(), runs=Path(folder), overrides=overrides, resume=True)
                phases = results.wall_clock.phases
                succeeded += max(max(p.start, p.seconds, p.peak_memory / 2**47) for p in phases) > AN_HOUR
                succeeded += not (Path(folder) / "small" / "report.html").exists()
            except Exception as error:
                print(f"{place}, {number:g}: {type(error).__name__}: {error}", file=harness.sys.stderr)
                succeeded += 1
            finally:
                Node.handle = honest
                party_cache.forget()
    return harness.Count(
        len(LIES), succeeded, "The reply is refused, the client counts as missing, and the report appears without it."
    )


if __name__ == "__main__":
    harness.main(attack)
