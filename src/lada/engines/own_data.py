"""Splits the data of one configuration among the parties of a deployment."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lada.config import RunConfig
from lada.core.paths import exists
from lada.core.terms import Sample
from lada.federation.parties import read_task
from lada.tasks.options import Columns, FilesTask, HubTask
from lada.verifiers.options import FunctionOptions

PRIVATE = "private.jsonl"
SHARED, VERIFIER = ("public", "test", "replay"), "verifier"


def deal_out(config: RunConfig, base: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the task of each client and, under `server`, the server's.

    With a `files` task, the public, test and replay files are copied into every party's folder. Each client's samples,
    the same as in a local run, are written into its own folder. With other tasks, every party draws the same data from
    a common source.
    """
    task = config.task.model_dump(mode="json", exclude_defaults=True) | {"kind": config.task.kind}
    names = [client.name for client in config.clients]
    verifier = config.task.verifier if isinstance(config.task, (FilesTask, HubTask)) else None
    if isinstance(config.task, HubTask):
        if isinstance(verifier, FunctionOptions):
            task[VERIFIER] = _with_file(verifier, str((base / verifier.file).resolve()))
        for key in ("source", "corpus"):  # its copies and descriptions stay where they are
            if key in task and exists(base / task[key]):
                task[key] = str((base / task[key]).resolve())
    if not isinstance(config.task, FilesTask):
        return dict.fromkeys(["server", *names], task)
    private = read_task(config, base).private
    shared = {key: getattr(config.task, key) for key in SHARED if getattr(config.task, key) is not None}
    own = {key: value for key, value in task.items() if key not in ("train", "partition", *SHARED)}
    if isinstance(verifier, FunctionOptions):
        shared[VERIFIER] = verifier.file
        own[VERIFIER] = _with_file(verifier, f"{VERIFIER}.py")
    names_of = {key: f"{key}{Path(path).suffix}" for key, path in shared.items()}
    own |= {key: name for key, name in names_of.items() if key != VERIFIER}
    for party in ("server", *(f"clients/{name}" for name in names)):
        (folder / party).mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, path in shared.items():
            shutil.copyfile(base / path, folder / party / names_of[key])
    for name, samples in private.items():
        _write(folder / "clients" / name / PRIVATE, samples, config.task.columns)
    return {"server": own, **dict.fromkeys(names, own | {"train": PRIVATE})}


def _with_file(verifier: FunctionOptions, file: str) -> dict[str, Any]:
    return {**verifier.model_dump(mode="json", exclude_defaults=True), "kind": verifier.kind, "file": file}


def _write(file: Path, samples: Iterable[Sample], columns: Columns) -> None:
    """Write samples as rows with the given column names."""
    fields = ("id", "question", "answer", "rationale", "domain", "difficulty", "entry")
    rows = (
        {getattr(columns, key): value for key in fields if (value := getattr(sample, key)) not in (None, "")}
        for sample in samples
    )
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    file.chmod(0o600)
