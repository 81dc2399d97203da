"""The main loop of one worker process: tasks arrive on stdin, events and replies go to stdout, as tagged byte
frames."""

import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from lada.core.errors import InputError
from lada.core.owner import owner_only
from lada.core.shown import shown

START, NAME, TASK, EVENT, REPLY, FAILURE = b"S", b"N", b"T", b"E", b"R", b"F"
HEADER = struct.Struct(">cQ")


def write_frame(stream: IO[bytes], tag: bytes, data: bytes) -> None:
    """Write one frame: tag (1 byte), length (8 bytes), data."""
    stream.write(HEADER.pack(tag, len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[bytes, bytes]:
    """Return tag and data of the next frame. Raises EOFError if the other side is gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    tag, length = HEADER.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return tag, data


def load(path: str) -> Callable[..., Any]:
    """Return the function at `package.module:function`. Raises InputError if there is none."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{path!r}: no such function ({error}); expected 'package.module:function'") from error
    return found


def main() -> None:
    """Serve until stdin closes. The output of tasks goes to stderr, so that stdout carries only frames."""
    owner_only()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends this one
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # line by line: a process that is killed flushes nothing
    lock = threading.Lock()

    def send(tag: bytes, data: bytes) -> None:
        with lock:
            write_frame(outbox, tag, data)

    def emit(event: dict[str, Any]) -> None:
        send(EVENT, json.dumps(event).encode())

    _, first = read_frame(inbox)
    factory, config = json.loads(first)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, tasks), daemon=True).start()
    handle = load(factory)(config, emit)
    while True:
        name, data = tasks.get().decode(), tasks.get()
        try:
            tag, reply = REPLY, handle(name, data)
        except Exception:
            sys.stderr.write(shown(traceback.format_exc()))
            tag, reply = FAILURE, b""
        send(tag, reply)


def _listen(inbox: IO[bytes], tasks: "queue.SimpleQueue[bytes]") -> None:
    """Queue incoming tasks. If the main process is gone, end this process at once, even during a task."""
    try:
        while True:
            tasks.put(read_frame(inbox)[1])
    except EOFError:
        os._exit(0)
