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
from transformers import Gemma2Config, Gemma3TextConfig, GenerationConfig

from lada.core.errors import InputError
from lada.export import gguf as target
from lada.export import gguf_tensors
from lada.export.export import export
from lada.export.gguf_architectures import ARCHITECTURES, architecture_of
from lada.export.gguf_runtime import NOT_RUN
from lada.federation import checkpoints

gguf = pytest.importorskip("gguf")
KINDS = (*ARCHITECTURES, "gemma3")


@pytest.fixture(autouse=True)
def _without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "find_spec", lambda name: None)


def written(place: Path, kind: str, dtype: str = "float32", **changes: Any) -> tuple[Any, Any, Any]:
    """Return a random model, what came of its export, and a reader of the file."""
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model(kind, len(tokenizer), **changes)
    run = tiny_runs.run_folder(place, model, tokenizer, max_new_tokens=1)  # tensors are compared, and no texts
    exported = export(run, "slm", "gguf", dtype=dtype)
    (file,) = exported.folder.glob("*.gguf")
    return model, exported, gguf.GGUFReader(file)


@pytest.mark.parametrize(("kind", "dtype"), [*((kind, "float32") for kind in KINDS), ("llama", "float16")])
def test_every_tensor_is_read_back(kind: str, dtype: str, tmp_path: Path) -> None:
    model, exported, reader = written(tmp_path, kind, dtype)
    assert exported.check.what == "tensors"
    assert exported.check.passed
    assert exported.check.total == len(reader.tensors)
    assert exported.check.difference <= 1e-6
    assert NOT_RUN in exported.notes
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if tensor.data.ndim > 1}
    assert kinds == {"F16" if dtype == "float16" else "F32"}
    assert {tensor.tensor_type.name for tensor in reader.tensors if tensor.data.ndim == 1} == {"F32"}
    seen = ("vision_tower", "multi_modal_projector")
    own = {name for name in model.state_dict() if name != "lm_head.weight" and not any(part in name for part in seen)}
    tied = model.config.tie_word_embeddings and kind != "olmo2"
    assert len(reader.tensors) == len(own) + (not tied)
    assert any(tensor.name == "output.weight" for tensor in reader.tensors) == (not tied)


def test_a_wrong_tensor_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = target.stored

    def spoilt(data: np.ndarray, form: Any) -> np.ndarray:
        return stored(data + np.float32(0.25) if data.shape == (48, 32) else data, form)

    monkeypatch.setattr(target, "stored", spoilt)
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


def of(reader: Any, architecture: str) -> dict[str, Any]:
    """Return what a file says about attention and rope beyond what is tested for Llama."""
    plain = ("head_count", "head_count_kv", "layer_norm_rms_epsilon", "key_length", "value_length")
    fields = {name.removeprefix(f"{architecture}."): field.contents() for name, field in reader.fields.items()}
    parts = ("attention.", "rope.", "embedding_scale", "residual_scale", "logit_scale")
    return {
        name: value
        for name, value in fields.items()
        if name.startswith(parts) and name.removeprefix("attention.") not in plain
    }


OWN = {
    "qwen3": {"rope.freq_base": 10000.0, "rope.dimension_count": 16},
    "gemma2": {
        "attention.sliding_window": 24,
        "attention.sliding_window_pattern": [True, False],
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "rope.freq_base": 10000.0,
        "rope.dimension_count": 16,
    },
    "gemma3": {
        "attention.sliding_window": 24,
        "attention.sliding_window_pattern": [True, False],
        "rope.freq_base": 1000000.0,
        "rope.freq_base_swa": 10000.0,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8.0,
        "rope.dimension_count": 16,
    },
    "phi3": {"rope.freq_base": 10000.0, "rope.dimension_count": 8},
    "smollm3": {"rope.freq_base": 2000000.0, "rope.dimension_count": 8},
    "granite": {
        "embedding_scale": 12.0,
        "attention.scale": pytest.approx(0.3),
        "residual_scale": pytest.approx(0.22),
        "logit_scale": 8.0,
        "rope.freq_base": 10000.0,
        "rope.dimension_count": 8,
    },
}
"""What llama.cpp's src/models/*.cpp read of each, by the keys of gguf.constants."""


@pytest.mark.parametrize("architecture", OWN)
def test_the_settings_of_other_families(architecture: str, tmp_path: Path) -> None:
    kind = "gemma3_text" if architecture == "gemma3" else architecture
    _, _, reader = written(tmp_path, kind, "float16")
    caps = {
        name: reader.fields[f"{architecture}.{name}"].contents()
        for name in ("attn_logit_softcapping", "final_logit_softcapping")
        if f"{architecture}.{name}" in reader.fields
    }
    assert of(reader, architecture) | caps == OWN[architecture]
    assert reader.fields["general.architecture"].contents() == architecture
    assert reader.fields[f"{architecture}.context_length"].contents() == 256


@pytest.mark.parametrize("kind", ["gemma", "gemma2", "gemma3_text"])
def test_gemmas_norms_scale_by_one_more(kind: str, tmp_path: Path) -> None:
    model, _, reader = written(tmp_path, kind)
    found = {tensor.name: tensor.data for tensor in reader.tensors if "norm" in tensor.name}
    norms = {name: weight for name, weight in model.named_parameters() if "norm" in name}
    assert len(found) == len(norms) == {"gemma": 5, "gemma2": 9, "gemma3_text": 13}[kind]
    np.testing.assert_array_equal(found["output_norm.weight"], norms["model.norm.weight"].detach().numpy() + 1)
    name = "ffn_norm" if kind == "gemma" else "post_attention_norm"
    after = norms["model.layers.1.post_attention_layernorm.weight"].detach().numpy()
    np.testing.assert_array_equal(found[f"blk.1.{name}.weight"], after + 1)


def test_phi3_stays_fused(tmp_path: Path) -> None:
    model, _, reader = written(tmp_path, "phi3")
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    layer = model.model.layers[1]
    np.testing.assert_array_equal(found["blk.1.attn_qkv.weight"], layer.self_attn.qkv_proj.weight.detach())
    np.testing.assert_array_equal(found["blk.1.ffn_up.weight"], layer.mlp.gate_up_proj.weight.detach())


LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.0, 1.5],
    "long_factor": [2.0, 4.0],
    "original_max_position_embeddings": 128,
}


def test_phi3_with_two_sets_of_rotary_factors(tmp_path: Path) -> None:
    changes = {"rope_parameters": LONG, "original_max_position_embeddings": 128}
    _, exported, reader = written(tmp_path, "phi3", **changes)
    found = {tensor.name: tensor.data.tolist() for tensor in reader.tensors if tensor.name.startswith("rope")}
    assert found == {"rope_factors_long.weight": [2.0, 4.0], "rope_factors_short.weight": [1.0, 1.5]}
    said = {name: field.contents() for name, field in reader.fields.items() if name.startswith("phi3.rope.")}
    assert said == {
        "phi3.rope.freq_base": 10000.0,
        "phi3.rope.dimension_count": 4,  # half of the 8 places of a head
        "phi3.rope.scaling.original_context_length": 128,
        "phi3.rope.scaling.attn_factor": pytest.approx((1 + np.log(2) / np.log(128)) ** 0.5),
    }
    assert [note[:35] for note in exported.notes[:1]] == ["with a context (-c) above 128 tokens"[:35]]


YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(("given", "factor"), [({}, 1.0), ({"attention_factor": 1.5}, 1.5 / (1 + 0.1 * np.log(4)))])
def test_yarn_is_told_in_metadata(given: dict[str, Any], factor: float, tmp_path: Path) -> None:
    _, _, reader = written(tmp_path, "qwen3", rope_parameters={**YARN, **given})
    prefix = "qwen3.rope.scaling."
    said = {name.removeprefix(prefix): f.contents() for name, f in reader.fields.items() if name.startswith(prefix)}
    assert said == {
        "type": "yarn",
        "factor": 4.0,
        "original_context_length": 64,
        "attn_factor": pytest.approx(factor),
    }


@pytest.mark.parametrize(("make", "layers"), [(Gemma2Config, 46), (Gemma3TextConfig, 62)])
def test_queries_of_the_27b_gemmas_are_scaled_by_their_width(make: Any, layers: int) -> None:
    sizes = {"num_attention_heads": 32, "hidden_size": 4608, "head_dim": 128, "attn_logit_softcapping": None}
    if make is Gemma2Config:
        sizes["attn_logit_softcapping"] = 50.0
    architecture_of(make(**sizes, num_hidden_layers=layers, query_pre_attn_scalar=144))
    architecture_of(make(**sizes, num_hidden_layers=layers - 1, query_pre_attn_scalar=128))
    for wrong, scalar in ((layers, 128), (layers - 1, 144)):
        with pytest.raises(InputError, match=f"query_pre_attn_scalar of this gemma.* is {scalar}"):
            architecture_of(make(**sizes, num_hidden_layers=wrong, query_pre_attn_scalar=scalar))


def slow_q8_0(row: np.ndarray) -> list[float]:
    """Return a row in Q8_0, block by block and value by value, as ggml's quantize_row_q8_0_ref has it."""
    values = []
    for start in range(0, len(row), 32):
        block = [float(value) for value in row[start : start + 32]]
        scale = np.float32(max(map(abs, block)) / 127)
        inverse = np.float32(1) / scale if scale else np.float32(0)
        for value in block:
            exact = float(np.float32(value) * inverse)
            whole = int(np.floor(abs(exact) + 0.5)) * (1 if exact >= 0 else -1)
            values.append(float(np.float32(np.float16(scale))) * whole)
    return values


def test_q8_0_is_as_ggml_has_it(tmp_path: Path) -> None:
    model, exported, reader = written(tmp_path, "qwen3", "q8_0")
    assert exported.folder.name == "slm-gguf-q8_0"
    assert exported.check.passed
    assert exported.check.difference == 0
    found = {tensor.name: tensor for tensor in reader.tensors}
    entry = found["blk.0.ffn_gate.weight"]
    rows = gguf.quants.dequantize(entry.data, entry.tensor_type)
    weight = model.model.layers[0].mlp.gate_proj.weight.detach().numpy()
    assert rows[7].tolist() == slow_q8_0(weight[7])
    assert np.abs(rows - weight).max() <= np.abs(weight).max() / 254 * 1.01
    forms = {name: tensor.tensor_type.name for name, tensor in found.items()}
    assert forms["token_embd.weight"] == forms["output.weight"] == "Q8_0"
    assert forms["blk.1.ffn_down.weight"] == "F32"  # its rows have 48 values
    assert forms["blk.1.attn_norm.weight"] == "F32"
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q8_0
    assert reader.fields["general.quantization_version"].contents() == 2
    assert "2 of 16 matrices are not in Q8_0 but in F32, since their rows are no multiples of 32" in exported.notes
    assert "| weights | Q8_0, norms and biases float32 |" in (exported.folder / "README.md").read_text()


def test_a_wrong_block_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = target.stored

    def spoilt(data: np.ndarray, form: Any) -> np.ndarray:
        return stored(data[::-1].copy() if data.shape == (48, 32) else data, form)

    monkeypatch.setattr(target, "stored", spoilt)
    _, exported, _ = written(tmp_path, "llama", "q8_0")
    assert (exported.check.total - exported.check.same, exported.check.passed) == (4, False)


def test_four_bits_need_llama_cpps_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.export.gguf_quantise.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    message = (
        r"'q4_k_m' takes llama.cpp's own tool.*pip install 'lada-fed\[llama-cpp\]', put llama-quantize .*choose q8_0"
    )
    with pytest.raises(InputError, match=message):
        written(tmp_path, "llama", "Q4_K_M")


def test_the_tool_on_the_path_is_given_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.export.gguf_quantise.find_spec", lambda name: None)
    tool = tmp_path / "llama-quantize"
    tool.write_text('#!/bin/sh\necho "$3" > "$0.said" && cp "$1" "$2"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model("llama", len(tokenizer))
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "gguf", dtype="q4_k_m")
    assert (tmp_path / "llama-quantize.said").read_text() == "Q4_K_M\n"
    assert sorted(file.name for file in exported.folder.iterdir()) == ["README.md", "slm-Q4_K_M.gguf"]
    assert (exported.check.passed, exported.check.difference) == (True, 0)  # this tool copies
    assert "16 of 16 matrices are not in Q4_K_M but in F32, since their rows are no multiples of 256" in exported.notes


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
        ("opt", {}, "gguf has no 'opt' here; expected one of llama, .*, or export to hf instead"),
        ("llama", {"hidden_act": "relu"}, "hidden_act of this llama is 'relu'.*expected silu"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx.* is True"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm"),
        ("olmo2", {"attention_bias": True}, "attention_bias of this olmo2 is True"),
        ("gemma", {"tie_word_embeddings": False}, "tie_word_embeddings of this gemma is False"),
        (
            "qwen2",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rope_type of this qwen2 is 'dynamic'",
        ),
        ("qwen3", {"rope_parameters": {**YARN, "truncate": False}}, "truncate of this qwen3 is False"),
        ("qwen3", {"rope_parameters": {**YARN, "beta_fast": 16.0}}, "beta_fast of this qwen3 is 16.0.*expected 32"),
        ("qwen3", {"attention_bias": True}, "attention_bias of this qwen3 is True"),
        ("gemma2", {"attn_logit_softcapping": None}, "attn_logit_softcapping of this gemma2 is None.*a number above 0"),
        ("gemma2", {"query_pre_attn_scalar": 9}, "query_pre_attn_scalar of this gemma2 is 9.*expected 16"),
        (
            "gemma3_text",
            {"use_bidirectional_attention": True},
            "use_bidirectional_attention of this gemma3_text is True",
        ),
        ("gemma3_text", {"attn_logit_softcapping": 5.0}, "attn_logit_softcapping of this gemma3_text is 5.0"),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 0]}, r"no_rope_layers of this smollm3 is \[1, 0, 1, 0\]"),
        ("smollm3", {"mlp_bias": True}, "mlp_bias of this smollm3 is True"),
        ("granite", {"residual_multiplier": 0.0}, "residual_multiplier of this granite is 0.0"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(
    kind: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        written(tmp_path, kind, **changes)
    assert not (tmp_path / "run" / "export").exists()


@pytest.mark.parametrize("to", ["gguf", "onnx"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("mamba", "a recurrent model"),
        ("mamba2", "a recurrent model"),
        ("rwkv", "a recurrent model"),
        ("mixtral", "a mixture of 4 experts"),
        ("qwen3_moe", "a mixture of 4 experts"),
    ],
)
def test_other_kinds_are_refused_before_weights_are_read(
    kind: str, why: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    tokenizer = tiny_runs.byte_level()
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model(kind, len(tokenizer)), tokenizer)

    def read(*_: Any) -> None:
        raise AssertionError("the checkpoint was read")

    monkeypatch.setattr(checkpoints, "find", read)
    with pytest.raises(InputError, match=f"{to} has no '{kind}' here, {why}.*export to hf"):
        export(run, "slm", to)
    assert not (run / "export").exists()


@pytest.mark.parametrize("kind", ["mamba", "mixtral", "rwkv"])
def test_other_kinds_go_to_hf(kind: str, tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model(kind, len(tokenizer)), tokenizer)
    check = export(run, "slm", "hf").check
    assert (check.same, check.as_trained, check.difference) == (20, 20, 0)


def test_an_adapters_base_is_looked_at_before_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_runs.byte_level()
    base = tiny_runs.model("mixtral", len(tokenizer))
    learnt = tiny_runs.adapted(tiny_runs.model("mixtral", len(tokenizer)), "q_proj")
    run = tiny_runs.run_folder(tmp_path, learnt, tokenizer, base=base)
    monkeypatch.setattr(checkpoints, "find", lambda *_: pytest.fail("the checkpoint was read"))
    for to in ("gguf", "gguf-lora"):
        with pytest.raises(InputError, match="gguf has no 'mixtral' here, a mixture of 4 experts"):
            export(run, "slm", to)


def test_all_ends_of_a_turn_are_kept(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>", "<message>", "<end>"]})
    turn, message, end = tokenizer.convert_tokens_to_ids(["<turn>", "<message>", "<end>"])
    model = tiny_runs.model("llama", len(tokenizer))
    model.generation_config = GenerationConfig(eos_token_id=[turn, 1, message, end, len(tokenizer) + 99])
    run = tiny_runs.run_folder(tmp_path, model, tokenizer)
    exported = export(run, "slm", "gguf", dtype="float32")
    reader = gguf.GGUFReader(exported.folder / "slm.gguf")
    keys = [reader.fields[f"tokenizer.ggml.{key}_token_id"].contents() for key in ("eos", "eot", "eom")]
    assert keys == [1, turn, message]
    assert "a file names three ids that end an answer; llama.cpp knows '<end>' by the text alone" in exported.notes
    folder = export(run, "slm", "hf").folder
    assert GenerationConfig.from_pretrained(folder).eos_token_id == [1, turn, message, end]


def test_an_end_that_no_settings_say_is_believed_of_special_tokens_alone(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    turn = tokenizer.convert_tokens_to_ids("<turn>")
    for said, ends in ((7, 1), ([7, turn], [1, turn])):  # 7 is a letter
        place = tmp_path / str(ends)
        model = tiny_runs.model("llama", len(tokenizer), eos_token_id=said)
        model.generation_config = GenerationConfig.from_model_config(model.config)
        folder = export(tiny_runs.run_folder(place, model, tokenizer), "slm", "hf").folder
        assert GenerationConfig.from_pretrained(folder).eos_token_id == ends


def test_templates_by_name_are_all_written(tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    plain = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.chat_template = {"default": plain, "tool_use": "{{ tools }}"}
    run = tiny_runs.run_folder(tmp_path, tiny_runs.model("llama", len(tokenizer)), tokenizer)
    reader = gguf.GGUFReader(export(run, "slm", "gguf").folder / "slm.gguf")
    assert reader.fields["tokenizer.chat_template"].contents() == plain
    assert reader.fields["tokenizer.chat_template.tool_use"].contents() == "{{ tools }}"


def test_what_could_not_be_written_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(target, "write_tokens", broken)
    with pytest.raises(OSError, match="no space left"):
        written(tmp_path, "llama")
    assert not (tmp_path / "run" / "export" / "slm-gguf").exists()


def test_a_missing_package_is_told_with_its_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"export needs the package gguf .*pip install 'lada-fed\[gguf\]'"):
        written(tmp_path, "gpt2")
