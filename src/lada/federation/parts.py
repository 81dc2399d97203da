"""A message's payload as files: one numbered file for each kind, since kinds may have any names, and a list of the
names."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lada.core.errors import LadaError
from lada.core.known import Known
from lada.federation.checkpoints import manifest

KINDS = "kinds.json"


def to_files(payload: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """Return the files to write, by name within `folder`."""
    kinds = sorted(payload)
    parts = {f"{folder}/{number}": payload[kind] for number, kind in enumerate(kinds)}
    return {f"{folder}/{KINDS}": json.dumps(kinds).encode(), **parts}


def write_pieces(folder: Path, kinds: Mapping[str, Iterable[bytes]]) -> None:
    """Write the same files from kinds that arrive in pieces, with only one piece in memory at a time."""
    folder.mkdir(parents=True)
    names = sorted(kinds)
    (folder / KINDS).write_text(json.dumps(names), encoding="utf-8")
    for number, kind in enumerate(names):
        with (folder / str(number)).open("wb") as file:
            for piece in kinds[kind]:
                file.write(piece)


class Parts(Known):
    """A message's payload in the files of a checkpoint or a journal entry.

    Each kind is read on access and verified: LadaError names an altered file.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` holds the files of `to_files` or `write_pieces`; the manifest is next to it."""
        super().__init__({})
        self._folder = folder
        self._written = manifest(folder.parent)
        self._numbers: dict[str, int] = {
            kind: number for number, kind in enumerate(json.loads((folder / KINDS).read_bytes()))
        }

    def __getitem__(self, kind: str) -> bytes:
        data = self._file(kind).read_bytes()
        self._check(kind, hashlib.sha256(data).hexdigest())
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def size(self, kind: str) -> int:
        """Return the bytes of a kind."""
        return self._file(kind).stat().st_size

    def digest(self, kind: str) -> str:
        """Return the original SHA-256 of a kind, hexadecimal."""
        return self._written[self._file(kind).relative_to(self._folder.parent).as_posix()]

    def piece(self, kind: str, start: int, length: int) -> bytes:
        """Return a part of a kind's bytes. The last part is returned only if the whole is unaltered."""
        with self._file(kind).open("rb") as file:
            if start + length >= self.size(kind):
                self._check(kind, hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(start)
            return file.read(length)

    def _check(self, kind: str, digest: str) -> None:
        file = self._file(kind)
        if self._written.get(file.relative_to(self._folder.parent).as_posix()) != digest:
            raise LadaError(
                f"{str(file)!r} has changed since it was written; continue with --resume, which asks for it again"
            )

    def _file(self, kind: str) -> Path:
        return self._folder / str(self._numbers[kind])
