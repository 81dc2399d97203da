"""The long-lived worker of a client in a deployment: it answers messages and keeps model and data between them.

python -m lada.engines.worker client.yaml /run/of/this/user/socket
"""

import hashlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lada.config import RunConfig
from lada.core import logs
from lada.core.errors import FederationError, LadaError
from lada.core.names import fault
from lada.core.owner import owner_only
from lada.core.plural import counted
from lada.core.sealed import seal, unseal
from lada.engines.client_file import ClientFile, merge_terms, read_client
from lada.engines.frames import REPLY, fail, opened, receive, send
from lada.federation import begun
from lada.federation.events import to_file
from lada.federation.messages import HELLO
from lada.federation.nodes import Node, task_of
from lada.federation.parties import Place, check_model
from lada.federation.pieces import BYTES, FETCH, announce, decode_what
from lada.federation.terms import TERMS, Terms, digest

LOG = logging.getLogger("lada.worker")
TERMS_FILE = "terms.json"
LOGS = "logs"
"""The name of the folder for logs, next to the folders of runs."""
LARGEST = 2**20
"""The most bytes that terms may have."""


class RunOfClient:
    """A client's part in one run; its state is in `<state>/<run>`."""

    def __init__(self, client: ClientFile, base: Path, run: str) -> None:
        """Raises FederationError if the run's name cannot be a folder's."""
        if told := fault(run):
            raise FederationError(f"run: {told}")
        if run.lower() == LOGS:
            raise FederationError(
                f"run: {run!r} is the folder of this client's logs; let the server give the run another name"
            )
        self._client, self._base = client, base
        self._run = run
        self._folder = base / client.state / run

    def handle(self, phase: str, round: int, payload: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Accept the terms, or answer as a node that has accepted them. Raises FederationError if it refuses the
        terms."""
        if phase == HELLO:
            self._take(payload.get(TERMS, b""))
            return {}
        if phase == FETCH:
            return {BYTES: self._node().fetch(round, decode_what(payload))}
        return announce(self._node().handle(phase, round, payload))

    def _node(self) -> Node:
        terms = self._terms()
        if terms is None:
            raise FederationError(
                f"run {self._run}: this client has accepted no terms for it, so it refuses the message; the server has "
                "to send its terms first"
            )
        config, place = merge_terms(self._client, terms), self._place(terms)
        return Node(config, place, lambda: task_of(config, self._base), self._client.name, to_file(place))

    def forget(self, phase: str, round: int) -> None:
        """Drop a message that was received and will not be answered, so that it does not precede the next one."""
        if terms := self._terms():
            journal = self._place(terms).journal(self._client.name)
            journal.prune(set(journal.names()) - {f"{round}-{phase}"})

    def _take(self, data: bytes) -> None:
        """Accept and keep terms, or raise FederationError that names what does not fit."""
        if not 0 < len(data) <= LARGEST:
            raise FederationError(f"terms: {counted(len(data), 'byte')}; expected 1 to {LARGEST}")
        try:
            terms: Terms = Terms.model_validate_json(data)
        except ValueError as error:
            raise FederationError(f"terms: they cannot be read; do both sides run the same version? {error}") from None
        if terms.run != self._run:
            raise FederationError(f"terms: they are for run {terms.run!r}, but the message is for {self._run!r}")
        before = self._terms()
        if before is not None and before.model_copy(update={"rounds": terms.rounds}) != terms:
            raise FederationError(
                f"terms: they differ from those with which run {self._run} began. Either another sender uses the "
                "server's name, or the server's files have changed; ask its operator to begin a new run"
            )
        if before is not None and terms.rounds < before.rounds:
            raise FederationError(
                f"terms: they give run {self._run} {counted(terms.rounds, 'round')}, but this client has accepted "
                f"{before.rounds} before. Either they are a replay, or the server was set back; ask its operator to "
                f"continue with at least {before.rounds} rounds"
            )
        config = merge_terms(self._client, terms)
        task = task_of(config, self._base)
        for kind, samples, expected in (("public", task.public, terms.public), ("test", task.test, terms.test)):
            if digest(samples) != expected:
                raise FederationError(
                    f"terms: the {kind} samples here are not those of the server; compare task.{kind} of client.yaml "
                    "and of the server's run.yaml, and the files that they name"
                )
        check_model(self._client.model, self._client.name)
        self._hold_to_data(config, begun.samples(task, [self._client.name]) | begun.models(config), before is None)
        seal(self._folder / TERMS_FILE, terms.model_dump_json().encode())

    def _hold_to_data(self, config: RunConfig, found: dict[str, str], fresh: bool) -> None:
        """Record what this client begins a run with; raise FederationError if that has changed since."""
        found["client.yaml"] = hashlib.sha256(config.model_dump_json(exclude={"rounds"}).encode()).hexdigest()
        if fresh and not (self._folder / begun.BEGUN).exists():
            begun.write(self._folder, found)
        elif changed := begun.changed(self._folder, found):
            raise FederationError(
                f"{', '.join(changed)}: changed since this client began run {self._run}; restore it, or ask the "
                "server's operator to begin a new run"
            )

    def _terms(self) -> Terms | None:
        """Return the accepted terms, or None. Raises FederationError if their file was altered."""
        file = self._folder / TERMS_FILE
        if not file.exists():
            return None
        try:
            return Terms.model_validate_json(unseal(file))
        except (LadaError, ValueError) as error:
            raise FederationError(
                f"{TERMS_FILE} of run {self._run} is damaged; restore it from a copy, or delete it to accept the "
                "server's terms again"
            ) from error

    def _place(self, terms: Terms) -> Place:
        return Place(self._folder, self._base, terms.started)


def serve(listener: socket.socket, client: ClientFile, base: Path) -> None:
    """Answer messages forever, one after another."""
    while True:
        connection, _ = listener.accept()
        with connection, opened(connection) as stream, suppress(EOFError, OSError):  # a relay that went away
            _answer(stream, client, base)


def _answer(stream: IO[bytes], client: ClientFile, base: Path) -> None:
    _, head, payload = receive(stream)
    run, phase, round = head["run"], head["phase"], head["round"]
    where = {"party": client.name, "run": run, "round": round, "phase": phase}
    LOG.info("run %s, round %s, phase %s", run, round, phase, extra=where)
    try:
        member = RunOfClient(client, base, run)
        with _given_up_after(client.limits.seconds, stream, member, phase, round):
            reply = member.handle(phase, round, payload)
    except Exception as error:
        # The texts of other errors may repeat data; they go only into errors.log.
        why = error if isinstance(error, FederationError) else type(error).__name__
        LOG.error("refused or failed: %s; see errors.log", why, extra=where)
        fail(stream, traceback.format_exc())
        return
    send(stream, REPLY, {}, reply)


@contextmanager
def _given_up_after(
    seconds: float | None, stream: IO[bytes], member: RunOfClient, phase: str, round: int
) -> Iterator[None]:
    """End this process if the work takes longer: nothing gentler stops a running computation."""

    def give_up() -> None:
        text = f"phase {phase!r} took more than limits.seconds = {seconds:g}; raise that, or study fewer steps"
        LOG.error(text)
        with suppress(OSError, ValueError):
            member.forget(phase, round)
            fail(stream, text)
        os._exit(1)

    timer = threading.Timer(seconds, give_up) if seconds is not None else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


def listen(path: str) -> socket.socket:
    """Return a socket that only this user may open."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(16)
    return listener


def main() -> None:
    """Serve until stdin closes; the starter of this process holds it open."""
    owner_only()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.set_up(sys.stdout)
    file, path = Path(sys.argv[1]).resolve(), sys.argv[2]
    client = read_client(file)

    import torch

    torch.set_num_threads(client.threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(listen(path), client, file.parent)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
