"""Logits only where they are needed: of a large vocabulary they are the largest thing that a forward pass makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

Pick = Callable[[Tensor], Tensor]
"""Takes hidden states [rows, ..., positions, width] and returns those to compute logits of, with as many dimensions.

Between rows and positions are the streams of a model that predicts several tokens at once, as ProphetNet does.
"""


def last(hidden: Tensor) -> Tensor:
    """Pick the last position of each row."""
    # Of a view, PyTorch would copy the head's weights once a row (torch.matmul, where it cannot fold the rows).
    return hidden[..., -1:, :].contiguous()


def at(mask: Tensor) -> Pick:
    """Return what picks the positions where `mask` [rows, positions] is True, row by row in one line."""
    return lambda hidden: hidden.movedim(-2, 1)[mask.to(hidden.device)].movedim(0, -2)[None]


@contextmanager
def head_sees(model: Any, pick: Pick) -> Iterator[None]:
    """Let the layer of the logits see what `pick` picks and nothing else, in any architecture and version.

    A model that has no such layer to name computes the logits of all positions.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    with head.register_forward_pre_hook(lambda _, given: (pick(given[0]), *given[1:])):
        yield
