"""The small networks, compared with a slow or obvious computation of their outputs."""

from typing import Any

import numpy as np
import pytest
import torch

from lada.models.networks import Cnn, Dense, Gcn, Mlp, TextTower
from lada.models.one_token import OneToken


def first_layer(network: torch.nn.Module) -> Any:
    layers: Any = network.layers
    return layers[0]


def filled(module: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(value)


def test_an_mlp_returns_the_states_before_and_after_each_layer():
    network = Mlp([(1, 2)], width=1, depth=2)
    with torch.no_grad():
        network.stem.weight.copy_(torch.tensor([[1.0, -3.0]]))
        network.stem.bias.fill_(0.5)
        first_layer(network).weight.fill_(2.0)
        first_layer(network).bias.fill_(1.0)
    states = network([torch.tensor([[[4.0, 1.0]], [[0.0, 1.0]]])])
    assert [state.flatten().tolist() for state in states] == [[1.5, -2.5], [1.5, 0.0], [4.0, 1.0]]


def test_a_cnn_returns_the_means_of_its_maps_then_the_dense_state():
    network = Cnn([(2, 2)], width=1, depth=2)
    filled(network, 0.0)
    with torch.no_grad():
        first_layer(network).weight[0, 0, 1, 1] = 1.0  # the cell itself
        first_layer(network).bias.fill_(-1.0)
        network.dense.weight.fill_(3.0)
    first, second, last = network([torch.tensor([[[0.0, 2.0], [1.0, 5.0]]])])
    assert first.tolist() == [[1.0]]  # of -1, 1, 0 and 4
    assert second.tolist() == [[1.25]]  # of 0, 1, 0 and 4
    assert last.tolist() == [[12.0]]  # three times the greatest


def test_grids_of_one_shape_are_channels():
    assert first_layer(Cnn([(4, 4), (4, 4)], width=3, depth=2)).weight.shape == (3, 2, 3, 3)


def test_a_gcn_weighs_neighbours_by_their_degrees():
    network = Gcn([(3, 1), (3, 3)], width=1, depth=1)
    filled(network.stem, 0.0)
    with torch.no_grad():
        network.stem.weight.fill_(1.0)
    nodes = torch.tensor([[[1.0], [10.0], [100.0]]])
    edges = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    before, after = network([nodes, edges])
    # The first node has degree 2 with its loop, the second has 3; the third is no neighbour of the first.
    assert before.item() == 1.0
    assert after.item() == pytest.approx(1 / 2 + 10 / np.sqrt(2 * 3))


def test_a_text_tower_knows_a_label_by_its_words():
    tower = TextTower(["bold 7", "bold 3", "7"], width=2)
    with torch.no_grad():
        tower.words.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))  # 3, 7, bold
        tower.scale.fill_(0.0)
    root = np.sqrt(0.5)
    assert tower.weight.tolist() == [pytest.approx([root, root]), [1.0, 0.0], [0.0, 1.0]]
    assert tower(torch.tensor([[0.0, 5.0]])).tolist() == [pytest.approx([root, 0.0, 1.0])]
    assert [name for name, _ in tower.named_parameters()] == list(tower.state_dict())  # no statistics beside weights


def test_a_classifier_is_called_like_a_causal_language_model():
    model = OneToken(Mlp([(1, 2)], width=3, depth=1), Dense("ab", 3), {"scan": (1, 2)})
    ids = torch.tensor([[16, 8, 1], [0, 4, 0]])
    output = model(ids, torch.ones_like(ids), output_hidden_states=True)
    states = model.network([ids[:, :2].float()[:, None] / 16])
    assert output.logits.shape == (2, 3, 2)
    for hidden, state in zip(output.hidden_states, states, strict=True):
        for position in (0, 1):  # all cells are seen at once
            assert torch.equal(hidden[:, position], state)
        assert torch.allclose(hidden[:, 2], state + model.head.weight[ids[:, 2]])
    assert torch.allclose(output.logits[:, 1], model.head(states[-1]))
