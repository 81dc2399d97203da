"""A folder that is there as a whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lada.core.errors import InputError


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a new, empty folder to fill, which takes the place of `target` when the block ends.

    `target` must be absolute, and not there or an empty folder. Where the block raises or is interrupted, `target` and
    the folders above it are as before. Raises InputError where the filled folder cannot be put there.
    """
    missing = [target, *target.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists() and path != target)]
    new = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=missing[-1].parent))
    above = [path for path in missing if path != target]
    try:
        yield new
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            new.rename(target)
        except OSError as error:
            raise InputError(
                f"--folder: {str(target)!r} cannot be written ({error.strerror}); give a folder that is not there yet"
            ) from None
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for path in above:
            with suppress(OSError):  # not there, or somebody else's by now
                path.rmdir()
        raise
