"""Weights that do not fit their config.json, and configurations of no model, are refused before anything starts."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lada.core.errors import InputError
from lada.models.load import check, load
from lada.models.options import ModelOptions
from lada.planning.compose import plan_without_data
from lada.zoo.shipped import locate

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(locate("zoo:slm-llama"), tmp_path / "model"))


def configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **changes}), encoding="utf-8")


def drop(folder: Path, *names: str) -> None:
    weights = load_file(folder / WEIGHTS)
    for name in names:
        del weights[name]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def plan(folder: Path, **options: Any) -> Any:
    model = {"model": str(folder), **options}
    return plan_without_data({"rounds": 1, "server": {"model": model}, "clients": [{"name": "a", "model": model}]})


NORM = "model.layers.1.input_layernorm.weight"
UNFIT: list[tuple[Callable[[Path], None], str]] = [
    (lambda folder: drop(folder, NORM), rf"lacks the weights '{NORM}'; expected .* whole LlamaForCausalLM"),
    (lambda folder: drop(folder, NORM, "model.norm.weight"), rf"lacks the weights '{NORM}' and 1 other;"),
    (
        lambda folder: configure(folder, intermediate_size=304),
        r"'model.layers.0.mlp.down_proj.weight' .* has the shape \[96, 288\]; expected \[96, 304\].* so are 8 others",
    ),
    (lambda folder: configure(folder, num_hidden_layers=4), r"lacks the weights 'model.layers.3.\S+' and 8 others"),
]


@pytest.mark.parametrize(("spoil", "said"), UNFIT)
def test_weights_that_do_not_fit(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    options = ModelOptions(model=str(folder), device="cpu")
    for refuse in (lambda: check(str(folder), options), lambda: load(str(folder), options), lambda: plan(folder)):
        with pytest.raises(InputError) as refused:
            refuse()
        assert re.search(said, str(refused.value))
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["zoo:slm-llama", "zoo:slm-gpt2"])
def test_weights_that_fit(name: str) -> None:
    check(locate(name), ModelOptions(model=name, device="cpu"))


def test_tied_and_spare_weights_fit(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, "spare": weights[NORM].clone()}, folder / WEIGHTS, {"format": "pt"})
    assert "lm_head.weight" not in weights
    check(str(folder), ModelOptions(model=str(folder), device="cpu"))


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"model_type": "t5"}, {}, "t5"),
        ({"rope_parameters": {"rope_type": "nope", "rope_theta": 1e4}}, {}, "nope"),
        ({"num_hidden_layers": -2}, {}, "num_hidden_layers: -2"),
        ({"vocab_size": -1}, {}, "vocab|shape|negative"),
        ({"vocab_size": 0}, {}, "cannot build"),
        ({"num_attention_heads": 0}, {}, "config.json"),
        ({"num_attention_heads": -2}, {}, "config.json|shape"),
        ({}, {"tune": "lora", "lora": {"targets": ("nope",)}}, "model.lora.targets"),
    ],
)
def test_what_no_run_can_build(folder: Path, changes: dict[str, Any], options: dict[str, Any], said: str) -> None:
    configure(folder, **changes)
    with pytest.raises(InputError, match=said) as refused:
        plan(folder, **options)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError):
        check(str(folder), ModelOptions(model=str(folder), device="cpu", **options))
