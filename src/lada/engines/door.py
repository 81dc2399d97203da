"""Connections to Flower's servers, from their first byte: who keeps one waiting or says too much is cut off.

uvicorn waits for ever for the end of a request's head or body and keeps heads of any size; asyncio hands over a
connection of TLS only after the handshake. Here each step has its time, and strangers, whose requests nobody has
vouched for yet, have few connections: where there are more, the oldest is dropped, so that a crowd of idle ones keeps
nobody out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from logging import WARNING
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lada.core.plural import counted
from lada.engines.fence import KEY, STRANGER

Log = Callable[[int, str], None]
HANDSHAKE = 20.0
"""Seconds for a TLS handshake."""
HEAD = 20.0
"""Seconds for the head of a request."""
HEAD_BYTES = 64 << 10
"""Most bytes of an unfinished head; about a thousand are usual."""
BODY = 30.0
"""Seconds for a stranger's body, and how often that of a known sender is looked at."""
LEAST = 256 << 10
"""Bytes that a known sender must send in `BODY` seconds: 9 kB/s. Flower takes a body within 305 s of its signature: a
message of 8 MiB needs three times that anyway."""
STRANGERS = 128
"""Most connections of strangers at a time. A client is one until its first request, for less than a second."""
SUMMARY = 60.0
"""Seconds over which connections that were cut off are summed up in the log."""


class Door:
    """What the connections to one server share."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._strangers: dict[Connection, None] = {}
        self._cut: Counter[str] = Counter()

    def enter(self, connection: Connection) -> None:
        """Take in a connection; where there are too many of strangers, drop the one that came first."""
        self._strangers[connection] = None
        if len(self._strangers) > STRANGERS:
            next(iter(self._strangers)).cut(f"more than {STRANGERS} connections without a known sender")

    def leave(self, connection: Connection) -> None:
        """Count a connection no longer: it is closed, or its sender known."""
        self._strangers.pop(connection, None)

    def tell(self, loop: asyncio.AbstractEventLoop, who: str, why: str) -> None:
        """Log that a connection was cut off: the first of its kind at once, the others of the next minute as a sum."""
        if not self._cut[why]:
            self._log(WARNING, f"refused: dropped a connection of {who}: {why}")
            loop.call_later(SUMMARY, self._sum_up, why)
        self._cut[why] += 1

    def _sum_up(self, why: str) -> None:
        if (more := self._cut.pop(why) - 1) > 0:
            self._log(WARNING, f"refused: dropped {counted(more, 'more connection')}: {why}")

    def options(self) -> dict[str, Any]:
        """Return the options by which uvicorn serves through this door, and believes no header about who is there."""
        return {
            "http": partial(Connection, self),
            "loop": Loop,
            "ws": "none",
            "proxy_headers": False,
            "forwarded_allow_ips": [],
        }


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a time for each step. `cut` ends it whatever its state."""

    def __init__(self, door: Door, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._base: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._in_body = True, False
        self._bytes = 0  # of the head, then of the body with all that is around it
        self._most: int | None = STRANGER.each + HEAD_BYTES
        self._early = b""
        self.is_known = False

    def enter(self, base: asyncio.Transport) -> None:
        """Begin to count time for a connection whose bytes come by `base`."""
        self._base = base
        self._door.enter(self)
        self._within(HANDSHAKE, "no TLS handshake in time")

    def know(self, most: int | None) -> None:
        """Treat the sender as known: a body of it may have `most` bytes (None: any number), and come more slowly."""
        self._most = None if most is None else most + HEAD_BYTES
        if not self.is_known:
            self.is_known = True
            self._door.leave(self)
            if self._in_body:
                self._watch()

    def cut(self, why: str) -> None:
        """End the connection at once."""
        self._stop()
        self._door.leave(self)
        if self._base is not None and not self._base.is_closing():
            self._base.abort()
            peer = self._base.get_extra_info("peername") or ("an unknown address",)
            self._door.tell(self.loop, str(peer[0]), why)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        if self._base is None:
            self.enter(transport)
        super().connection_made(transport)
        self._within(HEAD, "no head of a request in time")
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        self._door.leave(self)
        if self.scope is not None:  # it would keep this connection and its buffers until Python looks for cycles
            cast(dict[str, Any], self.scope).pop("extensions", None)
        if self.transport is not None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless that is too much."""
        if self.transport is None:  # it came with the last bytes of the handshake
            self._early += data
            return
        if self._in_head and self._timer is None:  # another request on a connection that was idle
            self._within(HEAD, "no head of a request in time")
        self._bytes += len(data)
        super().data_received(data)
        if self._in_head and self._bytes > HEAD_BYTES:
            self.cut(f"a head of more than {HEAD_BYTES} bytes")
        elif self._in_body and self._most is not None and self._bytes > self._most:
            self.cut("a body of more bytes than allowed")

    def on_message_begin(self) -> None:
        """Wait for the end of a head."""
        self._in_head, self._in_body = True, False
        self._bytes = 0
        super().on_message_begin()
        self._within(HEAD, "no head of a request in time")

    def on_headers_complete(self) -> None:
        """Begin to answer, and wait for the end of the body."""
        assert self.parser is not None
        if self.parser.should_upgrade():  # the parser takes what is raised here for a broken request
            raise ValueError("no other protocol than HTTP/1 is served")
        self._in_head, self._in_body = False, True
        self._bytes = 0
        cast(dict[str, Any], self.scope)["extensions"] = {KEY: self}
        super().on_headers_complete()
        if self.is_known:
            self._watch()
        else:
            self._within(BODY, "no body of a request in time")

    def on_message_complete(self) -> None:
        """Wait for nothing: it is the server's turn."""
        self._in_head, self._in_body = True, False
        self._bytes = 0
        self._stop()
        super().on_message_complete()

    def _within(self, seconds: float, why: str) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.cut, why)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, before: int = -LEAST) -> None:
        """Look at a body again and again until it is whole."""
        if self._bytes - before < LEAST and not self.flow.read_paused:
            self.cut(f"a body of less than {LEAST} bytes in {BODY:g} s")
            return
        self._stop()
        self._timer = self.loop.call_later(BODY, self._watch, self._bytes)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose servers know of a connection before its TLS handshake."""

    async def create_server(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:  # pyright: ignore
        """Serve as asyncio does."""
        if context := options.pop("ssl", None):
            protocol_factory = partial(Entrance, self, protocol_factory, context)
        return await super().create_server(protocol_factory, *arguments, **options)


class Entrance(asyncio.Protocol):
    """A connection until its TLS handshake is over."""

    def __init__(self, loop: Loop, make: Callable[[], Connection], context: ssl.SSLContext) -> None:
        self._loop, self._make, self._context = loop, make, context
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin the handshake."""
        transport.pause_reading()  # its first byte is for the handshake
        connection = self._make()
        connection.enter(transport)
        self._task = self._loop.create_task(self._shake_hands(transport, connection))

    async def _shake_hands(self, transport: asyncio.Transport, connection: Connection) -> None:
        secured = None
        with suppress(OSError):  # what was wrong the context tells, see lada.engines.handshake
            secured = await self._loop.start_tls(transport, connection, self._context, server_side=True)
        if secured is None:
            connection.connection_lost(None)
        else:
            connection.connection_made(secured)
