"""A saved learner comes back bit for bit, or the weights that do not are named."""

import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.checksums import FILE, checksums
from lada.models.load import load
from lada.models.options import LoraOptions, ModelOptions
from lada.rounds.steps import sft

FULL = ModelOptions(model="tiny", device="cpu", max_new_tokens=24)
LORA = FULL.model_copy(update={"tune": "lora"})
TUNED = {"full": (FULL, "model.safetensors"), "lora": (LORA, "adapter_model.safetensors")}


@pytest.fixture(scope="module")
def saved(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, what `full` saved of it, and what `lora` did."""
    place = tmp_path_factory.mktemp("saved")
    tiny.learner().save(place / "base")
    for tune, (options, _) in TUNED.items():
        load(str(place / "base"), options).save(place / tune)
    return place


def test_a_checksum_is_the_crc_32_of_the_values_in_float32():
    model: Any = torch.nn.Linear(2, 2).bfloat16()
    model.register_buffer("seen", torch.tensor(3))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
        model.bias.zero_()
    expected = {
        "weight": zlib.crc32(np.array([1, -2, 0.5, 3], np.float32).tobytes()),
        "bias": zlib.crc32(bytes(8)),
        "seen": zlib.crc32((3).to_bytes(8, "little")),
    }
    assert checksums(model) == checksums(model.float()) == expected


@pytest.mark.parametrize("tune", TUNED)
def test_each_weight_that_comes_back_otherwise_is_named(saved: Path, tune: str, tmp_path: Path):
    options, file = TUNED[tune]
    shutil.copytree(saved / tune, tmp_path / tune)
    good = load_file(saved / tune / file)
    for name, weight in good.items():
        if "layers.0." in name:
            continue  # layer 1 has the same, and each model takes a while to load
        other = weight.clone()
        other.view(-1)[-1] += 1
        save_file({**good, name: other}, tmp_path / tune / file, {"format": "pt"})
        own = name.replace(".weight", ".default.weight") if tune == "lora" else name
        with pytest.raises(InputError, match=rf"^model: {re.escape(own)}: 1 of {len(good)} weights loaded from '.*"):
            load(str(saved / "base"), options, saved=tmp_path / tune)
    save_file(good, tmp_path / tune / file, {"format": "pt"})
    load(str(saved / "base"), options, saved=tmp_path / tune)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_an_adapter_that_is_not_found_in_its_file_is_named(saved: Path, tmp_path: Path):
    shutil.copytree(saved / "lora", tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_model.safetensors"
    kept = {name: weight for name, weight in load_file(file).items() if "layers.1.self_attn.q_proj.lora_A" not in name}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"^model: .*layers\.1\.self_attn\.q_proj\.lora_A\.default\.weight: 1 of 28 "):
        load(str(saved / "base"), LORA, saved=tmp_path / "lora")


def test_many_are_counted_and_three_named(saved: Path, tmp_path: Path):
    shutil.copytree(saved / "full", tmp_path / "full")
    told = json.loads((tmp_path / "full" / FILE).read_text())
    (tmp_path / "full" / FILE).write_text(json.dumps({name: checksum ^ 1 for name, checksum in told.items()}))
    first, second, third = list(told)[:3]
    names = re.escape(f"{first}, {second}, {third} and more: {len(told)} of {len(told)} weights")
    with pytest.raises(InputError, match=f"^model: {names}"):
        load(str(saved / "base"), FULL, saved=tmp_path / "full")


def test_more_bits_are_the_same_weights(tiny: Any, tmp_path: Path):
    learner = tiny.learner()
    learner.model = learner.model.bfloat16()
    learner.save(tmp_path)
    wide = load(str(tmp_path), FULL.model_copy(update={"dtype": "float32"}), saved=tmp_path)
    assert wide.model.dtype == torch.float32


def test_a_checkpoint_from_before_checksums_is_taken(saved: Path, tmp_path: Path):
    shutil.copytree(saved / "full", tmp_path / "full")
    (tmp_path / "full" / FILE).unlink()
    load(str(saved / "base"), FULL, saved=tmp_path / "full")


def base(tiny: Any, kind: str, place: Path, **sizes: Any) -> str:
    """Save a tiny random model of a type whose weights transformers or peft do not all bring back."""
    tokenizer = tiny.tokenizer()
    told = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    told |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 96}
    try:
        config = hf.AutoConfig.for_model(kind, **told, **sizes, num_attention_heads=2, num_key_value_heads=2)
    except ValueError:
        pytest.skip(f"this version of transformers has no {kind}")
    torch.manual_seed(0)
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return str(place)


def learn(learner: Any, tiny: Any) -> None:
    lessons = [Lesson(str(i), *pair) for i, pair in enumerate(zip(tiny.questions, tiny.paths, strict=True))]
    learner.study(lessons, sft(), Study(steps=2, batch_size=4), seed=0)


def test_what_transformers_draws_anew_is_named(tiny: Any, tmp_path: Path):
    """Youtu sets its embedding of padding back to 0 whenever it is loaded; trained, as it is tied, it is not 0."""
    ranks = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
    folder = base(tiny, "youtu", tmp_path / "base", **ranks, v_head_dim=16, head_dim=8)
    learner = load(folder, FULL)
    learner.save(tmp_path / "fresh")
    load(folder, FULL, saved=tmp_path / "fresh")
    learn(learner, tiny)
    learner.save(tmp_path / "full")
    with pytest.raises(InputError, match=r"^model: model\.embed_tokens\.weight, lm_head\.weight: 2 of \d+ weights "):
        load(folder, FULL, saved=tmp_path / "full")


def test_adapters_that_peft_would_not_find_again_are_refused_before_they_learn(tiny: Any, tmp_path: Path):
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "sliding_window": 16}
    heads = {"head_dim": 16, "shared_expert_intermediate_size": 48}
    folder = base(tiny, "laguna", tmp_path / "base", **experts, **heads)
    shared = "model.layers.1.mlp.shared_experts"
    layers = ", ".join(f"{shared}.{name}_proj" for name in ("gate", "up", "down"))
    with pytest.raises(InputError, match=rf"^model\.tune: 'lora', but the adapters of {re.escape(layers)} would be"):
        load(folder, LORA)
    options = LORA.model_copy(update={"lora": LoraOptions(targets=("q_proj", "experts.down_proj"))})
    learner = load(folder, options)
    learn(learner, tiny)
    learner.save(tmp_path / "lora")
    again = load(folder, options, saved=tmp_path / "lora")
    assert checksums(learner.model) == checksums(again.model)
