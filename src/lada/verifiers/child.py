"""The process that a verifier's functions run in: `python -P child.py SOCKET MEMORY FILE`; JSON in, JSON out.

It needs only Python. A reply carries its request's number and the id of the process that sends it; a child that a
function forks sends none. The output of functions is discarded, so no part of an answer reaches a terminal.
"""

import json
import math
import os
import signal
import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import Connection
from types import ModuleType, SimpleNamespace
from typing import Any

NAME = "lada_verifier"


def main() -> None:
    """Load the file, report whether that worked, and serve calls until the other end is closed."""
    own = os.getpid()
    calls, memory, file = Connection(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which then ends this one
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    _limit(memory)
    reply = _told(lambda: _load(file))
    module = sys.modules.get(NAME)
    _send(calls, own, 0, reply)
    while module is not None:
        try:
            request = json.loads(calls.recv_bytes())
        except EOFError:
            return
        # The kernel ends a call that never ends, even if the main process is gone.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + 1)
        reply = _told(lambda: _call(module, request))  # noqa: B023 - called at once
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(calls, own, request["number"], reply)


def _send(calls: Connection, own: int, number: int, reply: dict[str, Any]) -> None:
    """Send a reply, unless this is a forked copy of the process `own`, which ends here."""
    if os.getpid() != own:
        os._exit(0)
    calls.send_bytes(json.dumps({"number": number, "process": own, **reply}).encode())


def _limit(memory: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # macOS has no such limit; the time limit still holds


def _load(file: str) -> dict[str, Any]:
    """Import the file and return the names of its functions."""
    spec = spec_from_file_location(NAME, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[NAME]
        raise
    return {"result": [name for name, value in vars(module).items() if callable(value)]}


def _call(module: ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    arguments = [SimpleNamespace(**value) if isinstance(value, dict) else value for value in request["arguments"]]
    result = getattr(module, request["function"])(*arguments)
    return _score(result) if request["score"] else {"result": result}


def _score(result: Any) -> dict[str, Any]:
    try:
        score = float(result)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    return {"result": score} if 0 <= score <= 1 else {"failure": "gave no score from 0 to 1"}


def _told(do: Any) -> dict[str, Any]:
    """Return the result of `do`, or else the name and place of its error, but not the error's text."""
    try:
        return do()
    except MemoryError:
        return {"failure": "ran out of memory"}
    except BaseException as error:  # SystemExit too: a verifier that exits costs one answer
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        place = f" in line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)}" if frames else ""
        return {"failure": f"raised {type(error).__name__}{place}"}


if __name__ == "__main__":
    main()
