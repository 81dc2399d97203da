"""A run meets a full disk, a read-only folder, too few open files, or a clock that is set back.

Each attempt is a run in a process of its own, by the command line. It has to end with one line that says what is wrong,
and then go on with `--resume` to the bits of a run that had no such trouble; a clock that goes back changes nothing.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import harness
import kills_local
import yaml

FILE_BYTES = (1_000, 10_000, 100_000, 300_000, 600_000)
"""The largest size of a file in bytes: writing fails at this size, as if the disk were full."""
OPEN_FILES = (12, 16, 24)
WRITES = (10, 40, 90, 160)
"""After so many files that were opened for writing, no other is to be had."""


def forked(runs: Path, spoil: Callable[[], None]) -> tuple[int, str]:
    """Run `lada run --resume` in a fork that was spoilt before; return its exit code and what it printed."""
    log = runs.parent / "said.log"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            handle = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            spoil()
            from corruption import command

            code, text = command("run", str(runs.parent / "run.yaml"), "--runs", str(runs), "--resume")
            os.write(1, text.encode()[-900:])
        except BaseException as error:
            os.write(1, f"Traceback {type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, log.read_text(errors="replace")


def no_room(errno_: int, after: int) -> None:
    """Refuse every file that is opened for writing after so many, as a disk does that is full or read-only."""
    count = 0

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event != "open" or not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if "/runs/" in str(arguments[0]):
            count += 1
            if count > after:
                raise OSError(errno_, os.strerror(errno_), str(arguments[0]))

    sys.addaudithook(refuse)


def limited(kind: int, most: int) -> None:
    """Set a limit of the system."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with an error
    resource.setrlimit(kind, (most, most))


def clock_back() -> None:
    """Set the clock back by a day."""
    now = time.time
    time.time = lambda: now() - 86_400


def attack() -> harness.Count:
    """Try every bad place."""
    import errno

    import torch

    torch.set_num_threads(1)
    tried, wrong = 0, 0
    attempts: list[tuple[str, Callable[[], None]]] = [
        *((f"files of {n} bytes", lambda n=n: limited(resource.RLIMIT_FSIZE, n)) for n in FILE_BYTES),
        *((f"{n} open files", lambda n=n: limited(resource.RLIMIT_NOFILE, n)) for n in OPEN_FILES),
        *((f"disk full after {n} files", lambda n=n: no_room(errno.ENOSPC, n)) for n in WRITES),
        *((f"read-only after {n} files", lambda n=n: no_room(errno.EROFS, n)) for n in WRITES),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole" / "runs"
        whole.mkdir(parents=True)
        (whole.parent / "run.yaml").write_text(yaml.safe_dump(kills_local.config()), encoding="utf-8")
        kills_local.run(whole)
        expected = kills_local.state(whole)
        for number, (what, spoil) in enumerate([*attempts, ("clock back", lambda: None)]):
            runs = Path(temporary) / str(number) / "runs"
            runs.mkdir(parents=True)
            (runs.parent / "run.yaml").write_text(yaml.safe_dump(kills_local.config()), encoding="utf-8")
            faults = []
            if what == "clock back":
                kills_local.attempt(runs, 0.5)
                code, text = forked(runs, clock_back)
            else:
                code, text = forked(runs, spoil)
                errors = [line for line in text.splitlines() if line.startswith("error: ")]
                if "Traceback" in text or (code != 0 and len(errors) != 1) or code not in (0, 1, 2):
                    faults.append(f"code {code}: {text}")
                code, text = forked(runs, lambda: None)
            if code:
                faults.append(f"--resume: {code}: {text}")
            else:
                found = kills_local.state(runs)
                faults += [f"other {key}" for key in expected if found[key] != expected[key]]
            tried += 1
            if faults:
                wrong += 1
                print(json.dumps([what, faults]), file=sys.stderr, flush=True)
    outcome = "One line says what is wrong, and the resumed run ends with results that are identical bit for bit."
    return harness.Count(tried, wrong, outcome)


if __name__ == "__main__":
    os.chdir(harness.ROOT)
    harness.main(attack)
