"""Compares the meaning of two LaTeX answers by math-verify (optional extra `math`), in a separate process.

A short answer such as `9^{9^{9^9}}` keeps a computer algebra system busy forever, inside one call that no signal
handler and no thread can end. So this file also runs as a script that answers one JSON line per pair. The operating
system ends it if a pair takes longer than SECONDS of processor time, and the next pair gets a fresh process.
"""

import atexit
import json
import logging
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec

SECONDS = 5.0
"""Processor time for one pair, not wall-clock time: a busy machine does not change a verdict."""

MEMORY = 4 << 30
"""The most bytes of address space for the process."""

PLACES = 12
"""The number of decimal places in which numbers must agree: `0.333333` is not a third."""

_lock = threading.Lock()
_worker: subprocess.Popen[str] | None = None


def missing() -> str | None:
    """Return why this machine cannot compare LaTeX, with the fix, or None."""
    from lada.core.extras import needed  # here, since this file also runs as a script

    if find_spec("math_verify") is None:
        return needed("math-verify", "math")
    if not hasattr(signal, "setitimer"):
        return "needs a POSIX system, which can end a comparison that takes too long; use the kind 'text' or 'number'"
    return None


@lru_cache(maxsize=4096)
def same_latex(answer: str, gold: str) -> bool:
    """Return whether math-verify finds two expressions equal; False if it fails or takes too long."""
    global _worker  # noqa: PLW0603 - one helper process serves all threads
    with _lock:
        if _worker is None or _worker.poll() is not None:
            _worker = subprocess.Popen(
                [sys.executable, "-P", __file__, str(SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(_worker.kill)
        assert _worker.stdin is not None
        assert _worker.stdout is not None
        try:
            _worker.stdin.write(json.dumps([answer, gold]) + "\n")
            _worker.stdin.flush()
            verdict = _worker.stdout.readline()
        except BrokenPipeError:
            verdict = ""
        if not verdict:
            _worker.kill()
            _worker.wait()
        return verdict == "true\n"


def _serve(seconds: float) -> None:
    from resource import RLIMIT_AS, setrlimit  # only on POSIX, as is this script

    math = import_module("math_verify")
    with suppress(OSError, ValueError):  # a system without a memory limit still limits time
        setrlimit(RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer, gold = (math.parse(f"${text}$", parsing_timeout=None) for text in json.loads(line))
        same = bool(
            answer
            and gold
            and math.verify(gold, answer, float_rounding=PLACES, allow_set_relation_comp=True, timeout_seconds=None)
        )
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(same), flush=True)


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
