"""Flower's processes as LaDa runs them: fenced, bound to the life of whoever started them, and with one app alone.

Flower would run whatever code comes with a submitted run, at the server and at every client. Here it runs what is
installed: the apps of this package. What is replaced for that is used here and nowhere else.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lada.core import logs
from lada.core.owner import owner_only
from lada.engines.fence import FLEET, Fence
from lada.engines.handshake import told_of

JSON = {"()": logs.JsonLines}
"""A formatter, as logging's configuration has it."""
PATIENCE = 5.0
"""Seconds that a process has to end in good order when it is left alone: an open connection would hold it up."""


def superlink() -> None:
    """Run flower-superlink; operators' requests are for this machine's user, and failed TLS handshakes are logged."""
    import uvicorn
    from flwr.supercore import log
    from flwr.superlink import main as served
    from flwr.superlink.cli import flower_superlink

    if logs.as_json():
        link: Any = import_module("flwr.superlink.cli.flower_superlink")
        usual = link.get_uvicorn_log_config
        link.get_uvicorn_log_config = lambda *args: usual(*args) | {"formatters": {"http": JSON}}
    _fence(served, open=FLEET)
    run = uvicorn.run

    def told(**options: Any) -> None:
        factory = told_of(log) if options.get("ssl_certfile") else None
        run(**options, ssl_context_factory=factory)

    uvicorn.run = told
    flower_superlink()


def supernode() -> None:
    """Run flower-supernode; its own interface is for this machine's user."""
    from flwr.supernode import main as served
    from flwr.supernode.cli import flower_supernode

    _fence(served, open=None)
    flower_supernode()


def clientapp() -> None:
    """Run flwr-clientapp with LaDa's relay, whatever the run brought."""
    from flwr.supernode.cli import flwr_clientapp

    from lada.engines.relay import client_app

    module = "flwr.supernode.runtime.run_clientapp"
    _replace(module, "install_from_fab", lambda *_, **__: None)
    _replace(module, "get_load_client_app_fn", lambda *_, **__: lambda *_: client_app)
    flwr_clientapp()


def serverapp() -> None:
    """Run flwr-serverapp with LaDa's ServerApp, whatever the run brought."""
    from flwr.superlink.cli import flwr_serverapp

    def run(grid: Any, context: Any, **_: Any) -> Any:
        # By name: the app stands above this room.
        import_module("lada.apps").server_app(grid=grid, context=context)
        return context

    _replace("flwr.superlink.runtime.run_serverapp", "run_", run)
    flwr_serverapp()


def simulation() -> None:
    """Run flwr-simulation with actors that are started again when they die: Flower would go on asking the dead one.

    Messages wait for it meanwhile, and the one that it died over comes again: a client answers each message once.
    """
    from flwr.simulation.app import flwr_simulation

    backend = "flwr.server.superlink.fleet.vce.backend.raybackend"
    start = partial(import_module(backend).ClientAppActor.options, max_restarts=-1, max_task_retries=1)
    _replace(backend, "ClientAppActor", SimpleNamespace(options=start))
    flwr_simulation()


def _replace(module: str, name: str, other: Any) -> None:
    """Put something in the place of what Flower calls.

    Raises AttributeError where there is no such name, so that another version of Flower does not run code that came
    with a run, but nothing.
    """
    flower = import_module(module)
    getattr(flower, name)
    setattr(flower, name, other)


def _fence(module: Any, open: str | None) -> None:
    from flwr.supercore import log

    create = module.create_app
    module.create_app = lambda *args, **options: Fence(create(*args, **options), log, open=open)


def write_commands(folder: Path, names: Sequence[str] = ("clientapp", "serverapp")) -> None:
    """Write the commands by which Flower's processes start others, so that they start these."""
    folder.mkdir(mode=0o700)
    for name in names:
        file = folder / f"flwr-{name}"
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m lada.engines.flower {name} "$@"\n', encoding="utf-8")
        file.chmod(0o700)


def main() -> None:
    """Run the process named by the first argument with the others."""
    owner_only()
    what, *arguments = sys.argv[1:]
    processes: dict[str, Callable[[], None]] = {
        "superlink": superlink,
        "supernode": supernode,
        "clientapp": clientapp,
        "serverapp": serverapp,
        "simulation": simulation,
    }
    prefix = "flower" if what.startswith("super") else "flwr"
    sys.argv = [f"{prefix}-{what}", *arguments]
    if what.startswith("super"):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    _log_as_json()
    processes[what]()


def _log_as_json() -> None:
    """Where logs are to be JSON, let Flower's be: its own handler takes no formatter."""
    from flwr.supercore.logger import FLOWER_LOGGER, console_handler
    from uvicorn.config import LOGGING_CONFIG

    if logs.as_json():
        logs.set_up(sys.stderr)
        FLOWER_LOGGER.removeHandler(console_handler)
        FLOWER_LOGGER.setLevel(console_handler.level)
        LOGGING_CONFIG["formatters"] = dict.fromkeys(LOGGING_CONFIG["formatters"], JSON)


def _end_with_parent() -> None:
    """End this process when its stdin does, which whoever started it holds open until it ends, however that is."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


if __name__ == "__main__":
    main()
