"""A folder that is created completely or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lada.core.errors import InputError


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a new, empty folder to fill, which becomes `target` when the block ends.

    `target` must be absolute, and either missing or an empty folder. If the block raises or is interrupted, `target`
    and the folders above it are as before. Raises InputError if the filled folder cannot be moved there.
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
                f"--folder: {str(target)!r} cannot be written ({error.strerror}); give a folder that does not exist yet"
            ) from None
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for path in above:
            with suppress(OSError):  # missing, or owned by somebody else by now
                path.rmdir()
        raise
