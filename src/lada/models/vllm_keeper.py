"""Keeps one server running. The server and all its processes end when their starter ends, however that happens.

It is run with a command, as JSON, after the arguments of BOOT. The starter makes it the leader of a session and holds
its stdin open. Its exit code is the server's if the server ends first.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import psutil

GRACE = 10.0
"""Seconds between asking the server to end and killing the rest of it."""
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lada.models.vllm_keeper import main; main()"


def main() -> None:
    """Run the command until stdin closes, SIGTERM arrives, or the command ends by itself."""
    server = subprocess.Popen(json.loads(sys.argv[2]), stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: leave(0))
    threading.Thread(target=_listen, daemon=True).start()
    code = server.wait()
    leave(code if 0 < code < 256 else 1)


def leave(code: int) -> None:
    """End all processes of this session, then this process."""
    members = [each for each in psutil.process_iter() if each.pid != os.getpid() and _is_ours(each.pid)]
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for each in members:
            with suppress(psutil.Error):
                ask(each)
        _, members = psutil.wait_procs(members, timeout=GRACE)
    os._exit(code)


def _is_ours(pid: int) -> bool:
    with suppress(OSError):
        return os.getsid(pid) == os.getsid(0)
    return False


def _listen() -> None:
    sys.stdin.buffer.read()
    leave(0)
