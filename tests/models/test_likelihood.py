"""Log-probs of completions against a loop that feeds one prefix at a time."""

from typing import Any

import pytest
import torch

from lada.models.encoding import Encoded
from lada.models.likelihood import token_log_probs

ROWS = (Encoded((5, 6, 7), (8, 9, 10, 1)), Encoded((4,), (3, 1)), Encoded((9, 9, 9, 9, 9, 9), (2, 2, 2)))


def slow(model: Any, row: Encoded) -> list[float]:
    ids = row.prompt + row.completion
    found = []
    for position in range(len(row.prompt), len(ids)):
        logits = model(input_ids=torch.tensor([ids[:position]])).logits[0, -1]
        found.append(torch.log_softmax(logits, 0)[ids[position]].item())
    return found


def test_against_the_slow_loop(tiny: Any, architecture: str):
    model = tiny.model(architecture, 12)
    with torch.inference_mode():
        log_probs, mask = token_log_probs(model, ROWS, 0)
        expected = [slow(model, row) for row in ROWS]
    assert mask.tolist() == [[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]]
    for found, row in zip(log_probs.tolist(), expected, strict=True):
        assert found == pytest.approx(row + [0.0] * (4 - len(row)), abs=1e-5)


def test_padding_does_not_matter(tiny: Any, architecture: str):
    model = tiny.model(architecture, 12)
    with torch.inference_mode():
        together, mask = token_log_probs(model, ROWS, 0)
        other_pad, _ = token_log_probs(model, ROWS, 11)
        for i, row in enumerate(ROWS):
            alone, _ = token_log_probs(model, [row], 0)
            assert together[i][mask[i]].tolist() == pytest.approx(alone[0].tolist(), abs=1e-5)
    assert torch.equal(together, other_pad)


def test_gradients_flow_and_bfloat16_gives_float32(tiny: Any):
    model = tiny.model("llama", 12)
    log_probs, _ = token_log_probs(model, ROWS, 0)
    log_probs.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    assert token_log_probs(model.bfloat16(), ROWS, 0)[0].dtype == torch.float32
