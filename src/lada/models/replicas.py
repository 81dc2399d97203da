"""Manages the processes that study a model together with this one: they start at the first study and end with the
learner.

Each loads the model once and keeps it. When their parent is gone, for whatever reason, their stdin closes and they end.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from lada.core.errors import InputError, LadaError
from lada.core.shown import in_one_line
from lada.models.assignment import Assignment
from lada.models.options import ModelOptions
from lada.models.ranks import LONGEST_PAUSE, Group, Ranks

BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lada.models.replica import main; main()"
GRACE = 5.0
"""Seconds between asking a process to end and killing it. A failed process has as long to report the reason."""
READY, DONE, FAILED = "ready", "done", "failed"
"""The reports of a process, each a line of JSON: it is ready to be met, has studied, or has failed."""


class Replicas:
    """Ranks 1 to `processes` - 1 of a model; the learner itself is rank 0."""

    def __init__(self, source: str, options: ModelOptions, init_seed: int) -> None:
        """`source` is the folder or hub id that the learner was loaded from, with these options."""
        assert options.parallel is not None
        self._told = {"source": source, "options": options.model_dump_json(), "init_seed": init_seed}
        self.size = options.parallel.processes
        self._timeout = options.parallel.timeout
        self._live: list[_Replica] = []
        self._studies = 0
        self._folder = Path(tempfile.mkdtemp(prefix="lada-ranks-"))
        self._finalizer = weakref.finalize(self, _end, self._live, self._folder)

    def close(self) -> None:
        """End all processes; no study can follow."""
        self._finalizer()

    def take_notices(self) -> tuple[str, ...]:
        """Return the other ranks' notices for the user since the last call."""
        told = tuple(f"rank {each.rank} of {self.size}: {notice}" for each in self._live for notice in each.notices)
        for each in self._live:
            each.notices.clear()
        return told

    @contextmanager
    def studying(self, assignment: Assignment, device: torch.device) -> Iterator[Ranks]:
        """Let all ranks begin a study, yield this rank's group, and wait for the others to finish.

        Raises LadaError that names a rank which ended or failed, and its reason. Then all ranks end, and the next study
        starts new ones.
        """
        data = assignment.to_bytes()
        try:
            if not self._live:
                self._live += [_Replica(rank, self._told, self._folder, device) for rank in range(1, self.size)]
            self._studies += 1
            store = self._folder / f"study-{self._studies}"
            for each in self._live:
                each.send({"store": str(store), "size": self.size, "timeout": self._timeout}, data)
            self._wait(READY)
            try:
                yield Group(0, self.size, device, store, self._timeout, self._watch)
            except (RuntimeError, TimeoutError) as error:  # gloo and NCCL raise this if another rank is gone
                self._explain(error)
                raise
            self._wait(DONE)
            store.unlink(missing_ok=True)
        except BaseException:
            _end_all(self._live)
            raise

    def _wait(self, word: str) -> None:
        """Wait until all ranks have reported `word`."""
        end = time.monotonic() + self._timeout
        while not all(each.has_said(word) for each in self._live):
            self._watch()
            if time.monotonic() > end:
                silent = next(each.rank for each in self._live if not each.has_said(word))
                raise LadaError(
                    f"model.parallel: rank {silent} of {self.size} has been silent for {self._timeout:g} s; set a "
                    "larger parallel.timeout, or leave parallel out"
                )
            time.sleep(LONGEST_PAUSE)

    def _watch(self) -> None:
        """Raise an error for a rank that has failed or ended."""
        for each in self._live:
            each.check(self.size)

    def _explain(self, error: Exception) -> None:
        """Raise a rank's own explanation of an error, if there is one; otherwise report that others are silent."""
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            self._watch()
            time.sleep(LONGEST_PAUSE)
        if isinstance(error, TimeoutError):
            raise LadaError(f"model.parallel: {error}; set a larger parallel.timeout, or leave parallel out") from error


class _Replica:
    """One process with its pipes and its log."""

    def __init__(self, rank: int, told: Mapping[str, Any], folder: Path, device: torch.device) -> None:
        self.rank = rank
        self._log = folder / f"rank-{rank}.log"
        self._received: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._said: set[str] = set()
        self._failure: dict[str, str] | None = None
        self.notices: list[str] = []
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_visible(rank, device)},
                start_new_session=True,  # a terminal's Ctrl-C reaches only the main process
            )
        threading.Thread(target=_hear, args=(self.process.stdout, self._received), daemon=True).start()
        self.send({**told, "rank": rank, "threads": torch.get_num_threads()})

    def send(self, told: Mapping[str, Any], data: bytes = b"") -> None:
        """Send a line of JSON, followed by as many bytes as it announces. Data for a dead process is lost."""
        assert self.process.stdin is not None
        self._said.clear()
        with suppress(OSError):
            self.process.stdin.write(json.dumps({**told, "bytes": len(data)}).encode() + b"\n" + data)
            self.process.stdin.flush()

    def has_said(self, word: str) -> bool:
        """Return whether it has reported `word` since something was last sent to it."""
        with suppress(queue.Empty):
            while True:
                told = self._received.get_nowait()
                self._said.add(told["word"])
                self.notices += told.get("notices", ())
                if told["word"] == FAILED:
                    self._failure = told
        return word in self._said

    def check(self, size: int) -> None:
        """Raise InputError or LadaError if it has failed or ended."""
        ended = self.process.poll()
        if ended is not None:
            time.sleep(LONGEST_PAUSE)  # its last report may still be on the way
        self.has_said("")
        who = f"model.parallel: rank {self.rank} of {size}"
        if self._failure is not None:
            kind = InputError if self._failure["kind"] == InputError.__name__ else LadaError
            raise kind(f"{who}: {self._failure['why']}")
        if ended is not None:
            raise LadaError(
                f"{who} ended during a study (code {ended}){self._last_words()}; give it the memory that it needs, or "
                "leave parallel out"
            )

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            if told := next((line for line in reversed(lines) if line.strip()), ""):
                return f", its last output: {in_one_line(told.strip()[:300])!r}"
        return ""


def _hear(stream: Any, received: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in stream:
        received.put(json.loads(line))


def _visible(rank: int, device: torch.device) -> dict[str, str]:
    """Return the environment variable that limits a process to one CUDA device, that of its rank."""
    if device.type != "cuda":
        return {}
    seen = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    return {"CUDA_VISIBLE_DEVICES": seen[rank] if seen else str(rank)}


def _end(replicas: list[_Replica], folder: Path) -> None:
    _end_all(replicas)
    shutil.rmtree(folder, ignore_errors=True)


def _end_all(replicas: list[_Replica]) -> None:
    """End all processes and forget them."""
    for each in replicas:
        each.process.terminate()
    for each in replicas:
        try:
            each.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()
        for pipe in (each.process.stdin, each.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
    replicas.clear()
