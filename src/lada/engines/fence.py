"""Who may talk to Flower's own interfaces.

Flower serves clients, operators and its own processes at one port, and takes an operator's word without asking who it
is: whoever reaches the port could submit a run or enrol a key. So all but the clients' part is for processes of this
user on this machine.
"""

import ipaddress
import os
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from logging import WARNING
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FLEET = "/v1/fleet/"
"""What clients use. Flower checks their keys."""
ADVICE = {
    401: "its signature or time does not fit its key; set the clocks of both machines and check that no two clients "
    "share a key",
    412: "its key is not registered here, or not in use; put the client's public key into the folder `keys` beside "
    "server.yaml and start `lada server` again, if it is to take part",
}
"""What to do about a client that Flower refused, by HTTP status."""
TABLES = {socket.AF_INET: Path("/proc/net/tcp"), socket.AF_INET6: Path("/proc/net/tcp6")}


class Fence:
    """An ASGI application in front of another: strangers get at the paths that begin with `open` alone."""

    def __init__(self, app: App, log: Callable[[int, str], None], *, open: str | None = None) -> None:
        self._app, self._log, self._open = app, log, open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fleet = self._open is not None and scope["path"].startswith(self._open)
        if not fleet and not _is_mine(scope.get("client")):
            self._log(
                WARNING,
                f"refused: {_who(scope)} asked for {scope['path']!r}, which only processes of this user on this "
                "machine may; submit runs and manage keys from here",
            )
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def told(message: Message) -> None:
            if fleet and message["type"] == "http.response.start" and (advice := ADVICE.get(message["status"])):
                self._log(WARNING, f"refused: a client at {_who(scope)}: {advice}")
            await send(message)

        await self._app(scope, receive, told)


def _who(scope: Scope) -> str:
    return str((scope.get("client") or ("an unknown address",))[0])


def _is_mine(client: tuple[str, int] | None) -> bool:
    """Return whether the other end of a connection is a process of this user on this machine.

    The kernel lists the sockets of this machine with their owners; where it does not (macOS), loopback has to do.
    """
    if client is None:
        return False
    try:
        host = ipaddress.ip_address(client[0])
    except ValueError:
        return False
    host = getattr(host, "ipv4_mapped", None) or host  # as a server at :: sees a client of IPv4
    if not any(table.exists() for table in TABLES.values()):
        return host.is_loopback
    return os.getuid() in owners(host, client[1])


def owners(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> set[int]:
    """Return the user ids that own a TCP socket of this machine with that local end."""
    forms = {_kernel_form(host)}
    if isinstance(host, ipaddress.IPv4Address):
        forms.add(_kernel_form(ipaddress.IPv6Address(f"::ffff:{host}")))
    found = set()
    for table in TABLES.values():
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            cells = row.split()
            if cells[1] in {f"{form}:{port:04X}" for form in forms}:
                found.add(int(cells[7]))
    return found


def _kernel_form(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return an address as /proc/net has it: 32-bit words in the machine's byte order, hexadecimal."""
    words = struct.unpack(f"!{len(host.packed) // 4}I", host.packed)
    return "".join(struct.pack("=I", word).hex().upper() for word in words)
