"""Where LaDa keeps expensive results for later runs on the same machine."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def cache_folder() -> Path:
    """Return the folder: `$LADA_CACHE`, else `lada` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if chosen := os.environ.get("LADA_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "lada"


def write_whole(file: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that other processes see all of it or nothing. Raises OSError if that fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.stem[:16]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
