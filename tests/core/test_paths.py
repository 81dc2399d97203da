"""What lies at a path is asked without a traceback, however long or strange the name."""

import errno
import os
import re
from pathlib import Path

import pytest

from lada.bench.suite import read_suite
from lada.config_source import open_config
from lada.core.errors import InputError
from lada.core.paths import exists, is_file, is_folder
from lada.engines.binding import read_keys
from lada.engines.client_file import read_client
from lada.engines.server_file import read_server
from lada.engines.setup import _read
from lada.export.party import _find
from lada.models.load import load_tokenizer
from lada.models.shapes import read_shape
from lada.tasks.corpus import read_corpus
from lada.tasks.files import read_samples
from lada.tasks.hub import _load_local
from lada.tasks.options import Columns
from lada.verifiers.function import FunctionVerifier
from lada.verifiers.options import FunctionOptions
from lada.zoo.shipped import locate

LONG = ["x" * 5000, "a/" * 2500 + "b", "é" * 128]


@pytest.mark.parametrize("name", [*LONG, "\0", "\ud800", "none"])
def test_a_name_that_no_disk_can_hold_is_that_of_nothing(tmp_path: Path, name: str):
    path = tmp_path / name
    assert [ask(given) for ask in (exists, is_file, is_folder) for given in (path, str(path))] == [False] * 6


def test_files_folders_and_neither(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    asked = [(exists(each), is_file(each), is_folder(each)) for each in sorted(tmp_path.iterdir())]
    assert asked == [(True, True, False), (True, False, True), (True, False, False)]


def test_what_else_the_system_says_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(PermissionError):
        is_file(tmp_path)


READERS = {
    "model": lambda name: read_shape(name),
    "tokenizer": lambda name: load_tokenizer(name),
    "zoo": lambda name: locate(f"zoo:{name}"),
    "configuration": lambda name: open_config(name),
    "suite": lambda name: read_suite(name),
    "corpus": lambda name: read_corpus(f"{name}.yaml"),
    "source": lambda name: _load_local(Path(name)),
    "samples": lambda name: read_samples(Path(f"{name}.jsonl"), Columns(), require_answer=True),
    "server": lambda name: read_server(Path(name)),
    "client": lambda name: read_client(Path(name)),
    "deployment": lambda name: _read(Path(name)),
    "run": lambda name: _find(Path(name), "server"),
    "verifier": lambda name: FunctionVerifier(
        FunctionOptions(kind="function", file=f"{name}.py", function="f"), Path()
    ),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("reader", READERS)
def test_who_reads_it_says_so_in_one_line(reader: str, name: str):
    with pytest.raises(InputError) as caught:
        READERS[reader](name)
    assert len(str(caught.value).splitlines()) == 1
    assert re.search(
        "there is no|does not exist|no shipped|neither|not an existing Python file|holds no", str(caught.value)
    )


def test_a_folder_of_keys_too_has_none(tmp_path: Path):
    assert read_keys(tmp_path / "none") == read_keys(tmp_path / LONG[0]) == {}
