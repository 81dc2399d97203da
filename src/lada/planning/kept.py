"""Caches the facts about models: stored on this machine, and shipped for the examples.

Finding them needs PyTorch, transformers and a model's code, whose imports take longer than everything else in a plan.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lada.core.cache import cache_folder, write_whole
from lada.core.results import Record

T = TypeVar("T", bound=Record)
PACKAGES = ("torch", "transformers", "tokenizers", "peft", "jinja2")
"""The facts may depend on the versions of these packages."""
READERS = ("sentencepiece", "tiktoken", "protobuf")
"""Additional packages that some tokenizers need; no shipped model does."""
SHIPPED = files("lada.planning") / "shipped.json"
"""The facts about the examples' models, by digests of their dependencies; `make shapes` writes this file."""
LARGEST = 2**16
"""The largest size of such a file, bytes."""


def keep(kind: type[T], depends: Mapping[str, Any], find: Callable[[], T]) -> T:
    """Return `find()`, or its cached result for the same `depends`: plain data with everything that it depends on,
    besides the versions of packages.

    An incomplete or foreign file counts as missing: the result is computed again, and the file replaced. If the folder
    cannot be written to, nothing is cached. Errors of `find` are not cached.
    """
    digest = digest_of(kind, depends)
    if digest in (known := _shipped()):
        with suppress(ValidationError):
            return kind.model_validate(known[digest])
    file = cache_folder() / "shapes" / f"{_own(digest)}.json"
    found = _read(file, kind)
    if found is None:
        found = find()
        text = found.model_dump_json()
        with suppress(OSError):
            write_whole(file, lambda stream: stream.write(_sealed(file, text).encode()))
    return found


def digest_of(kind: type[Record], depends: Mapping[str, Any]) -> str:
    """Return a digest of a request: its kind, its dependencies, and the versions of packages."""
    told = json.dumps([kind.__name__, versions(PACKAGES), depends], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions, without the parts that distinguish builds."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


@cache
def _shipped() -> dict[str, Any]:
    return json.loads(SHIPPED.read_text(encoding="utf-8"))["found"]


@cache
def _sources() -> str:
    """Return a digest of the code that finds the facts, since it also changes between versions during development."""
    digest = hashlib.sha256()
    for package in ("lada.models", "lada.planning"):
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _own(digest: str) -> str:
    """Return the name of a file on this machine; shipped facts were found by the code that they came with."""
    return hashlib.sha256(f"{digest} {_sources()} {versions(READERS)}".encode()).hexdigest()


def _sealed(file: Path, text: str) -> str:
    """Return the content of a file: its own name (so that it cannot replace another file), a digest of both, and the
    text."""
    return f"{file.stem}\n{hashlib.sha256(f'{file.stem}{text}'.encode()).hexdigest()}\n{text}"


def _read(file: Path, kind: type[T]) -> T | None:
    """Return the text of a file if `keep` wrote it there completely."""
    try:
        if not file.is_file():  # reading a pipe would never end
            return None
        with file.open("rb") as stream:
            content = stream.read(LARGEST).decode()
        text = content.split("\n", 2)[2]
        return kind.model_validate_json(text) if content == _sealed(file, text) else None
    except (OSError, ValueError, IndexError):
        return None
