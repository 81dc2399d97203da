"""A client sends evaluations, studies, times, allocations and audits in the name of another party.

In every host and phase whose replies hold a report.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import harness
from drive import drive
from worlds import Gate, wire, worlds

FIELDS = ("party", "name", "student", "teacher", "role")
OTHERS = ("b", "llm", "server", "shared SLM", "consensus", "")


def forgeries(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the report once per row, field and other party, with that party there."""
    forged = []
    for kind, rows in report.items():
        for place, row in enumerate(rows):
            for field in FIELDS if isinstance(row, dict) else ():
                for other in OTHERS:
                    if field in row and row[field] != other:
                        changed = json.loads(json.dumps(report))
                        changed[kind][place][field] = other
                        forged.append(changed)
    return forged


def attack() -> harness.Count:
    """Send each forgery; it succeeds where it is accepted."""
    tried = succeeded = 0
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(Path(folder) / "gate")
        for world in worlds(Path(folder) / "worlds", "labels|adapters|fedcot|standalone"):
            for key, payload in world.sent.items():
                if key[2] != "a" or "metrics" not in payload:
                    continue
                for forged in forgeries(json.loads(payload["metrics"])[0]):
                    told = {**payload, "metrics": json.dumps([forged]).encode()}
                    tried += 1
                    succeeded += drive(gate, world, key, wire(key, told), Path(folder) / "case") != "refused"
    return harness.Count(tried, succeeded, "The reply is refused, since a client may report only about itself.")


if __name__ == "__main__":
    harness.main(attack)
