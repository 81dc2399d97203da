"""Which node is which client. Node ids say nothing, so each node is asked for its name."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.federation.asking import Asking, post
from lada.federation.failures import Failure, Reply
from lada.federation.messages import HELLO, SERVER, Code, Envelope

if TYPE_CHECKING:
    from flwr.serverapp import Grid

PATIENCE = 30.0
"""Seconds that a node which joins a run under way has to say its name."""


class Roster:
    """The nodes of the clients that a run expects; others that are connected play no part."""

    def __init__(self, grid: Grid, clients: Collection[str], *, run: str, terms: Mapping[str, bytes]) -> None:
        """`terms` go along with the question; a client that does not accept them does not take part."""
        self.nodes: dict[str, int] = {}
        self._grid = grid
        self._clients = set(clients)
        self._envelope = Envelope(run, HELLO, 0, SERVER)
        self._terms = terms
        self._asked: set[int] = set()
        self._others: list[str] = []
        self._refused: dict[str, Failure] = {}

    def wait(self, least: int, timeout: float) -> None:
        """Wait `timeout` seconds for all clients. Raises FederationError where fewer than `least` came.

        A client that refused is not waited for.
        """
        deadline = time.monotonic() + timeout
        while True:
            self.look(max(deadline - time.monotonic(), 0.001))
            if len(self.nodes) + len(self._refused) >= len(self._clients) or time.monotonic() >= deadline:
                break
            time.sleep(min(0.5, timeout))
        if len(self.nodes) < least:
            connected = sorted([*self.nodes, *self._others])
            refused = "".join(f" Client {name!r} refused: {why}." for name, why in sorted(self._refused.items()))
            raise FederationError(
                f"clients: expected {', '.join(sorted(self._clients))}; connected are {', '.join(connected) or 'none'}."
                f"{refused} Start one node per client, with that client's name in its node config."
            )

    def look(self, timeout: float = PATIENCE) -> None:
        """Ask nodes that are new for their names. Raises FederationError where two nodes give one name."""
        if self.nodes.keys() == self._clients:
            return
        new = sorted(set(self._grid.get_node_ids()) - self._asked)
        replies: dict[int, Envelope] = {}

        def hear(node: int, reply: Reply) -> None:
            replies[node] = reply[0]

        asking = Asking(
            self._grid,
            new,
            self._envelope,
            send=lambda node: post(self._grid, node, self._envelope, self._terms),
            seconds=lambda _: timeout,
        )
        for node, failure in asking.wait(hear).items():  # one that did not answer is asked again next time
            if failure.code in (Code.FAILED, Code.MALFORMED) and failure.sender in self._clients:
                self._asked.add(node)
                self._refused[failure.sender] = failure
        for node in sorted(replies):
            name = replies[node].sender
            self._asked.add(node)
            if name not in self._clients:
                self._others.append(name)
            elif name in self.nodes:
                raise FederationError(
                    f"clients: two nodes give the name {name!r}; give each node config a name of its own"
                )
            else:
                self.nodes[name] = node
