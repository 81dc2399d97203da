"""What llama.cpp makes of the files: the same texts as PyTorch, the same tokens as transformers."""

from pathlib import Path
from typing import Any

import pytest
import tiny_runs
from test_gguf_tokens import phi3
from transformers import GenerationConfig

from lada.export.export import export
from lada.export.gguf_architectures import ARCHITECTURES
from lada.export.gguf_pre import PROBES

llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: pip install 'lada-fed[llama-cpp]'")
pytest.importorskip("gguf")
pytestmark = pytest.mark.slow
KINDS = (*ARCHITECTURES, "gemma3")
TABLED = ("gemma", "gemma2", "gemma3_text", "gemma3", "gpt2", "bloom")
"""It looks GELU up in a table of float16."""


def exported(
    place: Path, kind: str, tokenizer: Any, dtype: str = "float32", max_new_tokens: int = 5, **changes: Any
) -> Any:
    model = tiny_runs.model(kind, len(tokenizer), **changes)
    run = tiny_runs.run_folder(place, model, tokenizer, max_new_tokens=max_new_tokens)
    return export(run, "slm", "gguf", dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_texts_are_those_of_pytorch(kind: str, dtype: str, tmp_path: Path) -> None:
    check = exported(tmp_path, kind, tiny_runs.byte_level(), dtype).check
    assert check.runtime.startswith("llama.cpp")
    assert (check.total, check.tokenised) == (20, 20)
    # It multiplies float16 weights by float16 activations, which decides where two logits of a random model are close.
    assert check.same >= (18 if dtype == "float16" else 20)
    assert check.difference < (0.1 if dtype == "float16" or kind in TABLED else 1e-3)


ADAPTED = {
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    "bloom": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_over_a_base_writes_the_same_texts(kind: str, tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    base = tiny_runs.model(kind, len(tokenizer))
    learnt = tiny_runs.adapted(tiny_runs.model(kind, len(tokenizer)), *ADAPTED.get(kind, LINEAR))
    exported = export(tiny_runs.run_folder(tmp_path, learnt, tokenizer, base=base), "slm", "gguf-lora")
    assert sorted(file.name for file in exported.folder.iterdir()) == ["README.md", "slm-lora.gguf"]
    check = exported.check
    assert check.runtime.startswith("llama.cpp")
    assert check.same >= (18 if kind in TABLED else 20)
    assert check.difference < (0.1 if kind in TABLED else 1e-3)


@pytest.mark.parametrize("dtype", ["q8_0", "q4_k_m"])
@pytest.mark.parametrize("kind", KINDS)
def test_fewer_bits(kind: str, dtype: str, tmp_path: Path) -> None:
    found = exported(tmp_path, kind, tiny_runs.byte_level(), dtype)
    (file,) = found.folder.glob("*.gguf")
    llama = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    assert llama.metadata["general.file_type"] == {"q8_0": "7", "q4_k_m": "15"}[dtype]
    assert (found.check.passed, found.check.lossy, found.check.tokenised) == (True, True, 20)
    # llama.cpp rounds activations to 8 bits, which decides much in a random model; with other weights none is the same.
    assert found.check.same >= 5


def test_k_quants_hold_four_bits(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    wide = {"hidden_size": 256, "intermediate_size": 512}
    found = exported(tmp_path, "llama", tiny_runs.byte_level(), "q4_k_m", layers=1, **wide)
    (file,) = found.folder.glob("*.gguf")
    forms = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert forms["blk.0.attn_q.weight"] == forms["blk.0.ffn_gate.weight"] == "Q4_K"
    assert forms["output.weight"] == "Q6_K"
    assert not [note for note in found.notes if "matrices are not" in note]


def test_windows_slide_beyond_their_width(tmp_path: Path) -> None:
    """Prompts are longer than the window of 4, so each wrong layer, width or base of the rotation would show."""
    for kind in ("gemma2", "gemma3_text"):
        check = exported(tmp_path / kind, kind, tiny_runs.byte_level(), sliding_window=4, max_new_tokens=20).check
        assert check.same >= 19
        assert check.difference < 0.01


def test_the_same_window_in_other_layers_writes_other_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = pytest.importorskip("gguf")
    pattern = gguf.GGUFWriter.add_sliding_window_pattern
    turned = lambda self, value: pattern(self, [not slides for slides in value])  # noqa: E731
    monkeypatch.setattr(gguf.GGUFWriter, "add_sliding_window_pattern", turned)
    check = exported(tmp_path, "gemma2", tiny_runs.byte_level(), sliding_window=4).check
    assert check.difference > 0.1


YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "smollm3", "granite", "olmo2"])
@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
        YARN,
        {**YARN, "attention_factor": 1.3},
    ],
    ids=["linear", "yarn", "yarn with a factor of its own"],
)
def test_stretched_positions(kind: str, rope: dict[str, Any], tmp_path: Path) -> None:
    check = exported(tmp_path, kind, tiny_runs.byte_level(), rope_parameters=rope).check
    assert check.same == 20
    assert check.difference < 1e-3


LONG = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.5], "long_factor": [2.0, 4.0]}


@pytest.mark.parametrize("original", [512, 8], ids=["short", "long"])
def test_phi3_with_a_part_of_each_head_rotated(original: int, tmp_path: Path) -> None:
    rope = {**LONG, "partial_rotary_factor": 0.5, "original_max_position_embeddings": original}
    changes = {"rope_parameters": rope, "original_max_position_embeddings": original, "tie_word_embeddings": True}
    check = exported(tmp_path, "phi3", tiny_runs.byte_level(), max_position_embeddings=1024, **changes).check
    assert check.same == 20
    assert check.difference < 1e-3


def test_all_ends_of_a_turn_end_one(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    names = ["<turn>", "<message>", "<other>"]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    ids = tokenizer.convert_tokens_to_ids(names)
    model = tiny_runs.model("llama", len(tokenizer))
    model.generation_config = GenerationConfig(eos_token_id=[1, *ids[:2]])
    found = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "gguf")
    llama = llama_cpp.Llama(str(found.folder / "slm.gguf"), vocab_only=True, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
    assert [llama_cpp.llama_vocab_is_eog(vocabulary, index) for index in (1, *ids)] == [True, True, True, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"head_dim": 16, "attention_bias": True, "mlp_bias": True},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ],
    ids=["biases", "linear", "llama3"],
)
def test_llamas_of_other_shapes(changes: dict[str, Any], tmp_path: Path) -> None:
    check = exported(tmp_path, "llama", tiny_runs.byte_level(), **changes).check
    assert check.passed
    assert check.difference < 1e-3


TOKENIZERS = {
    "gpt-2": tiny_runs.byte_level,
    "bloom": lambda: tiny_runs.byte_level(r" ?[^(\s|[.,!?…。，、।۔،])]+"),
    "smollm": lambda: tiny_runs.byte_level(r"\p{N}", twice=True),
    "uncut": lambda: tiny_runs.shipped("bpe", 2),
    "sentencepiece": tiny_runs.sentencepiece,
    "sentencepiece without prefix": lambda: tiny_runs.sentencepiece(prefix=False),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[name]()
    found = exported(tmp_path, "llama", tokenizer, layers=1)
    assert found.check.tokenised == 20
    llama = llama_cpp.Llama(str(found.folder / "slm.gguf"), vocab_only=True, verbose=False)
    for text in (*PROBES, *tiny_runs.TEXTS):
        assert llama.tokenize(text.encode(), add_bos=True, special=True) == tokenizer(text)["input_ids"], text


def test_unigrams_tokens_are_those_of_transformers_inside_the_vocabulary(tmp_path: Path) -> None:
    tokenizer = tiny_runs.shipped("unigram")
    found = exported(tmp_path, "gpt2", tokenizer, layers=1)
    llama = llama_cpp.Llama(str(found.folder / "slm.gguf"), vocab_only=True, verbose=False)
    for text in (*tiny_runs.TEXTS, "  boxes\nare  7", ""):
        assert llama.tokenize(text.encode(), add_bos=True, special=True) == tokenizer(text)["input_ids"], text


def test_white_space_behind_phi3s_special_tokens_is_taken(tmp_path: Path) -> None:
    tokenizer = phi3()
    assert tokenizer("<|user|>\n ?")["input_ids"] == tokenizer("<|user|>?")["input_ids"]
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    found = exported(tmp_path, "phi3", tokenizer)
    assert (found.check.same, found.check.tokenised, found.notes) == (20, 20, ())


def test_a_partys_name_does_not_keep_a_file_from_loading(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("llama", len(tokenizer)), tokenizer, party="phi3-client")
    assert export(run, "phi3-client", "gguf", dtype="float32").check.same == 20
