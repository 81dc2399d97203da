"""trackio, Weights & Biases and MLflow: what they are told, by stand-ins; the real ones, offline, where installed."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from lada.choosing import make_method
from lada.core.errors import InputError
from lada.core.nested import flat
from lada.trackers.base import TRACKERS, Viewable
from lada.trackers.mlflow import BATCH, VALUE, batches

CONFIG = {"seed": 3, "clients": [{"name": "a", "domains": []}], "allocator": None}


def run(tracker: Any, folder: Path) -> None:
    tracker.start("my-run", CONFIG, folder)
    tracker.log(0, {"accuracy/a/own": 50.0})
    tracker.log(1, {"accuracy/a/own": 75.0, "loss_last/a/private": math.nan})
    tracker.finish("finished")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(name: str) -> MagicMock:
        module = MagicMock()
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


@pytest.mark.parametrize("name", TRACKERS.names())
def test_a_missing_package_is_told_with_its_install_line(name: str, monkeypatch: pytest.MonkeyPatch):
    module = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as error:
        make_method(TRACKERS, name)
    assert f"install it with: pip install 'lada-fed[{name}]'" in str(error.value)


def test_wandb_is_told_figures_by_round_and_nothing_of_code_or_machine(stand_in: Any, tmp_path: Path):
    wandb = stand_in("wandb")
    run(make_method(TRACKERS, "wandb", ("project=mine", "entity=us")), tmp_path)
    wandb.login.assert_called_once_with(prompt=False, verify=False)
    told = wandb.init.call_args.kwargs
    assert (told["project"], told["entity"], told["mode"], told["name"]) == ("mine", "us", "online", "my-run")
    assert (told["config"], told["dir"]) == (CONFIG, str(tmp_path))
    settings = wandb.Settings.call_args.kwargs
    assert settings["console"] == "off"
    assert settings["disable_git"] is settings["disable_code"] is settings["x_disable_machine_info"] is True
    session = wandb.init.return_value
    session.define_metric.assert_called_once_with("*", step_metric="round")
    assert session.log.call_args_list[0] == call({"round": 0, "accuracy/a/own": 50.0})
    session.finish.assert_called_once_with(exit_code=0)


def test_wandb_without_a_key_is_refused_unless_offline(stand_in: Any, tmp_path: Path):
    wandb = stand_in("wandb")
    wandb.login.return_value = False
    with pytest.raises(InputError, match="set WANDB_API_KEY"):
        make_method(TRACKERS, "wandb")
    tracker = make_method(TRACKERS, "wandb", ("mode=offline",))
    tracker.start("my-run", CONFIG, tmp_path)
    tracker.finish("failed")
    wandb.init.return_value.finish.assert_called_once_with(exit_code=1)


def test_trackio_is_told_figures_by_round(stand_in: Any, tmp_path: Path):
    trackio = stand_in("trackio")
    run(make_method(TRACKERS, "trackio", ("space_id=me/board",)), tmp_path)
    told = trackio.init.call_args.kwargs
    assert (told["project"], told["name"], told["space_id"], told["config"]) == ("lada", "my-run", "me/board", CONFIG)
    assert told["auto_log_gpu"] is told["auto_log_cpu"] is False
    assert trackio.init.return_value.log.call_args_list[0] == call({"accuracy/a/own": 50.0}, step=0)
    trackio.finish.assert_called_once_with()


@pytest.mark.parametrize("known", [True, False])
def test_mlflow_is_told_parameters_then_figures_by_round(known: bool, stand_in: Any, tmp_path: Path):
    mlflow = stand_in("mlflow")
    mlflow.entities.Param = lambda key, value: (key, value)
    mlflow.entities.Metric = lambda name, value, time, step: (name, value, step)
    client = mlflow.MlflowClient.return_value
    client.get_experiment_by_name.return_value = SimpleNamespace(experiment_id="7") if known else None
    client.create_experiment.return_value = "8"
    client.create_run.return_value = SimpleNamespace(info=SimpleNamespace(run_id="r"))
    run(make_method(TRACKERS, "mlflow", ("tracking_uri=http://localhost:5000", "experiment=mine")), tmp_path)
    mlflow.MlflowClient.assert_called_once_with("http://localhost:5000")
    client.create_run.assert_called_once_with("7" if known else "8", run_name="my-run")
    first, second, _ = client.log_batch.call_args_list
    assert first == call(
        "r",
        params=[("seed", "3"), ("clients.0.name", "a"), ("clients.0.domains", "[]"), ("allocator", "None")],
    )
    assert second == call("r", metrics=[("accuracy/a/own", 50.0, 0)])
    client.set_terminated.assert_called_once_with("r", "FINISHED")


def test_mlflow_takes_no_password_and_does_not_repeat_it():
    with pytest.raises(InputError, match="MLFLOW_TRACKING_PASSWORD") as error:
        make_method(TRACKERS, "mlflow", ("tracking_uri=postgresql://me:hunter2@host/db",))
    assert "hunter2" not in str(error.value)


def test_what_is_long_is_cut_for_mlflow(stand_in: Any, tmp_path: Path):
    mlflow = stand_in("mlflow")
    mlflow.entities.Param = lambda key, value: (key, value)
    config = {"text": "x" * (VALUE + 1), "odd ✓/key": 1} | {str(i): i for i in range(BATCH)}
    tracker = make_method(TRACKERS, "mlflow")
    tracker.start("n", config, tmp_path)
    parts = [told.kwargs["params"] for told in mlflow.MlflowClient.return_value.log_batch.call_args_list]
    assert [len(part) for part in parts] == [BATCH, 2]
    assert (len(parts[0][0][1]), parts[0][1][0]) == (VALUE, "odd __key")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("tensorboard", (), "tensorboard --logdir '{folder}/tensorboard'"),
        ("trackio", ("project=my runs",), "trackio show --project 'my runs'"),
        ("trackio", ("space_id=me/board",), "https://huggingface.co/spaces/me/board"),
        ("wandb", (), "https://wandb.ai/me/lada/runs/1"),
        ("wandb", ("mode=offline",), "wandb sync '{folder}/wandb/offline-run-1'"),
        ("wandb", ("mode=disabled",), "there is nothing, since mode is disabled"),
        ("mlflow", (), "mlflow ui"),
        ("mlflow", ("tracking_uri=sqlite:///my.db",), "mlflow ui --backend-store-uri sqlite:///my.db"),
        ("mlflow", ("tracking_uri=http://localhost:5000",), "http://localhost:5000"),
    ],
)
def test_each_says_how_to_look_at_a_run(
    name: str, options: tuple[str, ...], expected: str, stand_in: Any, tmp_path: Path
):
    folder = tmp_path / "a run"
    module = stand_in("torch.utils.tensorboard" if name == "tensorboard" else name)
    module.init.return_value.url = "https://wandb.ai/me/lada/runs/1"
    module.init.return_value.dir = str(folder / "wandb/offline-run-1/files")
    tracker: Any = make_method(TRACKERS, name, options)
    run(tracker, folder)
    assert isinstance(tracker, Viewable)
    assert tracker.view() == expected.format(folder=folder)


def test_flat_and_batches_by_hand():
    assert list(flat({"a": {"b": [1, {"c": None}]}, "d": {}})) == [("a.b.0", 1), ("a.b.1.c", None), ("d", {})]
    assert [list(part) for part in batches(list(range(BATCH + 1)))] == [list(range(BATCH)), [BATCH]]
    assert batches([]) == []


@pytest.mark.parametrize(
    ("name", "override", "expected"),
    [
        ("wandb", "mode=onlin", "trackers.wandb.options.mode: 'onlin' is not valid"),
        ("wandb", "api_key=abc", "unknown key (its value is not shown)"),
        ("tensorbord", "folder=x", "did you mean 'tensorboard'?"),
    ],
)
def test_wrong_names_and_options_are_refused(name: str, override: str, expected: str):
    with pytest.raises(InputError) as error:
        make_method(TRACKERS, name, (override,))
    assert expected in str(error.value)


def test_the_real_wandb_offline(tmp_path: Path):
    pytest.importorskip("wandb")
    run(make_method(TRACKERS, "wandb", ("mode=offline",)), tmp_path)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"accuracy/a/own" in file.read_bytes()


def test_the_real_mlflow_in_a_database(tmp_path: Path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run(make_method(TRACKERS, "mlflow", (f"tracking_uri={uri}",)), tmp_path)
    client = mlflow.MlflowClient(uri)
    (kept,) = client.search_runs([client.get_experiment_by_name("lada").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("my-run", "FINISHED")
    assert kept.data.params["clients.0.name"] == "a"
    history = client.get_metric_history(kept.info.run_id, "accuracy/a/own")
    assert [(metric.step, metric.value) for metric in history] == [(0, 50.0), (1, 75.0)]


def test_the_real_trackio_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if "trackio" not in sys.modules:
        monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when it is imported
    pytest.importorskip("trackio")
    run(make_method(TRACKERS, "trackio", ("project=test",)), tmp_path)
    kept = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"accuracy/a/own" in content for content in kept)
