"""`lada server`: a SuperLink with TLS that lets in the clients whose keys it has; and how a run is handed to it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from lada.config import RunConfig
from lada.core.errors import FederationError, InputError
from lada.core.results import Results
from lada.core.signals import ended_by_signal
from lada.engines.binding import NODES, read_binding, read_keys, write_binding
from lada.engines.certificates import check_server_certificate
from lada.engines.family import Family, flower, last_words, wait_for_port
from lada.engines.flower import write_commands
from lada.engines.identity import fingerprint, read_private
from lada.engines.server_file import FILE, NAME, ServerFile, read_server, write_connection
from lada.engines.submission import submit
from lada.federation.parties import Place
from lada.hosts.party import Emit

LOG = "superlink.log"
SOON = 30
"""Days before which a certificate that expires is told of."""
READY = "ready"
"""How the line begins that says that clients can connect."""


def run_server(file: Path, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, which is raised as KeyboardInterrupt.

    Nothing but the log outlives it: keys are registered anew at each start, so that a key which was taken out of the
    folder is not let in any more. Raises InputError for what is wrong with the files, FederationError if Flower ends.
    """
    file = file.resolve()
    server, base = read_server(file), file.parent
    days = check_server_certificate(base / server.certificate, base / server.authority)
    read_private(base / server.identity, "identity")
    keys = read_keys(base / server.keys)
    (base / NODES).unlink(missing_ok=True)
    if days < SOON:
        say(
            f"{server.certificate} expires in {days} days; call `lada federation renew`, then start `lada server` again"
        )
    with ended_by_signal(), Family() as family:
        write_commands(family.folder / "bin")
        family.environment["FLWR_HOME"] = str(family.folder / "flower")
        write_connection(family.folder / "flower", server, base)
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


def _register(family: Family, key: Path) -> int:
    """Let the owner of a public key connect; return the node that Flower made of it."""
    done = family.call(["flwr", "supernode", "register", str(key), NAME, "--format", "json"])
    try:
        return json.loads(done.stdout)["node-id"]
    except (ValueError, KeyError):
        said = (done.stderr or done.stdout).strip()
        raise FederationError(f"keys: {key.name} cannot be registered: {said}") from None


def _arguments(server: ServerFile, base: Path) -> list[str]:
    return [
        *("--host", server.host, "--port", str(server.port)),
        *("--ssl-ca-certfile", str(base / server.authority)),
        *("--ssl-certfile", str(base / server.certificate)),
        *("--ssl-keyfile", str(base / server.key)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


def online(family: Family) -> int:
    """Return how many clients are connected, given a family whose FLWR_HOME has the connection."""
    listed = family.call(["flwr", "supernode", "ls", NAME, "--format", "json"])
    try:
        nodes = json.loads(listed.stdout)["nodes"]
    except (ValueError, KeyError):
        return 0
    return sum(node["status"] == "online" for node in nodes)


def check_deployment(config: RunConfig, federation: Path | None) -> None:
    """Raise InputError where a run cannot be handed to a deployment."""
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
    """Hand a run to the server that runs on this machine and follow it to its end. Raises as a local run does."""
    server = read_server(federation / FILE)
    with Family() as family:
        family.environment["FLWR_HOME"] = str(family.folder / "flower")
        family.environment["PATH"] = os.pathsep.join(family.environment["PATH"].split(os.pathsep)[1:])
        write_connection(family.folder / "flower", server, federation)
        return submit(family, config, place, emit, superlink=NAME, federation=federation)
