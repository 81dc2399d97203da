"""How commands tell of what went wrong."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lada.core.console import errors
from lada.core.errors import LadaError

FIXES = {
    errno.ENOSPC: "make room on that disk, then try again",
    errno.EDQUOT: "make room within your quota, then try again",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), then try again",
    errno.EROFS: "name a folder that can be written to, then try again",
    errno.ENOTDIR: "name a folder that is there or can be made, then try again",
    errno.EEXIST: "name a folder that is there or can be made, then try again",
    errno.ENOENT: "name a folder that is there or can be made, then try again",
    errno.EISDIR: "name a file, not a folder, then try again",
    errno.EACCES: "give yourself the right to it (chmod), then try again",
    errno.EPERM: "give yourself the right to it (chmod), then try again",
    errno.ENAMETOOLONG: "give a shorter name, 255 bytes at most between slashes, then try again",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then try again",
    errno.ENFILE: "close other programs' files, then try again",
}
"""What to do, by the system's number of the error."""


@contextmanager
def explained(then: Callable[[], str] = str) -> Iterator[None]:
    """Turn LaDa's errors, and what the system says of files, into one line and an exit code, without a traceback.

    What `then` has to say stands in the next line.
    """
    try:
        yield
    except LadaError as error:
        errors.print(f"error: {error}", style="bold red", highlight=False, soft_wrap=True)
        _add(then())
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read the output has gone, which is no error
            raise
        errors.print(f"error: {told(error)}", style="bold red", highlight=False, soft_wrap=True)
        _add(then())
        raise typer.Exit(1) from None


def _add(more: str) -> None:
    if more:
        errors.print(more, style="bold", highlight=False, soft_wrap=True)


def told(error: OSError) -> str:
    """Return which file the system refused, why, and what to do about it, in one line."""
    place = f"{error.filename}: " if error.filename else ""
    fix = FIXES.get(error.errno or 0, "mend that, then try again")
    return f"{place}{error.strerror or error}; {fix}"
