"""`lada client`: keep a client's worker and its SuperNode running while the client takes part."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from lada.core.owner import FOLDER
from lada.core.signals import ended_by_signal
from lada.engines import link
from lada.engines.client_file import ClientFile, read_client
from lada.engines.family import Family, alone, flower, free_port, last_words, need_unix, python
from lada.engines.flower import write_commands
from lada.engines.relay import VARIABLE, RelayFile

NODE_PAUSE = 30.0
"""Seconds between two starts of the SuperNode: for about this long, the server believes that the old one is alive."""
SHORT, LONG = 1.0, 30.0
"""Seconds before a dead worker is restarted: the first time, and at most."""
UNKNOWN_KEY = b"[code: 2004]"
"""What Flower logs when the server rejected a node."""
Say = Callable[[str], None]


@dataclass
class Watched:
    """A process that is started again when it ends."""

    start: Callable[[], "Popen[bytes]"]
    name: str
    log: Path
    pause: Callable[[int], float]
    """Seconds between two starts, given how often it has ended in quick succession."""
    process: "Popen[bytes] | None" = None
    before: int = 0
    """The length of the log when the process was started."""
    began: float = field(default=-1e9)
    ends: int = 0

    def look(self, now: float, say: Say) -> None:
        """Start the process if it is not running and its pause is over."""
        if self.process is not None and self.process.poll() is not None:
            self.ends = self.ends + 1 if now - self.began < 60 else 1
            say(f"{self.name} ended (code {self.process.returncode}); {last_words(self.log)}")
            self.process = None
        if self.process is None and now - self.began >= self.pause(self.ends):
            self.before = self.log.stat().st_size if self.log.exists() else 0
            self.process, self.began = self.start(), now
            say(f"{self.name} started")

    def said(self, text: bytes) -> bool:
        """Return whether its log contains a text since the last start."""
        return self.log.exists() and text in self.log.read_bytes()[self.before :]


def run_client(file: Path, say: Say) -> None:
    """Take part until SIGTERM or Ctrl-C, which is raised as KeyboardInterrupt.

    Raises InputError if the client's files are wrong, or if another `lada client` uses its state folder.
    """
    need_unix()
    file = file.resolve()
    client, base = read_client(file), file.parent
    state = base / client.state
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(FOLDER)  # also if an earlier version created it
    with ended_by_signal(), alone(state, "lada client"), Family(place=state) as family:
        _look_after(family, client, file, state, say)


def _look_after(family: Family, client: ClientFile, file: Path, state: Path, say: Say) -> None:
    key, identity = (str(file.parent / name) for name in (client.key, client.identity))
    worker_socket, largest = str(family.folder / "worker"), client.limits.max_message_bytes
    relay = RelayFile(client.name, str(state), worker_socket, largest, key, identity)
    relay.write(family.folder / "relay.json")
    write_commands(family.folder / "bin")
    threads = str(client.threads)
    family.environment |= {
        VARIABLE: str(family.folder / "relay.json"),
        "FLWR_HOME": str(family.folder / "flower"),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    logs = state / "logs"
    worker_log, node_log = logs / "worker.log", logs / "supernode.log"
    worker = Watched(
        lambda: family.start(python("lada.engines.worker", str(file), relay.socket), worker_log, directory=file.parent),
        "the worker",
        worker_log,
        lambda ends: min(SHORT * 2 ** (ends - 1), LONG) if ends else 0.0,
    )
    node = Watched(
        lambda: family.start(_node(client, file.parent), node_log), "the SuperNode", node_log, lambda _: NODE_PAUSE
    )
    say(f"client {client.name}; logs and state are in {state}")
    trusted, told, ends = False, None, 0
    while True:
        now = time.monotonic()
        worker.look(now, say)
        if not trusted or node.ends != ends:  # checked whenever the SuperNode has ended: this may be the reason
            fault = link.fault(client.superlink, file.parent / client.certificate)
            if fault and fault != told:
                say(fault)
            elif not fault and node.said(UNKNOWN_KEY):
                say(
                    f"the server does not know this client's key, or another node uses it: give its operator what "
                    f"`ssh-keygen -y -f {file.parent / client.key}` prints, for keys/{client.name}.pub"
                )
            trusted, told, ends = fault is None, fault, node.ends
        if trusted:
            node.look(now, say)
        time.sleep(0.2 if trusted else 2.0)


def _node(client: ClientFile, base: Path) -> list[str]:
    return flower(
        "supernode",
        *("--superlink", client.superlink),
        *("--root-certificates", str(base / client.certificate)),
        *("--auth-supernode-private-key", str(base / client.key)),
        *("--host", "127.0.0.1", "--port", str(free_port())),
    )
