"""Exploit and Explore: two one-hidden-layer regressors with explicit weights (EE-Net, arXiv 2110.03177).

Exploit predicts the reward of studying a sample. Explore predicts Exploit's error from Exploit's hidden layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lada.core.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, np.ndarray]
"""`w1` [hidden, inputs], `b1` [hidden], `w2` [hidden], `b2` scalar []; float32."""


def new_network(inputs: int, hidden: int, *address: str | int) -> Weights:
    """Return weights drawn from N(0, 1/fan-in) for an address (see lada.core.seeds), with zero biases."""
    rng = generator(*address)
    return {
        "w1": (rng.standard_normal((hidden, inputs)) / np.sqrt(inputs)).astype(np.float32),
        "b1": np.zeros(hidden, np.float32),
        "w2": (rng.standard_normal(hidden) / np.sqrt(hidden)).astype(np.float32),
        "b2": np.zeros((), np.float32),
    }


def hidden_state(weights: Weights, inputs: np.ndarray) -> np.ndarray:
    """Return ReLU(W1 x + b1) for each row of `inputs` [n, d] -> [n, hidden]."""
    return np.maximum(inputs @ weights["w1"].T + weights["b1"], 0)


def predict(weights: Weights, inputs: np.ndarray) -> np.ndarray:
    """Return w2 · ReLU(W1 x + b1) + b2 for each row [n, d] -> [n]."""
    return hidden_state(weights, inputs) @ weights["w2"] + weights["b2"]


def block_means(vectors: np.ndarray, block: int) -> np.ndarray:
    """Return the means of consecutive blocks of `block` columns (the last may be shorter), [n, ceil(d / block)]."""
    starts = np.arange(0, vectors.shape[1], block)
    sizes = np.minimum(block, vectors.shape[1] - starts)
    return (np.add.reduceat(vectors, starts, axis=1) / sizes).astype(np.float32)


def fit(weights: Weights, inputs: np.ndarray, targets: np.ndarray, *, epochs: int, learning_rate: float) -> Weights:
    """Return the weights after `epochs` full-batch Adam steps on the mean squared error of `targets` [n]."""
    import torch  # here, since reading an allocator's options does not need it

    tensors: dict[str, Tensor] = {
        name: torch.from_numpy(np.array(array)).requires_grad_(True) for name, array in weights.items()
    }
    x, y = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets.astype(np.float32))
    optimizer = torch.optim.Adam(list(tensors.values()), lr=learning_rate)
    for _ in range(epochs):
        optimizer.zero_grad()
        hidden = torch.relu(x @ tensors["w1"].T + tensors["b1"])
        ((hidden @ tensors["w2"] + tensors["b2"] - y) ** 2).mean().backward()
        optimizer.step()
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
