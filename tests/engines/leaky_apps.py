"""The apps of lada for Flower's engines, but that clients are leaky and what reaches the server is written down."""

import os
import secrets
from pathlib import Path

from flwr.common.serde import message_to_proto
from flwr.serverapp import ServerApp
from leaky_nodes import LeakyNode

from lada.engines import simulated
from lada.engines.server_app import server_app as real
from lada.federation.client_app import make_client_app

FOLDER = "LADA_TEST_RECORDED"
"""The environment variable with the folder that is written to."""


def record(what, data):
    """Keep bytes that reached the server."""
    (Path(os.environ[FOLDER]) / f"{what}-{secrets.token_hex(8)}").write_bytes(data)


class Recording:
    """A Grid that keeps each message as it is pulled."""

    def __init__(self, grid):
        self._grid = grid

    def __getattr__(self, name):
        return getattr(self._grid, name)

    def pull_messages(self, message_ids):
        messages = list(self._grid.pull_messages(message_ids))
        for message in messages:
            record("message", message_to_proto(message).SerializeToString())
        return messages


server_app = ServerApp()


@server_app.main()
def main(grid, context):
    real(Recording(grid), context)  # pyright: ignore[reportArgumentType]


def open_node(context, run, emit):
    name, _ = simulated.identify(context)
    return LeakyNode(name, simulated.open_node(context, run, emit))


client_app = make_client_app(open_node, identify=simulated.identify)
