"""Approximate likelihood matching against numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lada.models.objective import Chunks, Scored
from lada.objectives.alm import Alm, AlmOptions, chunk_loss


def scored(chunks: Chunks | None, weights: tuple[float, float] = (1.0, 1.0)) -> Scored:
    """Two lessons of one token each, NLL 1 and 3 nats."""
    mask = torch.ones(2, 1, dtype=torch.bool)
    return Scored(torch.tensor([[-1.0], [-3.0]]), mask, torch.tensor(weights), None, 2.0, 0.0, None, chunks)


def test_by_hand():
    # τ = 2: p = 1/4 becomes 1/2, q = 1/16 becomes 1/4: -(1/2 ln 1/4 + 1/2 ln 3/4).
    found = chunk_loss(torch.tensor([1 / 4]).log(), torch.tensor([1 / 16]).log(), 2.0)
    assert found.tolist() == pytest.approx([-(0.5 * math.log(0.25) + 0.5 * math.log(0.75))])


def test_the_loss_by_hand():
    chunks = Chunks(torch.tensor([1 / 16]).log(), torch.tensor([1 / 4]).log(), torch.tensor([1]))
    gap = -(0.5 * math.log(0.25) + 0.5 * math.log(0.75))
    objective = Alm(AlmOptions(label_weight=0.75, temperature=2.0))
    assert objective(scored(chunks)).item() == pytest.approx(0.75 * 2 + 0.25 * gap / 2)
    assert objective(scored(chunks, (1.0, 3.0))).item() == pytest.approx(0.75 * 5 + 0.25 * 3 * gap / 2)
    assert objective(scored(None)).item() == pytest.approx(0.75 * 2)


@given(st.floats(-60, 0), st.floats(-60, 0), st.floats(0.5, 200))
@settings(max_examples=30, deadline=None)
def test_it_is_least_where_both_find_a_chunk_equally_likely(teacher: float, student: float, temperature: float):
    p, q = torch.tensor([teacher]), torch.tensor([student], requires_grad=True)
    gap = chunk_loss(p, q, temperature)
    assert gap.item() >= chunk_loss(p, p, temperature).item() - 1e-5
    gap.backward()
    assert q.grad is not None
    assert math.isfinite(q.grad.item())
    powers = sorted((teacher / temperature, student / temperature))
    if powers[1] - powers[0] > 0.01 and powers[0] > -9 and powers[1] < -1e-3:  # where float32 tells 1 - p from 1 and 0
        assert (q.grad.item() < 0) == (student < teacher)  # descent moves q towards p


@pytest.mark.parametrize("options", [{"label_weight": -0.1}, {"temperature": 0.0}, {"temperature": math.nan}])
def test_impossible_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError, match=f"{next(iter(options))} is"):
        AlmOptions(**options)
