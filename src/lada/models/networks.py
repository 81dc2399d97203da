"""Small networks over grids. Each returns its hidden states, the first of them behind no layer.

A network gets the grids that it reads, each [n, rows, columns] of levels scaled to 0..1 and above, and returns
`depth` + 1 states [n, width]. All states have one width, so that methods can compare them across depths and networks.
None of the networks has statistics over a batch, whose average would mean something else than that of weights.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Shape = tuple[int, int]
SCALE = 16.0
"""The level of full ink, which becomes 1."""


class Mlp(nn.Module):
    """A multilayer perceptron of `depth` hidden layers over all cells."""

    def __init__(self, shapes: Sequence[Shape], width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(sum(rows * columns for rows, columns in shapes), width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        """Return the states before and after the first activation, and after each further layer."""
        states = [self.stem(torch.cat([grid.flatten(1) for grid in grids], 1))]
        states.append(states[0].relu())
        for layer in self.layers:
            states.append(layer(states[-1]).relu())
        return states


class Cnn(nn.Module):
    """`depth` - 1 convolutions of 3x3, each pooled by 2, and a dense layer. Grids of one shape are its channels."""

    def __init__(self, shapes: Sequence[Shape], width: int, depth: int) -> None:
        super().__init__()
        size, sizes = shapes[0], [shapes[0]]
        channels = [len(shapes), *[width] * max(1, depth - 1)]
        self.layers = nn.ModuleList(nn.Conv2d(few, many, 3, padding=1) for few, many in pairwise(channels))
        for _ in self.layers:
            size = (-(-size[0] // 2), -(-size[1] // 2))
            sizes.append(size)
        self.dense = nn.Linear(width * size[0] * size[1], width)

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        """Return the means of each layer's maps over the grid, the first before its activation, and the dense state."""
        maps = self.layers[0](torch.stack(list(grids), 1))
        states = [maps.mean((2, 3))]
        for place, layer in enumerate(self.layers):
            maps = (layer(maps) if place else maps).relu()
            states.append(maps.mean((2, 3)))
            maps = nn.functional.max_pool2d(maps, 2, ceil_mode=True)
        states.append(self.dense(maps.flatten(1)).relu())
        return states


class Gcn(nn.Module):
    """A graph convolutional network (Kipf and Welling, arXiv 1609.02907) of `depth` layers.

    It reads the features of nodes [n, nodes, features] and their edges [n, nodes, nodes], and predicts the first node:

        H ← ReLU(D^(-1/2) (A + I) D^(-1/2) H W)
    """

    def __init__(self, shapes: Sequence[Shape], width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(shapes[0][1], width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))

    def forward(self, grids: Sequence[Tensor]) -> list[Tensor]:
        """Return the first node's states, the first of them before its neighbours are seen."""
        nodes, edges = grids
        linked = (edges > 0).to(nodes.dtype) + torch.eye(edges.shape[1], device=edges.device)
        linked = linked.clamp(max=1)  # a node that names itself has one loop
        scale = linked.sum(2).rsqrt()
        spread = scale[:, :, None] * linked * scale[:, None, :]
        hidden = self.stem(nodes)
        states = [hidden[:, 0]]
        for layer in (None, *self.layers):
            hidden = (spread @ (hidden if layer is None else layer(hidden))).relu()
            states.append(hidden[:, 0])
        return states


class Dense(nn.Linear):
    """The logits of labels, each a weighted sum of the last state."""

    def __init__(self, labels: Sequence[str], width: int) -> None:
        super().__init__(width, len(labels))


class TextTower(nn.Module):
    """The logits of labels as similarities with their texts (CLIP, arXiv 2103.00020).

    A label's vector is the mean of its words' vectors, so labels that share a word share what is known of it. A logit
    is the cosine of both vectors times a learnt scale.
    """

    def __init__(self, labels: Sequence[str], width: int) -> None:
        super().__init__()
        words = sorted({word for label in labels for word in label.split()})
        bags = torch.tensor([[float(label.split().count(word)) for word in words] for label in labels])
        self.register_buffer("bags", bags / bags.sum(1, keepdim=True), persistent=False)
        self.words = nn.Parameter(torch.randn(len(words), width))
        self.scale = nn.Parameter(torch.tensor([2.0]))

    @property
    def weight(self) -> Tensor:
        """The unit vectors of all labels [labels, width]."""
        bags = self.get_buffer("bags")
        return nn.functional.normalize(bags @ self.words, dim=1)

    def forward(self, states: Tensor) -> Tensor:
        """Return logits [..., labels] of states [..., width]."""
        return self.scale.exp() * nn.functional.normalize(states, dim=-1) @ self.weight.T
