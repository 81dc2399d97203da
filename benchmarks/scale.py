"""Measure what a federation costs as it grows: `python benchmarks/scale.py` (or `make bench-scale`).

10, 100 and 1,000 clients with the shipped tiny models and LoRA on this machine, of which 10 take part in each of two
rounds; two worker processes bring their models from disk and back. Each run is a process of its own, so that its peak
memory is the server's. Writes `results/scale/`, with a straight line through the figures to 100,000 clients.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from state import state, told

import lada

TARGET = Path(__file__).parents[1] / "results" / "scale"
SIZES, FAR, DRAWN, ROUNDS = (10, 100, 1000), 100_000, 10, 2


def config(clients: int) -> dict:
    """Return a small run of so many clients."""
    study = {"steps": 4, "batch_size": 4}
    return {
        "name": "scale",
        "rounds": ROUNDS,
        "workers": 2,
        "participants": DRAWN,
        "task": {"kind": "rulebooks", "public": 24, "private": 24, "test_per_domain": 2, "replay": 8},
        "server": {"model": {"model": "zoo:llm-world-0", "tune": "lora", "max_new_tokens": 40}, "distil": study},
        "clients": [
            {
                "name": "phone",
                "count": clients,
                "model": {"model": "zoo:slm-gpt2", "tune": "lora", "max_new_tokens": 40},
                "private": study,
                "distil": study,
                "withhold": None,
            }
        ],
    }


def one(clients: int) -> None:
    """Run and print the figures as JSON; in a process of its own."""
    events: list[tuple[float, dict]] = []
    with TemporaryDirectory() as runs:
        start = time.perf_counter()
        results = lada.run(config(clients), runs=Path(runs), emit=lambda e: events.append((time.perf_counter(), e)))
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(runs).rglob("*") if path.is_file())
    rounds = [at for at, event in events if event["kind"] == "round"]
    took_part = {evaluation.party for evaluation in results.evaluations} - {"llm"}
    figures = {
        "clients": clients,
        "took_part": len(took_part),
        "start_seconds": rounds[0] - start,
        "round_seconds": (rounds[-1] - rounds[1]) / (ROUNDS - 1),
        "seconds": seconds,
        "server_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "disk_mib_per_participant": size / len(took_part) / 2**20,
        "bytes_per_participant": sum(t.bytes for t in results.traffic) / len(took_part),
    }
    print(json.dumps(figures))


def main() -> None:
    """Measure all sizes and write the table."""
    rows = []
    for clients in SIZES:
        command = [sys.executable, __file__, str(clients)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    sizes = [row["clients"] for row in rows]
    line = {
        key: float(np.polyval(np.polyfit(sizes, [row[key] for row in rows], 1), FAR))
        for key in ("start_seconds", "server_mib")
    }
    now = state()
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "figures.json").write_text(json.dumps({"rows": rows, "line": line, "state": now}, indent=1) + "\n")
    table = [
        "| clients | took part | until round 0 | a round | server's peak memory | disk per participant |",
        "|---|---|---|---|---|---|",
    ]
    table += [
        f"| {row['clients']:,} | {row['took_part']} | {row['start_seconds']:.1f} s | {row['round_seconds']:.1f} s "
        f"| {row['server_mib']:.0f} MiB | {row['disk_mib_per_participant']:.1f} MiB |"
        for row in rows
    ]
    table.append(
        f"| {FAR:,} (the line) | | {line['start_seconds']:.0f} s | as above | {line['server_mib']:.0f} MiB | as above |"
    )
    (TARGET / "README.md").write_text(
        f"# What a federation costs as it grows\n\nOf all clients, {DRAWN} are drawn for each of {ROUNDS} rounds "
        "(`participants`); two worker processes bring their models from disk and back. The last row is a straight line "
        "through the others, no measurement. Seconds are those of the clock on the wall, of one run of each size. "
        f"`python benchmarks/scale.py` regenerates the table. {told([now])}\n\n" + "\n".join(table) + "\n"
    )


if __name__ == "__main__":
    one(int(sys.argv[1])) if len(sys.argv) > 1 else main()
