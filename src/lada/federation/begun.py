"""Digests of a run's inputs besides its configuration: samples, and models in folders.

A run is resumed only with the same inputs. The digests are stored in `begun.json` in the run's folder; at a client of a
deployment, in its state for the run.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

from lada.config import RunConfig
from lada.core.errors import LadaError
from lada.core.paths import is_folder
from lada.core.sealed import seal, unseal
from lada.core.terms import Sample
from lada.tasks.builtin import Drawn
from lada.tasks.data import TaskData
from lada.zoo.shipped import locate

BEGUN = "begun.json"
BLOCK, BLOCKS = 1 << 16, 64
"""Bytes of a block, and how many blocks of a large file are read: reading all weights would take minutes."""


def samples(task: TaskData, clients: Iterable[str]) -> dict[str, str]:
    """Return digests of the common samples, of the samples of `clients` and of the verifier, by description.

    Private samples of a built-in corpus are not included: they follow from the configuration, and drawing them for
    thousands of clients takes minutes.
    """
    parts = {"public samples": task.public, "test samples": task.test, "replayed samples": task.replay}
    if not isinstance(task.private, Drawn):
        parts |= {f"private samples of {name}": task.private.get(name, ()) for name in clients}
    verifier = {} if task.verifier is None else {"verifier": _of_text(task.verifier.fingerprint)}
    return {what: _of_samples(tuple(part)) for what, part in parts.items()} | verifier


def models(config: RunConfig) -> dict[str, str]:
    """Return digests of the models in folders, by owner: they cover names, sizes and blocks of their files."""
    options = {party.name: party.model for party in (config.server, *config.clients)}
    folders = {name: Path(locate(each.source)) for name, each in options.items() if each is not None and each.source}
    known = {folder: _of_folder(folder) for folder in set(folders.values()) if is_folder(folder)}
    return {f"model of {name}": known[folder] for name, folder in folders.items() if folder in known}


def write(folder: Path, found: Mapping[str, str]) -> None:
    """Record the inputs with which a run begins."""
    seal(folder / BEGUN, json.dumps(found, indent=1).encode())


def changed(folder: Path, found: Mapping[str, str]) -> tuple[str, ...]:
    """Return the inputs that changed since the run began. Raises LadaError if they were not recorded."""
    try:
        then = json.loads(unseal(folder / BEGUN))
    except ValueError as error:
        raise LadaError(f"{str(folder / BEGUN)!r} is not JSON; restore it from a copy, or begin a new run") from error
    return tuple(what for what in found if then.get(what) != found[what])


@lru_cache(maxsize=16)  # a client's process asks with each message, usually for the same samples
def _of_samples(part: tuple[Sample, ...]) -> str:
    digest = hashlib.sha256()
    for sample in part:
        *values, entry, _ = astuple(sample)  # a run begins without generated samples
        told = values if entry is None else [*values, entry]  # without one the digest is that of earlier versions
        digest.update(json.dumps(told).encode() + b"\n")
    return digest.hexdigest()


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
        starts = range(0, size, BLOCK)
        with file.open("rb") as data:
            for start in starts[:: max(1, len(starts) // BLOCKS)]:
                data.seek(start)
                digest.update(data.read(BLOCK))
    return digest.hexdigest()
