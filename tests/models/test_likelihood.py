"""Log-probs of completions against a loop that feeds one prefix at a time."""

from typing import Any

import pytest
import torch

from lada.models.encoding import Encoded
from lada.models.likelihood import likeliest, log_probs_of, predict, token_log_probs

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


BESIDE = torch.tensor(
    [[0, 3, 7], [1, 2, 4], [5, 6, 11], [0, 1, 9], [2, 3, 8], [0, 10, 11], [1, 5, 7], [2, 4, 9], [0, 0, 0]]
)
"""Three tokens for each of the nine completion tokens; the last row repeats, as in unused places."""


@pytest.mark.parametrize("chunk", [1, 30, 10**6])
def test_log_probs_beside_the_own_and_their_gradients_are_those_of_the_dense_formula(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, chunk: int
):
    monkeypatch.setattr("lada.models.likelihood.CHUNK", chunk)
    model = tiny.model("llama", 12)
    predicted = predict(model, ROWS, 0)
    own, beside = log_probs_of(predicted, BESIDE)
    dense = predicted.logits.float().log_softmax(1)
    assert torch.allclose(own, dense.gather(1, predicted.own[:, None])[:, 0], atol=1e-6)
    assert torch.allclose(beside, dense.gather(1, BESIDE), atol=1e-6)

    torch.manual_seed(0)
    weight, weights = torch.randn(9), torch.randn(9, 3)
    weights[8] = 0
    found = torch.autograd.grad(
        (own * weight).sum() + (beside * weights).sum(), [*model.parameters()], retain_graph=True
    )
    expected = torch.autograd.grad(
        (dense.gather(1, predicted.own[:, None])[:, 0] * weight).sum() + (dense.gather(1, BESIDE) * weights).sum(),
        [*model.parameters()],
    )
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_the_likeliest_tokens_ascend_and_hold_the_own(tiny: Any):
    with torch.inference_mode():
        predicted = predict(tiny.model("gpt2", 12), ROWS, 0)
        dense = predicted.logits.log_softmax(1)
        for k in (1, 3, 12, 40):
            ids, log_probs = likeliest(predicted, k, 12)
            assert torch.allclose(log_probs, dense.gather(1, ids), atol=1e-6)
            for row, found, own in zip(dense, ids.tolist(), predicted.own.tolist(), strict=True):
                first = row.argsort(descending=True)[:k].tolist()
                expected = first if own in first else [*first[:-1], own]
                assert found == sorted(expected)


def test_only_ids_that_the_tokenizer_has_are_named(tiny: Any):
    with torch.inference_mode():
        predicted = predict(tiny.model("llama", 14), ROWS, 0)
        ids, log_probs = likeliest(predicted, 20, 11)
    assert ids.tolist() == [list(range(11))] * 9
    assert bool((log_probs.exp().sum(1) < 1).all())  # what the other embeddings get is in the tail
