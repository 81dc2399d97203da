"""A real client's node that does all it may with a secret but send it: prints, logs, warns, fails with it."""

import logging
import warnings

from lada.federation import nodes

CANARY = "zanzibar"
FAILS = ("clinic", "learn")
"""The client and the phase that raise."""


class LeakyNode:
    def __init__(self, name, node):
        self._name, self._node = name, node

    def handle(self, phase, round, payload):
        print(f"print of {CANARY}")
        logging.getLogger("flwr").error("log of %s", CANARY)
        warnings.warn(f"warning of {CANARY}", stacklevel=2)
        reply = self._node.handle(phase, round, payload)
        if (self._name, phase) == FAILS:
            raise KeyError(f"{CANARY} in the folder {CANARY}/private.jsonl")
        return reply

    def fetch(self, round, what):
        return self._node.fetch(round, what)


def open_node(context, run, emit):
    return LeakyNode(str(context.node_config["name"]), nodes.open_node(context, run, emit))
