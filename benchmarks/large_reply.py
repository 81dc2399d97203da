"""Measure what a large reply costs in memory and time, at the client and at the server.

    python benchmarks/large_reply.py        # 500 MiB over one worker process; writes results/large_reply/

Both ends are processes of their own. The base is the peak of a process before the reply is made; reported is the
peak above it as a multiple of the reply's size, and the time relative to copying the bytes from file to file.
"""

import argparse
import json
import os
import resource
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from state import state, told

from lada.federation.exchange import GridExchange
from lada.federation.journal import Journal
from lada.federation.local import run_local
from lada.federation.parts import Parts, to_files
from lada.federation.session import Rules, Session

RESULTS = Path(__file__).parents[1] / "results" / "large_reply"


def peak() -> int:
    """Return the most memory that this process ever had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class LargeNode:
    """A client whose reply is as large as it is told to make it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def handle(self, phase, round, payload):
        """Make a reply and keep it, as a client with a checkpoint does; or say what the last one took."""
        self.folder.mkdir(parents=True, exist_ok=True)
        noted = self.folder / "peaks.json"
        if phase == "peaks":
            return {"peaks": json.dumps([*json.loads(noted.read_text()), peak()]).encode()}
        noted.write_text(json.dumps([peak()]))
        reply = {"adapter": os.urandom(1 << 20) * (int(payload["size"]) >> 20)}
        for name, data in to_files(reply, "reply").items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_bytes(data)
        return reply

    def fetch(self, round, what):
        """Return a piece of it."""
        return Parts(self.folder / "reply").piece(what.kind, what.start, what.length)


def open_node(context, *_):
    """Make the node; called in the worker."""
    return LargeNode(Path(context.node_config["folder"]))


def measure(size: int, folder: Path) -> dict[str, float]:
    """Run one exchange and return its figures."""
    figures: dict[str, float] = {}

    def serve(exchange: GridExchange) -> None:
        exchange.ask("warm-up", 1, {"c": {"size": str(1 << 20).encode()}}).wait()
        base, start = peak(), time.perf_counter()
        reply = exchange.ask("large", 2, {"c": {"size": str(size).encode()}}).wait()["c"]
        data = reply["adapter"]
        figures["seconds"] = time.perf_counter() - start
        figures["server"] = (peak() - base) / len(data)
        client = json.loads(exchange.ask("peaks", 3, {"c": {}}).wait()["c"]["peaks"])
        figures["client"] = (client[1] - client[0]) / len(data)

    journal = Journal(folder / "journal" / "server")
    session = Session(run="large", folder=folder, rules=Rules(600), journal=lambda round: journal.at(str(round)))
    run_local("large_reply:open_node", {"c": "{}"}, serve, session, workers=1, emit=print)
    entry = next((folder / "journal").rglob("large/c/payload/0"))
    start = time.perf_counter()
    shutil.copyfile(entry, folder / "copy")
    figures["copies"] = figures["seconds"] / (time.perf_counter() - start)
    return figures


def main() -> None:
    """Measure and write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    megabytes = parser.parse_args().megabytes
    with TemporaryDirectory() as folder:
        figures = measure(megabytes << 20, Path(folder))
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures = {"megabytes": megabytes, **{name: round(value, 3) for name, value in figures.items()}, "state": state()}
    (RESULTS / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    (RESULTS / "README.md").write_text(
        "# What a large reply costs\n\n"
        f"A client's reply of {megabytes} MiB, fetched in pieces over one worker process. Memory is the peak above "
        "what the process had before, in multiples of the reply, the reply itself included. `python "
        f"benchmarks/large_reply.py` regenerates the table from one run. {told([figures['state']])}\n\n"
        "| end | peak memory | time |\n|---|---|---|\n"
        f"| client | {figures['client']:.2f} x | |\n"
        f"| server, which then holds the reply | {figures['server']:.2f} x | {figures['copies']:.0f} x that of "
        "copying the bytes from file to file |\n"
    )


if __name__ == "__main__":
    main()
