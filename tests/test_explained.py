"""What the system says of files comes as one line with the way out, never as a traceback."""

import errno
import os

import pytest
import typer

from lada.cli.explained import errors, explained
from lada.core.errors import InputError


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "make room on that disk"),
        (errno.EROFS, "use a folder that can be written to (--runs)"),
        (errno.EACCES, "give yourself the right to it (chmod)"),
        (errno.EMFILE, "raise the limit of open files (ulimit -n)"),
        (errno.EIO, "mend that"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_file_and_fix(code, fix):
    with errors.capture() as told, pytest.raises(typer.Exit) as stop, explained():
        raise OSError(code, os.strerror(code), "runs/demo/results.json")
    assert stop.value.exit_code == 1
    assert told.get() == (
        f"error: runs/demo/results.json: {os.strerror(code)}; {fix}, then try again. A run goes on with --resume\n"
    )


def test_an_error_of_ours_keeps_its_exit_code_and_a_reader_that_left_is_none():
    with errors.capture() as told, pytest.raises(typer.Exit) as stop, explained():
        raise InputError("seed: 'x' is not valid")
    assert (stop.value.exit_code, told.get()) == (2, "error: seed: 'x' is not valid\n")
    with pytest.raises(BrokenPipeError), explained():
        raise BrokenPipeError(errno.EPIPE, "gone")
