"""A cache that allocates in advance holds the same as transformers' own, bit for bit."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lada.models.cache import ROOM, Roomy, roomy_cache

STEP = st.one_of(st.integers(1, 2 * ROOM + 3), st.lists(st.integers(0, 99), min_size=1, max_size=5))
"""Tokens that are appended, or rows that are kept, by their number modulo how many there are."""


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.lists(STEP, max_size=12))
def test_it_holds_what_a_dynamic_layer_holds(rows: int, steps: list[int | list[int]]):
    generator = torch.Generator().manual_seed(0)
    roomy: Any = Roomy()
    plain: Any = DynamicLayer()
    for step in [3, *steps]:
        if isinstance(step, int):
            keys, values = torch.rand(2, rows, 2, step, 4, generator=generator)
            for found, expected in zip(roomy.update(keys, values), plain.update(keys, values), strict=True):
                assert torch.equal(found, expected)
        else:
            index = torch.tensor([each % rows for each in step])
            roomy.reorder_cache(index)
            plain.reorder_cache(index)
            rows = len(step)
        assert torch.equal(roomy.keys, plain.keys)
        assert torch.equal(roomy.values, plain.values)
        assert roomy.get_seq_length() == plain.get_seq_length()
        assert roomy.get_mask_sizes(1) == plain.get_mask_sizes(1)


def test_a_token_is_written_in_place():
    layer = Roomy()
    new = torch.ones(2, 1, 1, 4)
    places = [layer.update(new, new)[0].data_ptr() for _ in range(ROOM + 2)]
    assert len(set(places[: ROOM + 1])) == 1
    assert places[-1] != places[0]


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        (LlamaConfig(num_hidden_layers=2), [Roomy, Roomy]),
        (MistralConfig(num_hidden_layers=2, sliding_window=8), [DynamicSlidingWindowLayer] * 2),
    ],
    ids=["llama", "windowed"],
)
def test_layers_of_another_kind_stay(config: object, kinds: list[type]):
    assert [type(layer) for layer in roomy_cache(config).layers] == kinds
