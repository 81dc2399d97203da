"""`lada server`: a SuperLink with TLS that admits the clients whose keys it has. Also submits runs to it."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lada.config import RunConfig
from lada.core.errors import FederationError, InputError
from lada.core.plural import counted
from lada.core.results import Results
from lada.core.signals import ended_by_signal
from lada.engines import operator_secret
from lada.engines.binding import NODES, read_binding, read_keys, write_binding
from lada.engines.certificates import check_server_certificate
from lada.engines.family import Family, alone, flower, last_words, wait_for_port, wait_until_free
from lada.engines.flower import write_commands
from lada.engines.identity import fingerprint, read_private
from lada.engines.server_file import FILE, NAME, ServerFile, read_server, write_connection
from lada.engines.submission import submit
from lada.federation.parties import Place
from lada.rounds.party import Emit

LOG = "superlink.log"
SOON = 30
"""Days before its expiry from which on a certificate is reported."""
TAKEN, UNREACHED = "already in use", "SuperLink is unavailable"
"""Flower's messages for a key that is registered already, and for a server that it cannot reach."""
BOX = re.compile("[\u2500-\u257f]")
"""The characters that Flower draws around its messages."""
READY = "ready"
"""The beginning of the log line which says that clients can connect."""


def run_server(file: Path, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, which is raised as KeyboardInterrupt.

    Only the log outlives it. Keys are registered again at each start, so a key that was removed from the folder is no
    longer admitted. Raises InputError if the files are wrong, FederationError if Flower ends.
    """
    file = file.resolve()
    server, base = read_server(file), file.parent
    days = check_server_certificate(base / server.certificate, base / server.authority)
    read_private(base / server.identity, "identity")
    keys = read_keys(base / server.keys)
    if days < SOON:
        say(
            f"{server.certificate} expires in {counted(days, 'day')}; call `lada federation renew`, then start "
            f"`lada server` again"
        )
    with ended_by_signal(), alone(base, "lada server"), Family(place=base) as family, _secret(base):
        (base / NODES).unlink(missing_ok=True)
        wait_until_free(server.host, server.port)
        write_commands(family.folder / "bin")
        reach(family, server, base)
        log = base / LOG
        link = family.start(flower("superlink", *_arguments(server, base)), log)
        wait_for_port(server.port, link, log)
        nodes = {name: _register(family, base / server.keys / f"{name}.pub") for name in keys}
        write_binding(base, keys, nodes)
        for name, key in keys.items():
            say(f"registered {name}: {fingerprint(key)}")
        say(f"{READY}: clients can connect to port {server.port}; log: {log}")
        while link.poll() is None:
            time.sleep(0.5)
        raise FederationError(f"Flower's server ended (code {link.returncode}); {last_words(log)}")


@contextmanager
def _secret(base: Path) -> Iterator[None]:
    """Keep a secret with which this user's processes can act as operators while the server runs."""
    operator_secret.make_secret(base)
    try:
        yield
    finally:
        shutil.rmtree(base / operator_secret.FOLDER, ignore_errors=True)


def _register(family: Family, key: Path) -> int:
    """Allow the owner of a public key to connect; return the node that Flower made of the key.

    If this fails, raises FederationError that names the cause.
    """
    done = family.call(flower("flwr", "supernode", "register", str(key), NAME, "--format", "json"))
    try:
        return json.loads(done.stdout)["node-id"]
    except (ValueError, KeyError):
        said = " ".join(BOX.sub(" ", done.stderr or done.stdout).split())
    if TAKEN in said:
        why = f"another file in {key.parent.name}/ holds the same key; take one of them out"
    elif UNREACHED in said:
        why = (
            "Flower's server did not answer in time, so this machine is too slow or too busy; start `lada server` again"
        )
    else:
        why = said
    raise FederationError(f"keys: {key.name} cannot be registered: {why}")


def _arguments(server: ServerFile, base: Path) -> list[str]:
    return [
        *("--host", server.host, "--port", str(server.port)),
        *("--ssl-ca-certfile", str(base / server.authority)),
        *("--ssl-certfile", str(base / server.certificate)),
        *("--ssl-keyfile", str(base / server.key)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


def reach(family: Family, server: ServerFile, base: Path) -> None:
    """Allow the processes of a family to act as operators of the server that runs in the folder `base`."""
    home = family.folder / "flower"
    family.environment |= {
        "FLWR_HOME": str(home),
        operator_secret.VARIABLE: str(operator_secret.secret_file(base.resolve())),
    }
    write_connection(home, server, base)


def online(family: Family) -> int:
    """Return how many clients are connected, given a family that can `reach` the server."""
    listed = family.call(flower("flwr", "supernode", "ls", NAME, "--format", "json"))
    try:
        nodes = json.loads(listed.stdout)["nodes"]
    except (ValueError, KeyError):
        return 0
    return sum(node["status"] == "online" for node in nodes)


def check_deployment(config: RunConfig, federation: Path | None) -> None:
    """Raise InputError if a run cannot be submitted to a deployment."""
    if federation is None:
        raise InputError(
            "engine: 'deployment' needs the server's folder; give it with --federation, such as --federation fed/server"
        )
    read_server(federation / FILE)
    if bringing := [client.name for client in config.clients if client.model is not None]:
        raise InputError(
            f"clients.{bringing[0]}.model: with engine: deployment each client brings its own model; take it out of "
            "this file, as `lada federation init` does"
        )
    read_binding(federation, [client.name for client in config.clients])


def deploy(config: RunConfig, place: Place, emit: Emit, federation: Path) -> Results:
    """Submit a run to the server on this machine and follow it to its end. Raises as a local run does."""
    server = read_server(federation / FILE)
    with Family() as family:
        family.environment["PATH"] = os.pathsep.join(family.environment["PATH"].split(os.pathsep)[1:])
        reach(family, server, federation)
        operator_secret.own_secret(family.environment)
        return submit(family, config, place, emit, superlink=NAME, federation=federation)
