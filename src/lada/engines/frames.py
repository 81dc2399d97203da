"""Messages between relay and worker over a Unix socket: a head of plain JSON, then the parts as bytes."""

import json
import socket
from collections.abc import Mapping
from typing import IO, Any, cast

from lada.federation.worker_process import FAILURE, REPLY, TASK, read_frame, write_frame

__all__ = ["FAILURE", "REPLY", "TASK", "fail", "opened", "receive", "send"]
PART = b"P"


def opened(connection: socket.socket) -> IO[bytes]:
    """Return a connection as a stream to read and write."""
    return cast(IO[bytes], connection.makefile("rwb"))


def send(stream: IO[bytes], tag: bytes, head: Mapping[str, Any], payload: Mapping[str, bytes]) -> None:
    """Send a head and the parts of a payload."""
    kinds = sorted(payload)
    write_frame(stream, tag, json.dumps({**head, "kinds": kinds}).encode())
    for kind in kinds:
        write_frame(stream, PART, payload[kind])


def fail(stream: IO[bytes], text: str) -> None:
    """Send that a task failed, and why."""
    write_frame(stream, FAILURE, text.encode())


def receive(stream: IO[bytes]) -> tuple[bytes, dict[str, Any], dict[str, bytes]]:
    """Return tag, head and payload; for a failure, the head holds its `text`. Raises EOFError if the other side is
    gone."""
    tag, data = read_frame(stream)
    if tag == FAILURE:
        return tag, {"text": data.decode()}, {}
    head = json.loads(data)
    return tag, head, {kind: read_frame(stream)[1] for kind in head.pop("kinds")}
