"""The main loop of a process that studies a model together with others: see lada.models.replicas.

Studies arrive on stdin, each as a line of JSON followed by bytes; reports about them go to stdout.
"""

import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

import torch

from lada.core.errors import LadaError
from lada.core.owner import owner_only
from lada.core.shown import shown
from lada.models.assignment import Assignment
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.models.ranks import Group
from lada.models.replicas import DONE, FAILED, READY


def main() -> None:
    """Load the model, then study until stdin ends or a study fails."""
    owner_only()
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # all printed output goes to the log
    told, _ = _read(inbox)
    tasks: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, tasks), daemon=True).start()

    def say(word: str, **more: Any) -> None:
        outbox.write(json.dumps({"word": word, **more}) + "\n")

    try:
        torch.set_num_threads(told["threads"])
        options = ModelOptions.model_validate_json(told["options"])
        alone = options.model_copy(update={"parallel": None})
        learner = load(told["source"], alone, init_seed=told["init_seed"])
        while True:
            how, data = tasks.get()
            given = Assignment.read(data)
            say(READY)
            group = Group(
                told["rank"], how["size"], torch.device(learner.device), Path(how["store"]), how["timeout"], _nobody
            )
            learner.study_among(
                group, given.lessons, given.objective, given.study, seed=given.seed, course=given.course
            )
            say(DONE, notices=learner.take_shrunk())
    except LadaError as error:
        say(FAILED, kind=type(error).__name__, why=str(error))
    except Exception as error:
        sys.stderr.write(shown(traceback.format_exc()))
        say(FAILED, kind=type(error).__name__, why=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def _nobody() -> None:
    """Watch no other rank: rank 0 watches them, and this process ends with it."""


def _read(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Return the next line of JSON and the bytes after it. Raises EOFError if the other side is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    told = json.loads(line)
    data = stream.read(told["bytes"])
    if len(data) < told["bytes"]:
        raise EOFError
    return told, data


def _listen(inbox: IO[bytes], tasks: "queue.SimpleQueue[tuple[dict[str, Any], bytes]]") -> None:
    """Queue incoming studies. If the main process is gone, end this process at once, even during a study."""
    try:
        while True:
            tasks.put(_read(inbox))
    except EOFError:
        os._exit(0)
