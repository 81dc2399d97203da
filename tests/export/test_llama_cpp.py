"""What llama.cpp makes of the files: the same texts as PyTorch, the same tokens as transformers."""

from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from lada.export.export import export
from lada.export.gguf_pre import PROBES

llama_cpp = pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")
KINDS = ("llama", "mistral", "qwen2", "gemma", "olmo2", "gpt2", "bloom")


def exported(place: Path, kind: str, tokenizer: Any, dtype: str = "float32", **changes: Any) -> Any:
    run = tiny_runs.run_folder(place, tiny_runs.model(kind, len(tokenizer), **changes), tokenizer)
    return export(run, "slm", "gguf", dtype=dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_texts_are_those_of_pytorch(kind: str, dtype: str, tmp_path: Path) -> None:
    check = exported(tmp_path, kind, tiny_runs.byte_level(), dtype).check
    assert check.runtime.startswith("llama.cpp")
    assert (check.total, check.tokenised) == (20, 20)
    # It multiplies float16 weights by float16 activations, which decides where two logits of a random model are close.
    assert check.same >= (18 if dtype == "float16" else 20)
    # It looks GELU up in a table of float16.
    assert check.difference < (0.1 if dtype == "float16" or kind in ("gemma", "gpt2", "bloom") else 1e-3)


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
