"""A SuperLink whose `lada server` was killed, or a stranger's process, holds the port when the server starts again."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

from lada.engines.family import free_port
from lada.engines.setup import init

SECONDS = 200
RUN = """
name: small
task: {kind: rulebooks}
server: {model: {model: "zoo:llm-llama"}}
clients: [{name: clinic, domains: [clinic], model: {model: "zoo:slm-llama"}}]
"""


def attack() -> harness.Count:
    """Kill a server and start it again at once; kill that too, and let somebody else listen at the port."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "run.yaml").write_text(RUN, encoding="utf-8")
        init(folder / "run.yaml", folder / "fed", port=port)
        for _ in range(2):
            server, said = start(folder)
            if "ready:" not in said:
                break
            server.kill()
            server.wait()
        else:
            said = "ready:"
        failed = [said] if "ready:" not in said else []
        deadline = time.monotonic() + SECONDS
        with socket.socket() as other:
            while True:  # until the orphan, which nobody follows, has ended by itself
                try:
                    other.bind(("127.0.0.1", port))
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        return harness.Count(3, 3, "an orphan kept the port")
                    time.sleep(0.2)
            other.listen()
            server, said = start(folder)
            server.kill()
            server.wait()
        if f"is taken by process {os.getpid()} " not in said:
            failed.append(said)
    print(*failed, file=sys.stderr)
    outcome = "The orphan is ended and the server starts. If the process is a stranger's, the server names it."
    return harness.Count(3, len(failed), outcome)


def start(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """Start the server and return it with what it said until it was ready or had ended."""
    log = folder / "out.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "500"}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "lada", "server", str(folder / "fed" / "server" / "server.yaml")]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and "ready:" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    return process, log.read_text()


if __name__ == "__main__":
    harness.main(attack)
