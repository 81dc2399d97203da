"""A model's folder with a file that is missing, torn or a pointer is refused before anything starts."""

import codecs
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

import lada
from lada.cli.main import app
from lada.core.errors import InputError
from lada.federation.parties import check_model
from lada.models.files import check_files
from lada.models.load import check, load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345678\n"
WEIGHTS, INDEX, SHARD = "model.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"
Spoil = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(locate("zoo:slm-llama"), tmp_path / "model"))


def cut(name: str, left: Callable[[int], int]) -> Spoil:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: left(len(data))])

    return spoil


def put(name: str, data: str | bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def begin(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data + (folder / name).read_bytes())


def indexed(index: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / SHARD)
        (folder / INDEX).write_text(index if isinstance(index, str) else json.dumps(index), encoding="utf-8")

    return spoil


def weight_map(folder: Path, **changes: str) -> dict[str, Any]:
    """The index of a folder whose weights are all in SHARD, except for changes."""
    with safe_open(str(folder / WEIGHTS), framework="pt") as weights:
        return {"metadata": {}, "weight_map": dict.fromkeys(weights.keys(), SHARD) | changes}


def index_with(**changes: str) -> Spoil:
    return lambda folder: indexed(weight_map(folder, **changes))(folder)


def instead(name: str, make: Callable[[Path], object]) -> Spoil:
    """Replace a file with something that is not a regular file."""

    def spoil(folder: Path) -> None:
        (folder / (WEIGHTS if name == INDEX else name)).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def empty(folder: Path) -> None:
    save_file({}, folder / WEIGHTS)


def no_suffix(folder: Path) -> None:
    shutil.copyfile(folder / WEIGHTS, folder / "model-2.bin")
    index_with(last="model-2.bin")(folder)


def shard_is_folder(folder: Path) -> None:
    (folder / "folder.safetensors").mkdir()
    index_with(a="folder.safetensors")(folder)


IRREGULAR: tuple[Callable[[Path], object], ...] = (Path.mkdir, os.mkfifo, lambda file: file.symlink_to("nothing"))
READ = (WEIGHTS, INDEX, "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "vocab.txt")
NAMELESS = tuple(f"{name}.safetensors" for name in ("x" * 300, "é" * 130, "\0", "\ud800"))
JSONS = ("config.json", "tokenizer.json", "tokenizer_config.json")
PULL, AGAIN = "run `git lfs pull`", "fetch it again"
CASES: list[tuple[Spoil, str, str]] = [
    *(
        (put(name, POINTER), name, PULL)
        for name in (WEIGHTS, "tokenizer.json", "config.json", "generation_config.json")
    ),
    (put("tokenizer.model", POINTER), "tokenizer.model", PULL),
    (indexed(POINTER), INDEX, PULL),
    *((cut(WEIGHTS, left), WEIGHTS, AGAIN) for left in (lambda n: n - 1, lambda n: n // 2, lambda _: 9, lambda _: 0)),
    (put(WEIGHTS, b"\xff" * 100), WEIGHTS, AGAIN),
    (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, "expected a folder with"),
    *((cut(name, lambda n: n // 2), name, AGAIN) for name in ("tokenizer.json", "config.json")),
    *((put(name, "[]"), name, AGAIN) for name in ("tokenizer.json", "tokenizer_config.json", "config.json")),
    (index_with(b="gone.safetensors"), "gone.safetensors", AGAIN),
    (index_with(a="../model/" + SHARD), INDEX, AGAIN),
    (indexed({"weight_map": {"a": SHARD}}), f"{INDEX} has no metadata", AGAIN),
    *((indexed(index), INDEX, AGAIN) for index in ("{", {}, "[" * 10**5)),
    *((indexed({"metadata": {}, "weight_map": parts}), INDEX, AGAIN) for parts in ({}, [1], {"a": 1}, {"a": ""})),
    *((index_with(a=name), "is missing or not a file", AGAIN) for name in NAMELESS),
    *((index_with(a=name), INDEX, "expected a .safetensors file") for name in ("a.bin", "x" * 5000, "..", "a.PT")),
    (no_suffix, "names 'model-2.bin' for 'last'", "expected a .safetensors file"),
    (index_with(a=SHARD), f"{SHARD} lacks 'a', which {INDEX} says it has", AGAIN),
    (index_with(b=SHARD, a=SHARD), f"{SHARD} lacks 'a' and 1 other, which", AGAIN),
    (index_with(b=SHARD, a=SHARD, c=SHARD), f"{SHARD} lacks 'a' and 2 others, which", AGAIN),
    *((begin(name, codecs.BOM_UTF8), f"{name} begins with a byte order mark", "without one") for name in JSONS),
    (put("config.json", "{}".encode("utf-16")), "config.json begins with a byte order mark", "UTF-8 without one"),
    (empty, f"{WEIGHTS} holds no weights", AGAIN),
    (shard_is_folder, "folder.safetensors is missing or not a file", AGAIN),
    *((instead(name, make), f"{name} is not a regular file", AGAIN) for name in READ for make in IRREGULAR),
]


@pytest.mark.parametrize(("spoil", "name", "fix"), CASES)
def test_the_file_and_the_fix_are_named(folder: Path, spoil: Spoil, name: str, fix: str):
    spoil(folder)
    with pytest.raises(InputError) as caught:
        check_model(ModelOptions(model=str(folder)), "clients.clinic")
    told = str(caught.value)
    assert told.startswith("clients.clinic.model: cannot load ")
    assert len(told.splitlines()) == 1
    assert name in told
    assert fix in told


def test_whole_folders_pass(folder: Path, tmp_path: Path):
    check_files(str(folder))
    check_files("some/hub-id")
    for other in ("pytorch_model.bin", "onnx.onnx", "tf_model.h5"):  # nobody reads these
        (folder / other).write_text(POINTER)
    check_files(str(folder))
    (folder / INDEX).write_text("{}")  # transformers reads the one file that is beside it
    check_files(str(folder))
    load(str(folder), ModelOptions(model=str(folder), device="cpu"))
    (folder / INDEX).unlink()
    index_with()(folder)
    check_files(str(folder))
    load(str(folder), ModelOptions(model=str(folder), device="cpu"))
    for link in (folder / SHARD, folder / "tokenizer.json"):  # as in the hub's cache
        link.rename(link.with_suffix(".blob"))
        link.symlink_to(link.with_suffix(".blob").name)
    check_files(str(folder))


def test_an_adapter_s_own_weights_are_looked_at(folder: Path):
    (folder / WEIGHTS).unlink()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"adapter_model\.safetensors is missing, cut short or damaged"):
        check_files(str(folder))


def test_an_answer_longer_than_the_context_is_refused(folder: Path):
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    check(str(folder), ModelOptions(model="m", max_new_tokens=context))
    with pytest.raises(
        InputError, match=rf"^model\.max_new_tokens: {context + 1}, but the context of 'm' has {context} "
    ):
        check(str(folder), ModelOptions(model="m", max_new_tokens=context + 1))


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    model = {"model": "zoo:slm-llama", "max_new_tokens": 20}
    return {
        "name": "torn",
        "rounds": 0,
        "task": {"kind": "rulebooks", "public": 20, "private": 8, "test_per_domain": 1, "replay": 0},
        "server": {"model": model},
        "clients": [
            {"name": "good", "model": model},
            {"name": "bad", "model": {**model, "model": str(folder)} | changes},
        ],
    }


@pytest.mark.parametrize(
    ("spoil", "changes", "said"),
    [
        (put(WEIGHTS, POINTER), {}, "clients.bad.model: cannot load "),
        (cut(WEIGHTS, lambda n: n // 2), {}, "clients.bad.model: cannot load "),
        (lambda folder: shutil.rmtree(folder), {}, "clients.bad.model: "),
        (lambda folder: None, {"max_new_tokens": 60_000}, "clients.bad.model.max_new_tokens: 60000, but the context"),
        (index_with(a="x" * 300 + ".safetensors"), {}, "clients.bad.model: cannot load "),
        (
            lambda folder: None,
            {"model": "x" * 5000},
            "clients.bad.model: (cannot load|there is no folder)",
        ),
        (lambda folder: None, {"model": "a/" * 2500 + "b"}, "clients.bad.model: "),
        (lambda folder: None, {"model": "zoo:" + "x" * 5000}, "clients.bad.model: no shipped model is named 'xxx"),
        (lambda folder: None, {"model": "zoo:nobody"}, "clients.bad.model: no shipped model is named 'nobody'"),
    ],
)
def test_a_run_a_plan_and_the_doctor_name_the_client(
    folder: Path, tmp_path: Path, spoil: Spoil, changes: dict[str, Any], said: str
):
    spoil(folder)
    data = config(folder, **changes)
    with pytest.raises(InputError, match=f"^({said})"):
        lada.run(data, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    file = tmp_path / "torn.yaml"
    file.write_text(yaml.safe_dump(data))
    for command in (["run", str(file), "--dry-run"], ["doctor", str(file)]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2
        assert re.match(f"error: ({said})", done.stderr)
        assert len(done.stderr.splitlines()) == 1
