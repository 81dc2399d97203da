"""What models are like, found out once: kept on this machine, and shipped for the examples.

To find it out takes PyTorch, transformers and a model's code, whose imports take longer than all else in a plan.
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
"""What is found may depend on the versions of these."""
READERS = ("sentencepiece", "tiktoken", "protobuf")
"""Packages that some tokenizers need besides; no shipped model does."""
SHIPPED = files("lada.planning") / "shipped.json"
"""What is known of the examples' models, by the digests of what it depends on; `make shapes` writes it."""
LARGEST = 2**16
"""Bytes of a file beyond which it is none of these."""


def keep(kind: type[T], depends: Mapping[str, Any], find: Callable[[], T]) -> T:
    """Return `find()`, or what it was when it was last asked for the same `depends`, plain data with all that it
    depends on beside the versions of packages.

    A file that is not whole, or is of something else, is as none: it is found out anew, and replaced. A folder that
    cannot be written to means that nothing is kept. What `find` raises is not kept.
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
    """Return a name for what is asked: of which kind, what it depends on, and the versions of packages."""
    told = json.dumps([kind.__name__, versions(PACKAGES), depends], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions that are installed, without what tells one build from another."""
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
    """Return a digest of the code that finds things out, which changes between versions too where it is worked on."""
    digest = hashlib.sha256()
    for package in ("lada.models", "lada.planning"):
        for file in sorted(files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _own(digest: str) -> str:
    """Return the name of a file of this machine's; what is shipped was found out by the code that it came with."""
    return hashlib.sha256(f"{digest} {_sources()} {versions(READERS)}".encode()).hexdigest()


def _sealed(file: Path, text: str) -> str:
    """Return what a file holds: its own name, so that none stands for another, a digest of both, and the text."""
    return f"{file.stem}\n{hashlib.sha256(f'{file.stem}{text}'.encode()).hexdigest()}\n{text}"


def _read(file: Path, kind: type[T]) -> T | None:
    """Return what is in a file if `keep` wrote it there, whole."""
    try:
        if not file.is_file():  # a pipe would never end
            return None
        with file.open("rb") as stream:
            content = stream.read(LARGEST).decode()
        text = content.split("\n", 2)[2]
        return kind.model_validate_json(text) if content == _sealed(file, text) else None
    except (OSError, ValueError, IndexError):
        return None
