"""A classifier as a causal language model: the prompt is what it sees, and the text is one token, its label.

Everything that is defined on a language model's distributions then works on it as it stands: studies by any objective,
soft targets, scores, hidden states and differential privacy.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lada.models.labels import Shape
from lada.models.networks import SCALE


class OneToken(nn.Module):
    """A network with a head, called as `transformers` calls a causal LM.

    `input_ids` [n, cells + labels] are the levels of all cells, then the label if there is one. All positions up to the
    last cell have the network's state, which predicts the label. The state that has seen a label is the sum of that
    state and the label's row of the head, as if input and output embeddings were tied (arXiv 1608.05859).
    """

    def __init__(self, network: nn.Module, head: Any, reads: Mapping[str, Shape]) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.shapes = tuple(reads.values())
        self.sizes = [rows * columns for rows, columns in self.shapes]

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        return next(self.parameters()).device

    def get_input_embeddings(self) -> Any:
        """Return the head, whose `weight` is [labels, width]."""
        return self.head

    def get_output_embeddings(self) -> Any:
        """Return the layer of the logits."""
        return self.head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
    ) -> SimpleNamespace:
        """Return `logits` [n, positions, labels] and, if asked for, `hidden_states`, each [n, positions, width]."""
        cells = sum(self.sizes)
        levels, labels = input_ids[:, :cells].float() / SCALE, input_ids[:, cells:]
        grids = [part.unflatten(1, shape) for part, shape in zip(levels.split(self.sizes, 1), self.shapes, strict=True)]
        states = self.network(grids)
        positions = input_ids.shape[1]
        logits = self.head(states[-1][:, None].expand(-1, positions, -1))
        if not output_hidden_states:
            return SimpleNamespace(logits=logits)
        seen = self.head.weight[labels]
        hidden = [torch.cat([s[:, None].expand(-1, cells, -1), s[:, None] + seen], 1) for s in states]
        return SimpleNamespace(logits=logits, hidden_states=hidden)
