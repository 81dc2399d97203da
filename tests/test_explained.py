"""An error of the operating system about a file is one line with a fix, never a traceback."""

import errno
import os

import pytest
import typer
from synthetic_run import make_results, write_run
from typer.testing import CliRunner

from lada.cli.explained import errors, explained
from lada.cli.main import app
from lada.core.errors import InputError


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (errno.ENOSPC, "free space on that disk"),
        (errno.EROFS, "choose a folder that you can write to"),
        (errno.EACCES, "give yourself permission (chmod)"),
        (errno.EMFILE, "raise the limit on open files (ulimit -n)"),
        (errno.ENOTDIR, "choose a folder that exists or can be created"),
        (errno.EISDIR, "choose a file, not a folder"),
        (errno.EIO, "fix that"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_file_and_fix(code, fix):
    with errors.capture() as told, pytest.raises(typer.Exit) as stop, explained():
        raise OSError(code, os.strerror(code), "runs/demo/results.json")
    assert stop.value.exit_code == 1
    assert told.get() == f"error: runs/demo/results.json: {os.strerror(code)}; {fix}, then try again\n"


def test_how_a_run_goes_on_stands_in_the_next_line():
    for error in (OSError(errno.ENOSPC, "full"), InputError("seed: 'x' is not valid")):
        with errors.capture() as told, pytest.raises(typer.Exit), explained(lambda: "to resume: lada run r --resume"):
            raise error
        assert told.get().splitlines()[1:] == ["to resume: lada run r --resume"]


def test_outputs_that_cannot_be_written_are_errors_of_one_line(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    run = tmp_path / "a"
    write_run(run, make_results(rounds=1))
    for words in (
        ["report", str(run), str(run), "--output", str(tmp_path / "file" / "x.html")],
        ["report", str(run), str(run), "--output", str(tmp_path)],
        ["zoo", "build", "slm-llama", "--target", str(tmp_path / "file")],
        ["bench", "--results", str(tmp_path / "file"), "--only", "random"],
    ):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.output
        assert done.stderr.startswith("error: ")


def test_names_that_leave_the_folder_are_errors_of_one_line(tmp_path):
    for words in (
        ["demo", "--name", "../x"],
        ["demo", "--dry-run", "--set", "name=../x"],
        ["demo", "--set", "clients.clinic.name=../x"],
    ):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
        assert "'../x'" in done.stderr


def test_an_error_of_ours_keeps_its_exit_code_and_a_reader_that_left_is_none():
    with errors.capture() as told, pytest.raises(typer.Exit) as stop, explained():
        raise InputError("seed: 'x' is not valid")
    assert (stop.value.exit_code, told.get()) == (2, "error: seed: 'x' is not valid\n")
    with pytest.raises(BrokenPipeError), explained():
        raise BrokenPipeError(errno.EPIPE, "gone")
