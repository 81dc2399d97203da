"""Strangers without a key fill the server's memory with bodies that are large, chunked, endless or never finished."""

import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import harness
import psutil
from links import links

EACH = 4
"""Strangers of each kind."""
LARGE = 32 << 20
ROOM = 96 << 20
"""Bytes by which the server's memory may grow: what 16 TLS connections and the room for strangers take."""
SECONDS = 45.0
"""After which a stranger that is still connected has got what it wanted; 30 are allowed."""
START = b"POST /v1/fleet/push-object HTTP/1.1\r\nhost: here\r\ncontent-type: application/x-protobuf\r\n"
BLOCK = bytes(1 << 16)
CHUNK = b"10000\r\n" + BLOCK + b"\r\n"


def large(connection: ssl.SSLSocket) -> None:
    """Send a large body as a whole."""
    connection.sendall(START + f"content-length: {LARGE}\r\n\r\n".encode())
    for _ in range(LARGE // len(BLOCK)):
        connection.sendall(BLOCK)


def chunked(connection: ssl.SSLSocket) -> None:
    """Send as much in chunks."""
    connection.sendall(START + b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(LARGE // len(BLOCK)):
        connection.sendall(CHUNK)
    connection.sendall(b"0\r\n\r\n")


def unfinished(connection: ssl.SSLSocket) -> None:
    """Send all of a large body but its end, and wait."""
    connection.sendall(START + f"content-length: {LARGE + 1}\r\n\r\n".encode())
    for _ in range(LARGE // len(BLOCK)):
        connection.sendall(BLOCK)


def dripping(connection: ssl.SSLSocket) -> None:
    """Send a small body a byte at a time."""
    connection.sendall(START + b"content-length: 1000\r\n\r\n")
    for _ in range(int(SECONDS)):
        connection.sendall(b"x")
        time.sleep(1)


def endless(connection: ssl.SSLSocket) -> None:
    """Send a head without an end."""
    connection.sendall(START + b"endless: ")
    for _ in range(LARGE // len(BLOCK)):
        connection.sendall(b"x" * len(BLOCK))


def silent(_connection: ssl.SSLSocket) -> None:
    """Send nothing after the handshake."""


KINDS = (large, chunked, unfinished, dripping, endless, silent)


def attack() -> harness.Count:
    """Let all kinds at it at once, and look at the server's memory meanwhile."""
    got: list[bool] = []
    with tempfile.TemporaryDirectory() as folder, links(Path(folder), tls=True) as (_, port, _, process):
        server = psutil.Process(process.pid)
        before = most = server.memory_info().rss
        strangers = [threading.Thread(target=stranger, args=(port, kind, got)) for kind in KINDS for _ in range(EACH)]
        strangers += [threading.Thread(target=stranger, args=(port, None, got)) for _ in range(EACH)]
        for thread in strangers:
            thread.start()
        while any(thread.is_alive() for thread in strangers):
            most = max(most, server.memory_info().rss)
            time.sleep(0.05)
    print(f"the server's memory grew by {(most - before) >> 20} MiB", file=sys.stderr)
    return harness.Count(
        len(strangers) + 1,
        sum(got) + (most - before > ROOM),
        "A body is refused after its first MiB, and slow connections end within 30 s. "
        f"The server's memory grows by less than {ROOM >> 20} MiB.",
    )


def stranger(port: int, kind: Callable[[ssl.SSLSocket], None] | None, got: list[bool]) -> None:
    """Put down whether a body was taken in, or a connection kept. Without a kind there is no TLS handshake."""
    began, answer = time.monotonic(), b""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as plain:
        try:
            if kind is None:
                answer = plain.recv(1)
            else:
                with context.wrap_socket(plain) as connection:
                    with suppress(ConnectionError, ssl.SSLError):
                        kind(connection)
                    answer = connection.recv(100)
        except TimeoutError:
            answer = b"still connected"
        except OSError:
            pass
    kept = time.monotonic() - began >= SECONDS
    got.append(kept or (bool(answer) and b" 413 " not in answer))


if __name__ == "__main__":
    harness.main(attack)
