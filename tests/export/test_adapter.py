"""The adapter alone: a folder for peft and transformers, and a file for llama.cpp."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from lada.core.errors import InputError
from lada.export import gguf_lora
from lada.export.export import Exported, export
from lada.export.gguf_runtime import NOT_RUN

gguf = pytest.importorskip("gguf")
IDS = torch.tensor([[5, 80, 33, 270, 9]])


@pytest.fixture(autouse=True)
def _without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_lora, "find_spec", lambda name: None)


def written(place: Path, to: str, kind: str, *targets: str, dtype: str | None = None, **changes: Any) -> Any:
    """Return a model with a random adapter, the folder of its base, and what came of its export."""
    tokenizer = tiny_runs.byte_level()
    base = tiny_runs.model(kind, len(tokenizer), **changes)
    learnt = tiny_runs.adapted(tiny_runs.model(kind, len(tokenizer), **changes), *targets)
    run = tiny_runs.run_folder(place, learnt, tokenizer, base=base, prompt="Q: {question}\nA:")
    return learnt, place / "base", export(run, "slm", to, dtype=dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Exported]:
    return written(tmp_path_factory.mktemp("peft"), "peft", "llama", "q_proj", "down_proj")


def test_peft_lays_it_over_its_base(folder: tuple[Any, Path, Exported]) -> None:
    learnt, base, exported = folder
    check = exported.check
    assert (check.total, check.same, check.as_trained, check.tokenised, check.difference) == (20, 20, 20, 20, 0)
    whole = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        expected = learnt.eval()(IDS).logits
        plain = whole(IDS).logits
        given = PeftModel.from_pretrained(whole, str(exported.folder)).eval()(IDS).logits
        alone = AutoPeftModelForCausalLM.from_pretrained(exported.folder).eval()(IDS).logits
        transformers_alone = AutoModelForCausalLM.from_pretrained(exported.folder).eval()(IDS).logits
    assert (plain - expected).abs().max() > 0.1
    for logits in (given, alone, transformers_alone):
        assert torch.equal(logits, expected)


def test_the_folder_holds_the_adapter_and_no_weights_of_the_base(folder: tuple[Any, Path, Exported]) -> None:
    _, base, exported = folder
    assert sorted(file.name for file in exported.folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja",
        "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    found = load_file(exported.folder / "adapter_model.safetensors")
    assert len(found) == 2 * 2 * 2  # layers, adapted matrices, factors
    assert sum(tensor.numel() for tensor in found.values()) == 2 * 4 * ((32 + 32) + (48 + 32))
    tokenizer = AutoTokenizer.from_pretrained(exported.folder)
    turns = [{"role": "user", "content": "how many?"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == "Q: how many?\nA:"
    assert f"the adapter needs its base, {str(base)!r}" in exported.notes
    card = (exported.folder / "README.md").read_text()
    assert "LoRA of rank 4, apart" in card
    assert "AutoPeftModelForCausalLM" in card


def test_the_adapter_is_rounded_and_the_base_is_not(tmp_path: Path) -> None:
    learnt, _, exported = written(tmp_path, "peft", "gpt2", "c_attn", dtype="bfloat16")
    found = load_file(exported.folder / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    assert (exported.check.same, exported.check.as_trained, exported.check.passed) == (20, 19, False)
    assert exported.check.difference == 0
    name = "base_model.model.transformer.h.1.attn.c_attn.lora_A"
    assert torch.equal(found[f"{name}.weight"], learnt.state_dict()[f"{name}.default.weight"].bfloat16())


def test_rows_of_b_are_ordered_as_llama_cpp_rotates(tmp_path: Path) -> None:
    learnt, base, exported = written(tmp_path, "gguf-lora", "llama", "q_proj", "v_proj")
    assert exported.check.what == "tensors"
    assert (exported.check.total, exported.check.same, exported.check.difference) == (8, 8, 0)
    assert exported.notes == (f"the adapter needs a GGUF file of its base, {str(base)!r}", NOT_RUN)
    reader = gguf.GGUFReader(exported.folder / "slm-lora.gguf")
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    factors = {name: weight.detach().numpy() for name, weight in learnt.named_parameters() if "lora_" in name}
    prefix = "base_model.model.model.layers.1.self_attn"
    # Four heads of eight places: the halves 0..3 and 4..7 become neighbours.
    order = [8 * head + place for head in range(4) for place in (0, 4, 1, 5, 2, 6, 3, 7)]
    a, b = (factors[f"{prefix}.q_proj.lora_{letter}.default.weight"] for letter in "AB")
    np.testing.assert_array_equal(found["blk.1.attn_q.weight.lora_a"], a)
    np.testing.assert_array_equal(found["blk.1.attn_q.weight.lora_b"], b[order])
    np.testing.assert_array_equal(
        found["blk.1.attn_v.weight.lora_b"], factors[f"{prefix}.v_proj.lora_B.default.weight"]
    )
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF")}
    assert said == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "general.name": "slm",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
        "general.file_type": 0,
    }


def test_gpt2s_adapter_is_not_transposed(tmp_path: Path) -> None:
    _, _, exported = written(tmp_path, "gguf-lora", "gpt2", "c_fc", dtype="float16")
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(exported.folder / "slm-lora.gguf").tensors}
    assert found["blk.0.ffn_up.weight.lora_a"].shape == (4, 32)
    assert found["blk.0.ffn_up.weight.lora_b"].shape == (128, 4)
    assert found["blk.0.ffn_up.weight.lora_b"].dtype == np.float16
    assert exported.check.passed


@pytest.mark.parametrize("to", ["peft", "gguf-lora"])
def test_a_party_without_an_adapter_is_told(to: str, tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("gpt2", len(tokenizer), layers=1), tokenizer)
    whole = {"peft": "hf", "gguf-lora": "gguf"}[to]
    with pytest.raises(InputError, match=f"'slm' has none, since it was trained with tune: full; export it to {whole}"):
        export(run, "slm", to)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "lm_head",
            "takes no adapter over 'lm_head.weight', which is that of the embeddings; .*export to gguf instead",
        ),
        ("embed_tokens", "takes no adapter over 'model.embed_tokens.weight'; expected linear layers"),
    ],
)
def test_adapters_that_llama_cpp_has_no_place_for_are_refused(target: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        written(tmp_path, "gguf-lora", "llama", target, tie_word_embeddings=True)
    assert not (tmp_path / "run" / "export").exists()
