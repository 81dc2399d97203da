"""Flower's processes as LaDa runs them: fenced, ended with their starter, and limited to one app.

Flower would run any code that comes with a submitted run, at the server and at every client. Here it runs only
installed code: the apps of this package. The replacements for this are used only in this module.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lada.core import logs
from lada.core.owner import owner_only
from lada.engines.fence import FLEET, Fence, Sender
from lada.engines.handshake import told_of
from lada.engines.nodes import sender_of
from lada.engines.operator_secret import Introduction, own_secret

JSON = {"()": logs.JsonLines}
"""A formatter, in the form of logging's configuration."""
CONNECTING, ANSWERING = 60.0, 120.0
"""Seconds that Flower's operator command waits for a connection to the server, and then for an answer."""
STARTING = 300.0
"""Seconds that a server gives the process of an app until it says that it has started. Flower gives it 30. A process
that takes longer loses its task, and Flower starts another, which takes the same time."""
PATIENCE = 5.0
"""Seconds that a process has to end cleanly after its parent is gone; an open connection would delay it."""


def superlink() -> None:
    """Run flower-superlink: only this machine's user may act as operator, and a node may push only its own replies.

    Failed TLS handshakes are logged.
    """
    from flwr.supercore import log
    from flwr.superlink import main as served
    from flwr.superlink.cli import flower_superlink

    from lada.engines.fleet import own_replies_alone

    if logs.as_json():
        link: Any = import_module("flwr.superlink.cli.flower_superlink")
        usual = link.get_uvicorn_log_config
        link.get_uvicorn_log_config = lambda *args: usual(*args) | {"formatters": {"http": JSON}}
    _fence(served, open=FLEET, sender=lambda app: sender_of(app.state.linkstate_factory.state))
    nodes = "flwr.superlink.routers.fleet.node_auth"
    _replace(nodes, "authenticate_node", own_replies_alone(import_module(nodes).authenticate_node, log))
    forget_lost_messages()
    give_time_to_start()
    flower_superlink()


def forget_lost_messages() -> None:
    """Report to the server a message that a SuperNode took and did not answer, once that node is connected again.

    The node is then a new process that does not know the message, and Flower would wait forever for its reply.
    """
    state = import_module("flwr.server.superlink.linkstate.in_memory_linkstate").InMemoryLinkState
    activate = state.activate_node

    def activated(self: Any, node_id: int, heartbeat_interval: float) -> bool:
        with self.lock:
            done = activate(self, node_id, heartbeat_interval)
            sent = {key: one.metadata for key, one in self.message_ins_store.items()} if done else {}
            taken = {key for key, one in sent.items() if one.dst_node_id == node_id and one.delivered_at}
            self.delete_messages(taken - self.message_ins_id_to_message_res_id.keys())
            return done

    state.activate_node = activated


def give_time_to_start() -> None:
    """Let a process that took a task start for `STARTING` seconds before its task is given to another one."""
    state = import_module("flwr.supercore.corestate.in_memory_corestate").InMemoryCoreState
    claim = state.claim_task

    def claimed(self: Any, task_id: int) -> str | None:
        token = claim(self, task_id)
        with self.lock_task_store:
            if (record := self.task_token_store.get(task_id)) is not None and record.token == token:
                record.active_until = datetime.now(UTC) + timedelta(seconds=STARTING)
        return token

    state.claim_task = claimed


def supernode() -> None:
    """Run flower-supernode; only this machine's user may use its interface."""
    from flwr.supernode import main as served
    from flwr.supernode.cli import flower_supernode

    _fence(served, open=None)
    give_time_to_start()
    flower_supernode()


def superexec() -> None:
    """Run flower-superexec, which starts the processes of apps."""
    from flwr.supercore.cli import flower_superexec

    flower_superexec()


def flwr() -> None:
    """Run Flower's operator command. It waits for a server that is slow to accept connections or to answer."""
    import httpx
    from flwr.cli.app import app
    from flwr.supercore.retry import RetryInvoker, exponential

    patience = RetryInvoker(
        lambda: exponential(max_delay=5),
        (
            httpx.ConnectError,
            httpx.ConnectTimeout,
        ),  # not errors after which the server might do it twice
        max_tries=None,
        max_time=CONNECTING,
        should_giveup=lambda error: "certificate" in str(error).lower(),
    )
    _change_clients(lambda options: {**options, "timeout": ANSWERING, "retry_invoker": patience})
    app()


def clientapp() -> None:
    """Run flwr-clientapp with LaDa's relay, whatever code the run brought."""
    from flwr.supernode.cli import flwr_clientapp

    from lada.engines.relay import client_app

    module = "flwr.supernode.runtime.run_clientapp"
    _replace(module, "install_from_fab", lambda *_, **__: None)
    _replace(module, "get_load_client_app_fn", lambda *_, **__: lambda *_: client_app)
    flwr_clientapp()


def serverapp() -> None:
    """Run flwr-serverapp with LaDa's ServerApp, whatever code the run brought."""
    from flwr.superlink.cli import flwr_serverapp

    from lada.engines.server_app import server_app

    def run(grid: Any, context: Any, **_: Any) -> Any:
        server_app(grid=grid, context=context)
        return context

    _replace("flwr.superlink.runtime.run_serverapp", "run_", run)
    flwr_serverapp()


def simulation() -> None:
    """Run flwr-simulation with actors that restart when they die: Flower would keep asking the dead one.

    Messages wait for it meanwhile, and the message that it died over is sent again: a client answers each message once.
    """
    from flwr.simulation.app import flwr_simulation

    backend = "flwr.server.superlink.fleet.vce.backend.raybackend"
    start = partial(import_module(backend).ClientAppActor.options, max_restarts=-1, max_task_retries=1)
    _replace(backend, "ClientAppActor", SimpleNamespace(options=start))
    flwr_simulation()


def _replace(module: str, name: str, other: Any) -> None:
    """Replace a function that Flower calls.

    Raises AttributeError if there is no such name. A different version of Flower then fails instead of running code
    that came with a run.
    """
    flower = import_module(module)
    getattr(flower, name)
    setattr(flower, name, other)


def _fence(module: Any, open: str | None, sender: Callable[[Any], Sender] = lambda _: lambda _: None) -> None:
    """Put the fence in front of the app that a module makes, and the door in front of every uvicorn server."""
    import uvicorn
    from flwr.supercore import log

    from lada.engines.door import Door

    settings: Any = uvicorn.Config
    secret, create, configure = own_secret(), module.create_app, settings.__init__

    def fenced(*args: Any, **options: Any) -> Fence:
        app = create(*args, **options)
        return Fence(app, log, secret=secret, open=open, sender=sender(app))

    def guarded(config: Any, *args: Any, **options: Any) -> None:
        told = {"ssl_context_factory": told_of(log)} if options.get("ssl_certfile") else {}
        configure(config, *args, **{**options, **Door(log).options(), **told})

    module.create_app = fenced
    settings.__init__ = guarded


def introduce() -> None:
    """Add the operator's secret to the requests that this process sends to Flower's servers."""
    introduction = Introduction(own_secret())
    _change_clients(lambda options: {**options, "interceptors": (*options.get("interceptors", ()), introduction)})


def _change_clients(change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the options of each client of Flower's servers that this process makes."""
    client = import_module("flwr.supercore.protobuf.client").ProtobufClient
    init = client.__init__

    def changed(self: Any, base_url: str, **options: Any) -> None:
        init(self, base_url, **change(options))

    client.__init__ = changed


def write_commands(folder: Path) -> None:
    """Write the commands with which Flower's processes start other processes, so that they start those of this
    module."""
    folder.mkdir(mode=0o700)
    for name in ("superexec", "clientapp", "serverapp", "simulation"):
        file = folder / _command(name)
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m lada.engines.flower {name} "$@"\n', encoding="utf-8")
        file.chmod(0o700)


def _command(name: str) -> str:
    """Return Flower's name of one of its commands."""
    return f"flower-{name}" if name.startswith("super") else f"flwr-{name}"


def main() -> None:
    """Run the process named by the first argument with the others."""
    owner_only()
    what, *arguments = sys.argv[1:]
    servers: dict[str, Callable[[], None]] = {"superlink": superlink, "supernode": supernode}
    askers: dict[str, Callable[[], None]] = {
        "superexec": superexec,
        "clientapp": clientapp,
        "serverapp": serverapp,
        "simulation": simulation,
        "flwr": flwr,
    }
    sys.argv = [what if what == "flwr" else _command(what), *arguments]
    if what in servers:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    else:
        introduce()
    _log_as_json()
    (servers | askers)[what]()


def _log_as_json() -> None:
    """If logs should be JSON, make Flower's JSON too: its own handler takes no formatter."""
    from flwr.supercore.logger import FLOWER_LOGGER, console_handler
    from uvicorn.config import LOGGING_CONFIG

    if logs.as_json():
        logs.set_up(sys.stderr)
        FLOWER_LOGGER.removeHandler(console_handler)
        FLOWER_LOGGER.setLevel(console_handler.level)
        LOGGING_CONFIG["formatters"] = dict.fromkeys(LOGGING_CONFIG["formatters"], JSON)


def _end_with_parent() -> None:
    """End this process when its stdin closes. Its starter holds stdin open until the starter itself ends, in whatever
    way."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    main()
