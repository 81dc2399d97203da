"""Derives the memory of a classifier from its network, before any weight is drawn."""

from torch import nn

from lada.models.kept import kept_by
from lada.models.memory import FLOAT32, Trace
from lada.models.one_token import OneToken

CELL = 8 + 8 + 1 + 1
"""Bytes of a cell in a batch besides its level: its number and whether it is seen, int64, and two masks, bool."""


def trace_network(network: OneToken, depth: int) -> Trace:
    """Return the trace of a network of `depth` layers, which may be on the meta device.

    A row's input counts too, since it may be larger than the states of a small network. As an upper bound, a network
    that answers works with as much as it keeps for a backward pass.
    """
    cells = sum(network.sizes)
    kept, copies = kept_by(network.train(), cells + 1, 1)
    weights = list(network.parameters())
    labels, width = network.get_output_embeddings().weight.shape
    row = kept + FLOAT32 * width + CELL * (cells + 1)  # the head gets a copy of the last state
    return Trace(
        parameters=sum(weight.numel() for weight in weights),
        trainable=sum(weight.numel() for weight in weights),
        adapted=None,
        weights=_bytes(network),
        masters=0,
        kept=row,
        copies=copies,
        working=row,
        itemsize=FLOAT32,
        length=cells + 1,
        completion=1,
        layers=depth,
        width=None,  # no layer is computed again
        vocabulary=labels,
        cached=0,
    )


def _bytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
