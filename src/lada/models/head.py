"""Computes logits only where they are needed: with a large vocabulary, they are the largest result of a forward
pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

Pick = Callable[[Tensor], Tensor]
"""Takes hidden states [rows, ..., positions, width] and returns those that need logits, with as many dimensions.

The dimensions between rows and positions are the streams of a model that predicts several tokens at once, such as
ProphetNet.
"""


def last(hidden: Tensor) -> Tensor:
    """Pick the last position of each row."""
    # For a view, PyTorch would copy the head's weights for each row (torch.matmul, if it cannot fold the rows).
    return hidden[..., -1:, :].contiguous()


def at(mask: Tensor) -> Pick:
    """Return a function that picks the positions where `mask` [rows, positions] is True, row by row in one line."""
    return lambda hidden: hidden.movedim(-2, 1)[mask.to(hidden.device)].movedim(0, -2)[None]


@contextmanager
def head_sees(model: Any, pick: Pick) -> Iterator[None]:
    """Let the output layer see only what `pick` picks, in any architecture and version.

    A model that does not name such a layer computes the logits of all positions.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    with head.register_forward_pre_hook(lambda _, given: (pick(given[0]), *given[1:])):
        yield
