"""The memory of classifiers: by hand, and against a real forward pass over as many cells."""

from typing import Any

import pytest
import torch

from lada.learners.base import LEARNERS
from lada.models.encoding import Encoded
from lada.models.likelihood import predict
from lada.models.memory import estimate_of
from lada.models.options import ModelOptions

SCENES = {"reads": {"scene": (24, 24), "box": (24, 24)}}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {}),
    "mlp of scenes": ("mlp", {**SCENES, "depth": 4, "width": 32}),
    "cnn": ("cnn", {}),
    "cnn of scenes": ("cnn", {**SCENES, "depth": 3, "width": 16}),
    "two_tower": ("two_tower", {"labels": ("plain 3", "bold 3", "bold 7")}),
    "graph": ("graph", {"depth": 3}),
}
HANDED_ON = 8 + 8 + 1
"""Bytes of a cell that no backward pass needs: its number, whether it is seen, and whether it is a label."""


def opened(learner: str, **options: Any) -> Any:
    return LEARNERS.make(learner, options)


def test_every_part_by_hand() -> None:
    trace = opened("mlp").trace()
    layers = 64 * 64 + 64, 64 * 64 + 64, 64 * 10 + 10  # of 64 cells, to 64 units, to 10 labels
    assert trace.parameters == trace.trainable == sum(layers) == 8970
    assert trace.weights == 4 * 8970
    states = 64 + 64 + 64 + 64  # the levels, two activations, and the copy of the last for the labels
    assert trace.kept == 4 * states + 18 * 65  # a cell is two int64 and two bool, and the label is one more
    found = estimate_of(trace, ModelOptions(model="mlp", batch_size=512), rows=32)
    logits = 32 * 10 * 4 + 32 * 10 * 2 * 4  # once, and twice in float32 while they become log-probs
    assert found.studying == 4 * 4 * 8970 + 32 * trace.kept + logits
    assert found.answering == 4 * 8970 + 512 * trace.kept + 512 * 10 * 3 * 4
    assert (found.cache, found.masters, found.adapted) == (0, 0, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_takes_what_a_real_study_keeps(name: str) -> None:
    learner, options = NETWORKS[name]
    network = opened(learner, **options)
    trace, model = network.trace(), network._model(0)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        predict(model, [Encoded((1,) * (trace.length - 1), (0,))], 0)
    assert trace.kept == sum(storage.nbytes() for storage in kept.values()) + HANDED_ON * trace.length
    assert trace.parameters == sum(weight.numel() for weight in model.parameters())


def test_no_weight_of_a_large_network_is_drawn() -> None:
    assert opened("mlp", width=65_536, depth=100).trace().parameters > 4e11
