"""The ClientApp of a deployment: Flower starts it for each message, and it passes the message to the worker.

It knows neither models nor data and imports nothing slow. If the worker dies over a message, the relay waits until it
is restarted and sends the message again. This is safe, since a worker answers each message once.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context

from lada.core.errors import FederationError
from lada.engines.frames import FAILURE, TASK, opened, receive, send
from lada.engines.identity import seal_of
from lada.federation.client_app import make_client_app
from lada.federation.pieces import BYTES, FETCH, What
from lada.federation.seal import Seal

VARIABLE = "LADA_RELAY"
"""The environment variable with the path of the relay's file."""
ATTEMPTS = 3
"""How often a message is sent to a worker that dies over it."""


@dataclass(frozen=True, slots=True)
class RelayFile:
    """Where to relay to: the client's name, its folder for errors.log, the worker's socket and the largest message. It
    also names the files of the client's key and the server's public key."""

    name: str
    folder: str
    socket: str
    max_message_bytes: int
    key: str
    identity: str
    patience: float = 180.0
    """The time that a worker has to start, seconds."""

    def write(self, file: Path) -> None:
        """Write it down."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls) -> "RelayFile":
        """Read the file that the environment names."""
        return cls(**json.loads(Path(os.environ[VARIABLE]).read_bytes()))


class Relay:
    """Answers for a client by asking its worker."""

    def __init__(self, file: RelayFile, run: str) -> None:
        self._file, self._run = file, run

    def handle(self, phase: str, round: int, payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Return the worker's reply or, if it is large, the sizes of its pieces. Raises FederationError without a
        reply."""
        return self._ask(phase, round, payload)

    def fetch(self, round: int, what: What) -> bytes:
        """Return a piece of the worker's last reply. Raises FederationError if there is none."""
        return self._ask(FETCH, round, what.encode())[BYTES]

    def _ask(self, phase: str, round: int, payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
        head = {"run": self._run, "phase": phase, "round": round}
        for _ in range(ATTEMPTS):
            try:
                with self._connect() as connection, opened(connection) as stream:
                    send(stream, TASK, head, payload)
                    tag, said, reply = receive(stream)
            except (EOFError, OSError):
                continue  # the worker died; it is being restarted
            if tag == FAILURE:
                raise FederationError(f"the worker could not answer:\n{said['text']}")
            return reply
        raise FederationError(
            f"the worker died {ATTEMPTS} times in phase {phase!r} of round {round}, perhaps for lack of memory; see "
            "worker.log"
        )

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + self._file.patience
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._file.socket)
            except OSError:
                connection.close()
                if time.monotonic() >= deadline:
                    raise FederationError(
                        f"the worker did not start within {self._file.patience:g} s; see worker.log"
                    ) from None
                time.sleep(0.2)
            else:
                return connection


def open_relay(_context: Context, run: str, _emit: Any) -> Relay:
    """Return the relay for a message of a run."""
    return Relay(RelayFile.read(), run)


def identify(_context: Context) -> tuple[str, Path]:
    """Return the client's name and the folder for errors.log."""
    file = RelayFile.read()
    return file.name, Path(file.folder)


def open_seal() -> Seal:
    """Return the seal that the client and the server share."""
    file = RelayFile.read()
    return seal_of(Path(file.key), Path(file.identity), file.name)


client_app = make_client_app(
    open_relay, identify=identify, limit=lambda: RelayFile.read().max_message_bytes, open_seal=open_seal
)
