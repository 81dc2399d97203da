"""One client of three lies in its paths or distributions, under each host that has them, to change the others."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness

sys.path.insert(0, str(harness.ROOT / "benchmarks"))

import hostile  # pyright: ignore[reportMissingImports]

import lada
from lada.core.errors import InputError

BELIEVED = "fedmkt with LaDa, no gold, trust off"
"""The control: where claims are believed, the same lies have to change the others, or the work is too small to tell."""
SETTINGS = ("fedmkt with LaDa", "fedmkt with LaDa, no gold", "fedmkt", "fedmkt, no gold", "fedmd", "fedmd, no gold")


def tiny(setting: str, kind: str) -> dict[str, Any]:
    """Return a cell of benchmarks/hostile.py with a few seconds of work."""
    made = hostile.config(setting, kind, 0)
    made["task"] |= {"public": 21, "private": 16, "test_per_domain": 1, "replay": 8}
    made["server"]["distil"] |= {"steps": 2, "batch_size": 4}
    for party in (made["server"], *made["clients"]):
        party["model"]["max_new_tokens"] = 24
    for client in made["clients"]:
        for part in hostile.STUDIES:
            client[part] |= {"steps": 2, "batch_size": 4}
    return made


def weights(setting: str, kind: str) -> dict[str, str] | None:
    """Return the digests of the honest parties' weights after a run, or None if it stops with a reason."""
    made = tiny(setting, kind)
    with TemporaryDirectory() as folder, hostile.lying(made, kind):
        try:
            results = lada.run(made, runs=Path(folder))
        except InputError:
            return None
    return {party.name: party.weights for party in results.parties if party.name != hostile.LIAR}


def attack() -> harness.Count:
    """Compare each run with a liar to the one without: the others' weights must be the same bit for bit."""
    tried = succeeded = 0
    if weights(BELIEVED, "certain") == weights(BELIEVED, hostile.ALONE):
        return harness.Count(0, 0, "The work is too small for any lie to change it.")
    for setting in SETTINGS:
        expected = weights(setting, hostile.ALONE)
        for kind in hostile.SETTINGS[setting][1]:
            tried += 1
            if weights(setting, kind) != expected:
                print(f"{kind} under {setting} changed the others", file=sys.stderr)
                succeeded += 1
    return harness.Count(
        tried, succeeded, "The others end with the weights that they have without it, or the run stops."
    )


if __name__ == "__main__":
    harness.main(attack)
