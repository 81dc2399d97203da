"""A client sends reports of thousands of rows, to stop the run and make its page too large to open.

In every host and phase whose replies hold a report: each list once with copies, once with rows that all differ.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import harness
from drive import drive
from worlds import Gate, wire, worlds

ROWS = 9000
EVALUATION: dict[str, Any] = {
    "party": "a", "round": 0, "overall": {"value": 1.0, "low": 0.0, "high": 2.0, "count": 3}, "own": None,
    "other": None, "general": None, "domains": {}, "difficulty": {}, "step_validity": None, "calibration_error": None,
    "agreement": None,
}  # fmt: skip
STUDY: dict[str, Any] = {
    "party": "a", "round": 0, "phase": "private", "steps": 1, "lessons": 1, "pairs": 0, "replayed": 0, "tokens": 1,
    "first_loss": 1.0, "last_loss": 1.0,
}  # fmt: skip
ALLOCATION: dict[str, Any] = {
    "teacher": "llm", "student": "a", "round": 0, "candidates": 1, "chosen": 1, "from_teacher": 1, "right": None,
    "agreement": 0.0, "diagnostics": {},
}  # fmt: skip
MEMBERSHIP: dict[str, Any] = {
    "party": "a", "round": 0, "attack": "loss", "auc": 0.5, "low": 0.5, "high": 0.5, "tpr": 0.0, "members": 1,
    "others": 1,
}  # fmt: skip
PHASE = {"party": "a", "round": 0, "phase": "answer", "start": 0.0, "seconds": 0.0, "peak_memory": 0}
KINDS: dict[str, dict[str, Any]] = {
    "evaluations": EVALUATION, "studies": STUDY, "allocations": ALLOCATION, "memberships": MEMBERSHIP, "phases": PHASE,
}  # fmt: skip


def floods(round: int, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the report with thousands of rows, or of entries in one row, of each kind."""
    found = []
    for kind, row in KINDS.items():
        rows = [{**row, "round": round} for _ in range(ROWS)]
        found.append({**report, kind: rows})
        differing = [{**each, **({"phase": f"p{i}"} if "phase" in row else {})} for i, each in enumerate(rows)]
        found.append({**report, kind: [{**each, "round": i % (round + 1)} for i, each in enumerate(differing)]})
    found.append({**report, "notices": [f"notice {i}" for i in range(ROWS)]})
    many = {f"x{i}": 1.0 for i in range(ROWS)}
    found.append({**report, "allocations": [{**ALLOCATION, "round": round, "diagnostics": many}]})
    return found


def attack() -> harness.Count:
    """Send each flood; it succeeds where it is accepted."""
    tried = succeeded = 0
    with tempfile.TemporaryDirectory() as folder:
        gate = Gate(Path(folder) / "gate")
        for world in worlds(Path(folder) / "worlds", "labels|fedcot|standalone"):
            for key, payload in world.sent.items():
                if key[2] != "a" or "metrics" not in payload:
                    continue
                for flood in floods(key[1], json.loads(payload["metrics"])[0]):
                    told = {"metrics": json.dumps([flood]).encode(), "times": bytes(24 * len(flood["phases"]))}
                    tried += 1
                    sent = wire(key, {**payload, **told})
                    succeeded += drive(gate, world, key, sent, Path(folder) / "case") != "refused"
    return harness.Count(tried, succeeded, "The reply is refused, since it has more rows than the host's plan allows.")


if __name__ == "__main__":
    harness.main(attack)
