"""What a message carries, as files: a number for each kind, since a kind may have any name, and the kinds' names."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

KINDS = "kinds.json"


def to_files(payload: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    """Return the files to write, by name within `folder`."""
    kinds = sorted(payload)
    parts = {f"{folder}/{number}": payload[kind] for number, kind in enumerate(kinds)}
    return {f"{folder}/{KINDS}": json.dumps(kinds).encode(), **parts}


def write_pieces(folder: Path, kinds: Mapping[str, Iterable[bytes]]) -> None:
    """Write the same files where each kind comes in pieces, of which only one is in memory at a time."""
    folder.mkdir(parents=True)
    names = sorted(kinds)
    (folder / KINDS).write_text(json.dumps(names), encoding="utf-8")
    for number, kind in enumerate(names):
        with (folder / str(number)).open("wb") as file:
            for piece in kinds[kind]:
                file.write(piece)


class Parts(Mapping[str, bytes]):
    """A message's payload that lies in files; each kind is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds what `to_files` or `write_pieces` wrote."""
        self._folder = folder
        self._numbers: dict[str, int] = {
            kind: number for number, kind in enumerate(json.loads((folder / KINDS).read_bytes()))
        }

    def __getitem__(self, kind: str) -> bytes:
        return self._file(kind).read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def size(self, kind: str) -> int:
        """Return the bytes of a kind."""
        return self._file(kind).stat().st_size

    def piece(self, kind: str, start: int, length: int) -> bytes:
        """Return a part of a kind's bytes."""
        with self._file(kind).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def _file(self, kind: str) -> Path:
        return self._folder / str(self._numbers[kind])
