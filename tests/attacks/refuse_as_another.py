"""A client with a valid key refuses to take part in another client's name, to exclude that client.

Roster, exchange, seals and ClientApp are the real ones, in one process.
"""

import logging
import tempfile
from itertools import product
from pathlib import Path

import harness
from sealed import NAMES, Sealed, claiming

from lada.core.errors import FederationError
from lada.core.results import Missing
from lada.federation.messages import Code


def reaches(fed: Sealed, seal: bool, code: Code, when: str) -> bool:
    """Return whether the run has lost clinic, or ended; or the server believed a refusal, where nodes are mixed up."""
    if when == "mixed":
        missing: list[Missing] = []
        exchange = fed.exchange(missing=missing)
        fed.lies["clinic"] = claiming("clinic", fed.seals["kitchen"] if seal else None, code=code)
        exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait()
        return [one.why.startswith("dropped") for one in missing] != [True]
    lie = claiming("clinic", fed.seals["kitchen"] if seal else None, code=code)
    if when == "hello":
        fed.lies["kitchen"] = lie
    try:
        exchange = fed.exchange()
        fed.lies["kitchen"] = lie
        replies = exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait()
    except FederationError:
        return True
    return replies != {name: {"x": name.encode()} for name in ("clinic", "ward")}


def attack() -> harness.Count:
    """Refuse in the hello and in a phase, with each code, with the attacker's own seal and without any."""
    logging.disable(logging.CRITICAL)
    ways = list(product((True, False), (Code.FAILED, Code.MALFORMED), ("hello", "phase", "mixed")))
    with tempfile.TemporaryDirectory() as folder:
        reached = []
        for number, way in enumerate(ways):
            with Sealed(Path(folder) / str(number)) as fed:
                reached.append(reaches(fed, *way))
    outcome = "A refusal counts only for the client whose node sent it."
    return harness.Count(len(reached), sum(reached), outcome)


if __name__ == "__main__":
    harness.main(attack)
