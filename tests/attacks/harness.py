"""What every attack script uses: it counts attempts, prints the counts, and exits with 0 only if the attack fails.

The first line of a script's docstring says in one sentence what the attacker tries. A script defines
`attack() -> Count` and ends with `harness.main(attack)`. Run one with `python tests/attacks/NAME.py`, all of them
with `make attack`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("", "engines", "federation", "fuzz", "hosts")
sys.path[:0] = [str(ROOT / "src"), *(str(ROOT / "tests" / room) for room in ROOMS)]


@dataclass(frozen=True, slots=True)
class Count:
    """What became of an attack."""

    tried: int
    """Attempts made. An attack that tried nothing counts as one that succeeded."""
    succeeded: int
    """Attempts that reached what the attacker wanted."""
    outcome: str
    """What happens instead, in one sentence."""


def main(attack: Callable[[], Count]) -> None:
    """Run an attack, print its counts as one line of JSON, and exit with 0 only if it failed every time."""
    count = attack()
    print(json.dumps(asdict(count)))
    sys.exit(0 if count.tried and not count.succeeded else 1)
