"""The GGUF file, read by the package gguf: names, layouts, settings; what llama.cpp does not compute is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
import torch
from hypothesis import given
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.export import gguf as target
from lada.export import gguf_tensors
from lada.export.export import export

gguf = pytest.importorskip("gguf")
KINDS = ("llama", "mistral", "qwen2", "gemma", "olmo2", "gpt2", "bloom")


@pytest.fixture(autouse=True)
def _without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "find_spec", lambda name: None)


def written(place: Path, kind: str, dtype: str = "float32", **changes: Any) -> tuple[Any, Any, Any]:
    """Return a random model, what came of its export, and a reader of the file."""
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model(kind, len(tokenizer), **changes)
    run = tiny_runs.run_folder(place, model, tokenizer)
    exported = export(run, "slm", "gguf", dtype=dtype)
    return model, exported, gguf.GGUFReader(exported.folder / "slm.gguf")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_tensor_is_read_back(kind: str, dtype: str, tmp_path: Path) -> None:
    model, exported, reader = written(tmp_path, kind, dtype)
    assert exported.check.what == "tensors"
    assert exported.check.passed
    assert exported.check.total == len(reader.tensors)
    assert exported.check.difference <= 1e-6
    assert target.NOT_RUN in exported.notes
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if tensor.data.ndim > 1}
    assert kinds == {"F16" if dtype == "float16" else "F32"}
    assert {tensor.tensor_type.name for tensor in reader.tensors if tensor.data.ndim == 1} == {"F32"}
    own = {name for name in model.state_dict() if name != "lm_head.weight"}
    tied = model.config.tie_word_embeddings and kind != "olmo2"
    assert len(reader.tensors) == len(own) + (not tied)
    assert any(tensor.name == "output.weight" for tensor in reader.tensors) == (not tied)


def test_a_wrong_tensor_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = target._stored

    def spoilt(tensor: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
        data = stored(tensor, dtype)
        return data + np.float32(0.25) if data.shape == (48, 32) else data

    monkeypatch.setattr(target, "_stored", spoilt)
    _, exported, _ = written(tmp_path, "llama")
    # gate and up of two layers; down is [32, 48]
    assert (exported.check.total - exported.check.same, exported.check.passed) == (4, False)
    assert exported.check.difference == pytest.approx(0.25, abs=1e-6)


def test_the_settings_of_llama(tmp_path: Path) -> None:
    _, _, reader = written(tmp_path, "llama", "float16", head_dim=16, rms_norm_eps=1e-5)
    found = {name: field.contents() for name, field in reader.fields.items() if name.startswith("llama.")}
    assert found == {
        "llama.context_length": 256,
        "llama.embedding_length": 32,
        "llama.block_count": 2,
        "llama.feed_forward_length": 48,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": 16,
        "llama.attention.key_length": 16,
        "llama.attention.value_length": 16,
        "llama.vocab_size": len(tiny_runs.byte_level()) + 3,
    }
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["tokenizer.ggml.add_bos_token"].contents() is False
    assert reader.fields["tokenizer.ggml.add_eos_token"].contents() is False
    assert "message['content'] + \"\\n\"" in reader.fields["tokenizer.chat_template"].contents()


def test_a_sliding_window_is_all_the_context(tmp_path: Path) -> None:
    _, _, reader = written(tmp_path, "mistral", sliding_window=64)
    assert reader.fields["llama.context_length"].contents() == 64


def test_slower_rotation_stands_in_a_tensor(tmp_path: Path) -> None:
    rope = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    _, exported, reader = written(tmp_path, "llama", rope_parameters=rope)
    (factors,) = (tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight")
    np.testing.assert_allclose(factors, [4.0, 4.0, 4.0, 4.0], rtol=1e-6)
    assert exported.check.passed


def test_rows_of_a_rotated_head_are_paired() -> None:
    rows = torch.arange(8)[:, None]  # two heads of two halves of two
    assert gguf_tensors.paired(2).there(rows).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_blooms_rows_are_grouped_by_what_they_are() -> None:
    rows = torch.tensor([10, 20, 30, 11, 21, 31])  # query, key and value of head 0, then of head 1
    assert gguf_tensors.grouped(2).there(rows).tolist() == [10, 11, 20, 21, 30, 31]


@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from([(), (5,)]))
def test_layouts_can_be_undone(heads: int, half: int, rest: tuple[int, ...]) -> None:
    for layout, rows in ((gguf_tensors.paired(heads), 2 * half), (gguf_tensors.grouped(heads), 3 * half)):
        weight = torch.randn(heads * rows, *rest)
        assert torch.equal(layout.back(layout.there(weight)), weight)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("opt", {}, "gguf has no 'opt' here; expected one of llama, .*, or export to hf or onnx instead"),
        ("llama", {"hidden_act": "relu"}, "hidden_act of this LlamaForCausalLM is 'relu'.*expected silu"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx.* is True"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm"),
        ("olmo2", {"attention_bias": True}, "attention_bias of this Olmo2ForCausalLM is True"),
        ("gemma", {"tie_word_embeddings": False}, "tie_word_embeddings of this GemmaForCausalLM is False"),
        (
            "qwen2",
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
            "rope_type of this Qwen2ForCausalLM is 'linear'",
        ),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        written(tmp_path, kind, **changes)
    assert not (tmp_path / "run" / "export").exists()


def test_a_missing_package_is_told_with_its_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"the package 'gguf' is missing .*pip install 'lada\[gguf\]'"):
        written(tmp_path, "gpt2")
