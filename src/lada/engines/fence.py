"""Decides who may use Flower's own interfaces, and how much a sender may send before it is identified.

Flower serves clients, operators and its own processes at one port and does not authenticate operators: anyone who
reaches the port could submit a run or enrol a key. So only the clients' part is open. The rest is for processes of this
user on this machine that know the operator's secret. Flower also reads a whole body before it checks the sender. So a
body whose sender shows no registered key must be small.
"""

import asyncio
import ipaddress
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from logging import WARNING
from pathlib import Path
from typing import Any

from lada.core.plural import counted
from lada.engines.operator_secret import is_secret

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
End = tuple[str, int]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Sender = Callable[[Scope], bytes | None]
"""Returns the registered key that signed a request, judged by its head only; None for any other sender. May be slow."""

KEY = "lada.connection"
"""The key of a request's connection (lada.engines.door.Connection) among the extensions of its scope."""
FLEET = "/v1/fleet/"
"""The paths that clients use. Flower checks the clients' keys."""
ADVICE = {
    401: "its signature or time does not fit its key; set the clocks of both machines and check that no two clients "
    "share a key",
    412: "its key is not registered here, or not in use; put the client's public key into the folder `keys` next to "
    "server.yaml and start `lada server` again, if it is to take part",
}
"""What to do about a client that Flower refused, for each HTTP status."""
ESTABLISHED = "01"
"""The kernel's number for the state of an established connection."""
TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}


@dataclass(frozen=True, slots=True)
class Room:
    """The most bytes of unfinished and unanswered bodies that a server holds: of one body, and of one sender in
    total."""

    each: int
    together: int


STRANGER = Room(1 << 20, 16 << 20)
"""All strangers together count as one sender."""
NODE = Room(64 << 20, 64 << 20)
"""A client's messages have at most 8 MiB, see lada.federation.pieces."""


class Fence:
    """An ASGI application in front of another: strangers can reach only paths that begin with `open`.

    It serves behind a lada.engines.door.Door, which tells it who is at the other end. It trusts no header except the
    one with the secret.
    """

    def __init__(
        self,
        app: App,
        log: Callable[[int, str], None],
        *,
        secret: str,
        open: str | None = None,
        sender: Sender = lambda _: None,
    ) -> None:
        self._app, self._log, self._secret, self._open, self._sender = app, log, secret, open, sender
        self._held: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with 403 (not for strangers), 413 (too large) or 503 (too many at once)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif self._open is not None and scope["path"].startswith(self._open):
            await self._admit(scope, receive, send)
        elif self._is_operators(scope):
            scope["extensions"][KEY].know(None)
            await self._app(scope, receive, send)
        else:
            why = (
                f"asked for {scope['path']!r}, which only processes of this user on this machine may that know the "
                "operator's secret; submit runs and manage keys from here, by `lada`"
            )
            await self._refuse(scope, send, 403, why)

    def _is_operators(self, scope: Scope) -> bool:
        connection = scope.get("extensions", {}).get(KEY)
        return (
            scope["type"] == "http"
            and connection is not None
            and is_secret(self._secret, scope["headers"])
            and _is_mine(connection.client, connection.server)
        )

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a client's body as far as there is room for it, and pass it on."""
        connection = scope["extensions"][KEY]
        key = await asyncio.to_thread(self._sender, scope)
        room, owner = (STRANGER, b"") if key is None else (NODE, key)
        if key is not None:
            connection.know(room.each)
        declared = int(dict(scope["headers"]).get(b"content-length", 0))
        parts: list[bytes] = []
        size, more, status = 0, True, self._fault(room, owner, declared, declared)
        try:
            while more and not status:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                part, more = message.get("body", b""), message.get("more_body", False)
                parts.append(part)
                size += len(part)
                self._held[owner] += len(part)
                status = self._fault(room, owner, size, 0)
            if status:
                whose = "no registered key vouches for" if key is None else "one client sent"
                limit = room.each if status == 413 else room.together
                await self._refuse(
                    scope, send, status, f"sent more than the {counted(limit, 'byte')} that {whose} may have"
                )
                return
            body = b"".join(parts)
            parts.clear()
            await self._app(scope, _again(body, receive), self._told(scope, send))
        finally:
            self._held[owner] -= size
            if not self._held[owner]:
                del self._held[owner]

    def _fault(self, room: Room, owner: bytes, size: int, coming: int) -> int:
        """Return the HTTP status with which a body of that size is refused; 0 if there is room for it."""
        if size > room.each:
            return 413
        return 503 if self._held[owner] + coming > room.together else 0

    def _told(self, scope: Scope, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and (advice := ADVICE.get(message["status"])):
                self._log(WARNING, f"refused: a client at {_who(scope)}: {advice}")
            await send(message)

        return told

    async def _refuse(self, scope: Scope, send: Send, status: int, why: str) -> None:
        self._log(WARNING, f"refused: {_who(scope)} {why}")
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a receiver that first replays the body that was read, then passes on further messages."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return again


def _who(scope: Scope) -> str:
    connection = scope.get("extensions", {}).get(KEY)
    return str(((connection and connection.client) or ("an unknown address",))[0])


def _is_mine(client: End | None, server: End | None) -> bool:
    """Return whether the other end of a connection is a process of this user on this machine.

    The kernel lists this machine's sockets with their owners. Where it does not (macOS), any loopback address counts.
    """
    if client is None or server is None:
        return False
    try:
        host, here = _address(client), _address(server)
    except ValueError:
        return False
    if not any(table.exists() for table in TABLES.values()):
        return host.is_loopback
    return owners((host, client[1]), (here, server[1])) == {os.getuid()}


def _address(end: End) -> Address:
    host = ipaddress.ip_address(end[0])
    return getattr(host, "ipv4_mapped", None) or host  # as a server at :: sees a client of IPv4


def owners(local: tuple[Address, int], remote: tuple[Address, int]) -> set[int]:
    """Return the user ids that own a TCP connection of this machine with these ends, if it is established.

    The kernel lists a closed connection as root's, regardless of its owner. So both ends and the state have to match.
    """
    here, there, found = _kernel_forms(local), _kernel_forms(remote), set()
    for table in TABLES.values():
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            cells = row.split()
            if cells[1] in here and cells[2] in there and cells[3] == ESTABLISHED:
                found.add(int(cells[7]))
    return found


def _kernel_forms(end: tuple[Address, int]) -> set[str]:
    """Return the forms in which /proc/net may list an end."""
    host, port = end
    hosts = [host, ipaddress.IPv6Address(f"::ffff:{host}")] if isinstance(host, ipaddress.IPv4Address) else [host]
    return {f"{_kernel_form(one)}:{port:04X}" for one in hosts}


def _kernel_form(host: Address) -> str:
    """Return an address as /proc/net lists it: 32-bit words in the machine's byte order, hexadecimal."""
    words = struct.unpack(f"!{len(host.packed) // 4}I", host.packed)
    return "".join(struct.pack("=I", word).hex().upper() for word in words)
