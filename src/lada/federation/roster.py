"""Finds out which node is which client. In a deployment, names are bound to nodes; elsewhere each node is asked for its
name."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from lada.core.errors import FederationError
from lada.federation.asking import Asking, post
from lada.federation.bound import Binding, Sealed
from lada.federation.failures import Failure, Reply
from lada.federation.messages import HELLO, SERVER, Code, Envelope

if TYPE_CHECKING:
    from flwr.serverapp import Grid

PATIENCE = 30.0
"""Seconds that a node which joins a running run has to give its name."""
RESPITE = 600.0
"""Seconds before a silent node is asked again."""


class Roster:
    """The nodes of the clients that a run expects; other connected nodes are ignored."""

    def __init__(
        self,
        grid: Grid,
        clients: Collection[str],
        *,
        run: str,
        terms: Mapping[str, bytes],
        binding: Binding | None = None,
    ) -> None:
        """`terms` are sent with the question; a client that does not accept them does not take part.

        With a `binding`, it alone determines a node's client. A node without an expected client is not asked, and a
        node that gives another name does not take part.
        """
        self.nodes: dict[str, int] = {}
        self._grid = grid
        self._clients = set(clients)
        self._envelope = Envelope(run, HELLO, 0, SERVER)
        self._terms = terms
        self._binding = binding
        self._asked: set[int] = set()
        self._others: list[str] = []
        self._refused: dict[str, Failure] = {}
        self._silent: dict[int, float] = {}

    def wait(self, least: int, timeout: float) -> None:
        """Wait `timeout` seconds for all clients. Raises FederationError if fewer than `least` connect.

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
                f"{refused} They had {timeout:g} s: raise timeout where they need longer to start; in a deployment "
                "start `lada client` for each."
            )

    def absent(self) -> dict[str, Failure]:
        """Return why each absent expected client does not take part, by name, sorted."""
        return {
            name: self._refused.get(name, Failure(Code.ABSENT)) for name in sorted(self._clients - self.nodes.keys())
        }

    def look(self, timeout: float = PATIENCE) -> None:
        """Ask new nodes for their names. Raises FederationError if two nodes give the same name."""
        if self.nodes.keys() == self._clients:
            return
        now = time.monotonic()
        silent = {node for node, until in self._silent.items() if now < until}
        new = sorted(set(self._grid.get_node_ids()) - self._asked - silent)
        bound = self._binding.names if self._binding else {}
        if self._binding:
            self._others += [bound[node] for node in new if node in bound and bound[node] not in self._clients]
            self._asked.update(node for node in new if bound.get(node) not in self._clients)
            new = [node for node in new if node not in self._asked]
        replies: dict[int, Envelope] = {}
        sealed = Sealed(self._binding)

        def hear(node: int, reply: Reply) -> None:
            replies[node] = reply[0]

        def send(node: int) -> str | None:
            envelope = sealed.ask(bound.get(node, ""), self._envelope, self._terms)
            return post(self._grid, node, envelope, self._terms)

        asking = Asking(
            self._grid,
            new,
            self._envelope,
            send=send,
            seconds=lambda _: timeout,
            authenticate=lambda node, reply: sealed.fault(bound.get(node, ""), reply),
        )
        for node, failure in asking.wait(hear).items():  # a node that did not answer is asked again later
            name = bound.get(node, failure.sender)
            if failure.code is Code.SILENT:  # else it would delay every message to the others
                self._silent[node] = time.monotonic() + RESPITE
            if failure.code in (Code.FAILED, Code.MALFORMED, Code.FORGED) and name in self._clients:
                self._asked.add(node)
                self._refused[name] = failure
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
