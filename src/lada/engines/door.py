"""Connections to Flower's servers, from their first byte: clients that are too slow or send too much are cut off.

uvicorn waits forever for the end of a request's head or body and keeps heads of any size. asyncio hands over a TLS
connection only after the handshake. Here each step has a time limit. Strangers, whose requests carry no registered key
yet, share a few connections. If there are more, the oldest is dropped, so that many idle strangers keep nobody out.
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
"""The most bytes of an unfinished head; about a thousand are usual."""
BODY = 30.0
"""Seconds for a stranger's body, and between two checks of a known sender's body."""
LEAST = 256 << 10
"""Bytes that a known sender must send in `BODY` seconds: 9 kB/s. Flower accepts a body up to 305 s after its signature;
a message of 8 MiB needs three times that rate anyway."""
STRANGERS = 128
"""The most connections of strangers at a time. A client is a stranger until its first request, for less than a
second."""
SUMMARY = 60.0
"""Seconds over which the log sums up connections that were cut off."""


class Door:
    """The state that all connections to one server share."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._strangers: dict[Connection, None] = {}
        self._cut: Counter[str] = Counter()

    def enter(self, connection: Connection) -> None:
        """Admit a connection; if there are too many of strangers, drop the oldest."""
        self._strangers[connection] = None
        if len(self._strangers) > STRANGERS:
            next(iter(self._strangers)).cut(f"more than {STRANGERS} connections without a known sender")

    def leave(self, connection: Connection) -> None:
        """Stop counting a connection: it is closed, or its sender is known."""
        self._strangers.pop(connection, None)

    def tell(self, loop: asyncio.AbstractEventLoop, who: str, why: str) -> None:
        """Log that a connection was cut off: the first of its kind at once, later ones in a sum each minute."""
        if not self._cut[why]:
            self._log(WARNING, f"refused: dropped a connection of {who}: {why}")
            loop.call_later(SUMMARY, self._sum_up, why)
        self._cut[why] += 1

    def _sum_up(self, why: str) -> None:
        if (more := self._cut.pop(why) - 1) > 0:
            self._log(WARNING, f"refused: dropped {counted(more, 'more connection')}: {why}")

    def options(self) -> dict[str, Any]:
        """Return the options with which uvicorn serves through this door and trusts no header about the sender."""
        return {
            "http": partial(Connection, self),
            "loop": Loop,
            "ws": "none",
            "proxy_headers": False,
            "forwarded_allow_ips": [],
        }


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a time limit for each step. `cut` ends it in any state."""

    def __init__(self, door: Door, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._door = door
        self._base: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._in_body = True, False
        self._bytes = 0  # of the head, then of the whole body with its framing
        self._most: int | None = STRANGER.each + HEAD_BYTES
        self._early = b""
        self.is_known = False

    def enter(self, base: asyncio.Transport) -> None:
        """Start the time limit of a connection whose bytes arrive through `base`."""
        self._base = base
        self._door.enter(self)
        self._within(HANDSHAKE, "no TLS handshake in time")

    def know(self, most: int | None) -> None:
        """Treat the sender as known: its body may have `most` bytes (None: any number) and arrive more slowly."""
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
        if self.scope is not None:  # else a cycle would keep this connection until garbage is collected
            cast(dict[str, Any], self.scope).pop("extensions", None)
        if self.transport is not None:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Continue to read, unless there are too many bytes."""
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
        """Start to wait for the end of a head."""
        self._in_head, self._in_body = True, False
        self._bytes = 0
        super().on_message_begin()
        self._within(HEAD, "no head of a request in time")

    def on_headers_complete(self) -> None:
        """Begin to answer, and wait for the end of the body."""
        assert self.parser is not None
        if self.parser.should_upgrade():  # the parser would treat an error raised here as a broken request
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
        """Stop waiting: the server answers now."""
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
        """Check a body at intervals until it is complete."""
        if self._bytes - before < LEAST and not self.flow.read_paused:
            self.cut(f"a body of less than {LEAST} bytes in {BODY:g} s")
            return
        self._stop()
        self._timer = self.loop.call_later(BODY, self._watch, self._bytes)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose servers learn of a connection before its TLS handshake."""

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
        with suppress(OSError):  # the TLS context reports the error, see lada.engines.handshake
            secured = await self._loop.start_tls(transport, connection, self._context, server_side=True)
        if secured is None:
            connection.connection_lost(None)
        else:
            connection.connection_made(secured)
