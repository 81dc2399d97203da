"""The graph in ONNX Runtime: the same logits with and without a cache, in batches and one by one; the same texts."""

from pathlib import Path

import numpy as np
import pytest
import tiny_runs
import torch
from transformers import AutoTokenizer

from lada.export.export import export

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.slow  # one graph is exported below, in half precision
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "gemma", "opt", "bloom"])
def test_the_graph_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model(kind, len(tokenizer), layers=1)
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "onnx")
    check = exported.check
    assert (check.total, check.same, check.tokenised) == (20, 20, 20)
    assert check.difference < 1e-4
    assert sorted(file.name for file in exported.folder.iterdir()) == [
        "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.onnx", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert AutoTokenizer.from_pretrained(exported.folder).chat_template

    session = ort.InferenceSession(exported.folder / "model.onnx")
    ids = torch.randint(2, len(tokenizer), (2, 7))
    with torch.no_grad():
        whole = model(input_ids=ids).logits.numpy()
        alone = model(input_ids=ids[:1, 3:]).logits.numpy()
    cache = [i for i in session.get_inputs() if i.name.startswith("past")]
    shape = (2, cache[0].shape[1], 0, cache[0].shape[3])

    def step(ids: np.ndarray, mask: np.ndarray, places: np.ndarray, past: list[np.ndarray]) -> list[np.ndarray]:
        names = [entry.name for entry in cache]
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        return session.run(None, {**given, **dict(zip(names, past, strict=True))})

    # Two sequences, five tokens and then two behind a cache of five.
    ones, places = np.ones((2, 7), np.int64), np.tile(np.arange(7), (2, 1))
    first, *past = step(ids[:, :5].numpy(), ones[:, :5], places[:, :5], [np.zeros(shape, np.float32)] * 2)
    second, *past = step(ids[:, 5:].numpy(), ones, places[:, 5:], past)
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-4)
    assert past[0].shape[2] == 7
    # The first sequence behind three tokens of padding.
    ones[0, :3] = 0
    padded, *_ = step(ids.numpy(), ones, np.maximum(ones.cumsum(1) - 1, 0), [np.zeros(shape, np.float32)] * 2)
    np.testing.assert_allclose(padded[:1, 3:], alone, atol=1e-4)


def test_half_precision_and_weights_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.export.onnx.LARGE", 1000)
    tokenizer = tiny_runs.byte_level()
    model = tiny_runs.model("gpt2", len(tokenizer), layers=1)
    exported = export(tiny_runs.run_folder(tmp_path, model, tokenizer), "slm", "onnx", dtype="float16")
    assert (exported.folder / "model.onnx.data").stat().st_size > 2 * model.transformer.wte.weight.numel()
    assert exported.check.total == 20
    assert 0 < exported.check.difference < 0.1
