"""The clients of a simulation: Flower numbers them, in the order of their sorted names.

A Ray actor keeps the party that it served last in memory (lada.federation.party_cache) and loads any other from its
checkpoint. So it does not matter which actor gets a client's next message.
"""

from pathlib import Path

from flwr.app import Context

from lada.config import RunConfig
from lada.core.owner import owner_only
from lada.engines import submission
from lada.federation.client_app import make_client_app
from lada.federation.events import to_file
from lada.federation.nodes import Node, task_of
from lada.federation.parties import Place
from lada.rounds.party import Emit


def _who(context: Context) -> tuple[RunConfig, Place, str]:
    owner_only()  # an actor is one of Ray's processes
    config, place = submission.read(str(context.run_config[submission.KEY]))
    names = sorted(client.name for client in config.clients)
    return config, place, names[int(context.node_config["partition-id"])]


def identify(context: Context) -> tuple[str, Path]:
    """Return the client's name and its folder."""
    _, place, name = _who(context)
    return name, place.party(name)


def open_node(context: Context, _run: str, _emit: Emit) -> Node:
    """Make the node; its events go into the run's file."""
    config, place, name = _who(context)
    return Node(config, place, lambda: task_of(config, place.base), name, to_file(place))


client_app = make_client_app(open_node, identify=identify)
