"""A federation like that of `lada federation up`, but that its clients leak and its server writes down what it gets.

python -m leaky_deployment lada.engines.up FOLDER, and so each process that this starts.
"""

import os
import sys
from pathlib import Path

from leaky_apps import FOLDER, record


def up():
    from lada.engines import up

    up.python = _as_this
    up.up(Path(sys.argv[1]), lambda text: print(text, flush=True))


def command():
    """Run `lada server` or `lada client`."""
    from lada.cli.main import app
    from lada.engines import client, flower, server

    def write_commands(folder):
        flower.write_commands(folder)
        for file in folder.iterdir():
            file.write_text(file.read_text().replace("-m lada.", "-m leaky_deployment lada."))

    server.flower = lambda *arguments: _as_this("lada.engines.flower", *arguments)
    server.write_commands = write_commands
    client.python = _as_this
    app()


def worker():
    from leaky_nodes import LeakyNode

    from lada.engines import worker

    node = worker.Node
    worker.Node = lambda config, place, task, name, emit: LeakyNode(name, node(config, place, task, name, emit))
    worker.main()


def flower():
    import leaky_apps

    from lada.engines import flower
    from lada.engines.fence import FLEET, Fence

    class Recording(Fence):
        """Keeps each request of a client's as it is without TLS: path, headers, body."""

        async def __call__(self, scope, receive, send):
            parts = []

            async def received():
                message = await receive()
                parts.append(message.get("body", b""))
                return message

            await super().__call__(scope, received, send)
            if scope["type"] == "http" and scope["path"].startswith(FLEET):
                head = [scope["path"].encode(), *(b": ".join(header) for header in scope["headers"])]
                record("request", b"\n".join([*head, b"", *parts]))

    if sys.argv[1] == "superlink":
        flower.Fence = Recording
        sys.argv += ["--database", os.path.join(os.environ[FOLDER], "state.db")]
    else:
        sys.modules["lada.engines.server_app"] = leaky_apps
    flower.main()


def _as_this(module, *arguments):
    return [sys.executable, "-P", "-m", "leaky_deployment", module, *arguments]


if __name__ == "__main__":
    del sys.argv[0]
    {"lada.engines.up": up, "lada": command, "lada.engines.worker": worker, "lada.engines.flower": flower}[
        sys.argv[0]
    ]()
