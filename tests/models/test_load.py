"""What a folder may lack, and what is said then."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from lada.core.errors import InputError
from lada.models.load import check, load
from lada.models.options import LoraOptions, ModelOptions
from lada.models.placement import pick_device, pick_dtype

OPTIONS = ModelOptions(model="tiny", device="cpu")
LORA = ModelOptions(model="tiny", device="cpu", tune="lora")


@pytest.fixture(scope="module")
def good(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "good"
    tiny.learner().save(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    without_weights(folder)


def broken_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")


def half_the_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if "layers.1" not in name}, folder / "model.safetensors")


def other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def more_tokens(folder: Path) -> None:
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["one-more"])
    tokenizer.save_pretrained(folder)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_tokenizer, "has no tokenizer; expected tokenizer.json"),
        (without_weights, "cannot load '.*model': .*; expected a folder with config.json, model.safetensors"),
        (pickled_weights, "cannot load .*pickled weights are not read"),
        (broken_weights, "cannot load '.*model'"),
        (half_the_weights, "lacks the weights 'model.layers.1.*; expected those of a whole LlamaForCausalLM"),
        (other_width, r"the weight 'lm_head.weight' of '.*model' has the shape \[300, 16\]; expected \[300, 32\]"),
        (without_config, "cannot load '.*model'"),
        (broken_config, "cannot load '.*model': .*config"),
        (more_tokens, "has 301 tokens but the model only 300 embeddings; call model.resize_token_embeddings"),
        (gone, "cannot load '.*model'"),
    ],
)
def test_what_is_missing_is_named(folder: Path, spoil: Callable[[Path], None], said: str):
    spoil(folder)
    with pytest.raises(InputError, match=f"^model: .*{said}"):
        load(str(folder), OPTIONS)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"prompt": "Answer:"}, r"model\.prompt: 'Answer:' holds no"),
        ({"system": "Think."}, r"model\.system: .* has no chat template"),
        ({"attention": "flash_attention_2"}, r"model\.attention: "),
    ],
)
def test_what_can_be_told_without_weights_is_told_without_them(folder: Path, wish: dict[str, Any], said: str):
    without_weights(folder)
    check(str(folder), OPTIONS)
    with pytest.raises(InputError, match=said):
        check(str(folder), OPTIONS.model_copy(update=wish))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
def test_a_checkpoint_of_the_other_tuning_is_refused(good: Path, tmp_path: Path):
    load(str(good), LORA).save(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"model.tune: 'full', but '.*adapter' was saved with another tuning"):
        load(str(good), OPTIONS, saved=tmp_path / "adapter")
    with pytest.raises(InputError, match=r"model.tune: 'lora', but '.*good' was saved with another tuning"):
        load(str(good), LORA, saved=good)


def test_lora_targets_that_are_not_there(good: Path):
    options = LORA.model_copy(update={"lora": LoraOptions(targets=("no_such_layer",))})
    with pytest.raises(InputError, match=r"model.lora.targets: \('no_such_layer',\): .*layers of LlamaForCausalLM"):
        load(str(good), options)


def test_a_saved_learner_is_an_ordinary_model(good: Path, tiny: Any):
    import transformers

    model: Any = transformers.AutoModelForCausalLM.from_pretrained(good)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in tiny.weights(tiny.learner()).items())
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(good)
    assert tokenizer(tiny.paths[0])["input_ids"] == tiny.tokenizer()(tiny.paths[0])["input_ids"]


def test_devices_and_dtypes():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_bfloat16_is_taken_at_its_word(good: Path):
    learner = load(str(good), OPTIONS.model_copy(update={"dtype": "bfloat16"}))
    assert {p.dtype for p in learner.model.parameters()} == {torch.bfloat16}
    assert learner.judge([("?", "answer 5")])[0].total < 0


def test_loading_prints_nothing(good: Path, capfd: pytest.CaptureFixture[str]):
    """Those who load models outside a run, such as an audit, see no bars of other libraries either."""
    assert logging.is_progress_bar_enabled()
    load(str(good), OPTIONS)
    assert capfd.readouterr() == ("", "")
