"""Of every type, the layer of the logits may see picked positions alone, and gives of them what it gives of all."""

from typing import Any

import pytest
import tiny_types
import torch

from lada.models.head import at, head_sees, last

IDS = torch.arange(5, 19).view(2, 7)
PICKED = torch.tensor([[0, 1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 1, 1]]).bool()


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(tiny_types.TYPES))
@torch.inference_mode()
def test_logits_of_picked_positions_are_those_among_all(kind: str) -> None:
    def logits() -> Any:
        torch.manual_seed(0)  # Reformer hashes at random
        return model(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False).logits

    try:
        model = tiny_types.make_model(tiny_types.make_config(kind))
        whole = logits()
    except Exception as error:  # parts of larger models, and types that lack packages; see docs/architectures.md
        pytest.skip(f"transformers cannot run it: {error}")
    with head_sees(model, at(PICKED)):
        assert torch.allclose(logits(), whole[PICKED][None], atol=1e-4)
    with head_sees(model, last):
        assert torch.allclose(logits(), whole[:, -1:], atol=1e-4)
