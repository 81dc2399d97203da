"""How commands report errors."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from lada.core.console import errors
from lada.core.errors import LadaError

FIXES = {
    errno.ENOSPC: "free space on that disk, then try again",
    errno.EDQUOT: "free space within your quota, then try again",
    errno.EFBIG: "raise the file size limit (ulimit -f), then try again",
    errno.EROFS: "choose a folder that you can write to, then try again",
    errno.ENOTDIR: "choose a folder that exists or can be created, then try again",
    errno.EEXIST: "choose a folder that exists or can be created, then try again",
    errno.ENOENT: "choose a folder that exists or can be created, then try again",
    errno.EISDIR: "choose a file, not a folder, then try again",
    errno.EACCES: "give yourself permission (chmod), then try again",
    errno.EPERM: "give yourself permission (chmod), then try again",
    errno.ENAMETOOLONG: "choose a shorter name (at most 255 bytes between slashes), then try again",
    errno.EMFILE: "raise the limit on open files (ulimit -n), then try again",
    errno.ENFILE: "close other programs' files, then try again",
}
"""What to do about each error number of the operating system."""


@contextmanager
def explained(then: Callable[[], str] = str) -> Iterator[None]:
    """Turn LaDa's errors and the system's file errors into one line and an exit code, without a traceback.

    What `then` returns is printed on the next line.
    """
    try:
        yield
    except LadaError as error:
        errors.print(f"error: {error}", style="bold red", highlight=False, soft_wrap=True)
        _add(then())
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # the program that read the output has ended, which is no error
            raise
        errors.print(f"error: {told(error)}", style="bold red", highlight=False, soft_wrap=True)
        _add(then())
        raise typer.Exit(1) from None


def _add(more: str) -> None:
    if more:
        errors.print(more, style="bold", highlight=False, soft_wrap=True)


def told(error: OSError) -> str:
    """Return one line that names the file, the system's error and what to do about it."""
    place = f"{error.filename}: " if error.filename else ""
    fix = FIXES.get(error.errno or 0, "fix that, then try again")
    return f"{place}{error.strerror or error}; {fix}"
