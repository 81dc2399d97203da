"""TensorBoard, written and read back by its own reader."""

import math
from pathlib import Path

import pytest

from lada.trackers.tensorboard import Tensorboard, TensorboardOptions

reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read = reader.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def write(run: Path, folder: str | None = None) -> None:
    tracker = Tensorboard(TensorboardOptions(folder=folder))
    tracker.start("my-run", {"seed": 3, "task": {"kind": "files"}}, run)
    tracker.log(0, {"accuracy/a/own": 50.0})
    tracker.log(1, {"accuracy/a/own": 75.0, "loss_last/Ä b/distil": math.inf})
    tracker.finish("finished")


def test_figures_and_configuration_are_read_back(tmp_path: Path):
    write(tmp_path)
    assert scalars(tmp_path / "tensorboard") == {
        "accuracy/a/own": [(0, 50.0), (1, 75.0)],
        "loss_last/Ä b/distil": [(1, math.inf)],
    }
    read = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (text,) = read.Tensors("configuration/text_summary")
    assert text.tensor_proto.string_val[0].decode().splitlines() == ["    seed: 3", "    task:", "      kind: files"]


def test_a_second_writer_takes_the_place_of_the_first(tmp_path: Path):
    write(tmp_path)
    write(tmp_path)
    assert scalars(tmp_path / "tensorboard")["accuracy/a/own"] == [(0, 50.0), (1, 75.0)]


def test_runs_may_share_a_folder(tmp_path: Path):
    write(tmp_path / "runs" / "my-run", folder="../../board")
    assert scalars(tmp_path / "board" / "my-run")["accuracy/a/own"] == [(0, 50.0), (1, 75.0)]
    write(tmp_path, folder=str(tmp_path / "there"))
    assert scalars(tmp_path / "there" / "my-run").keys() == {"accuracy/a/own", "loss_last/Ä b/distil"}
