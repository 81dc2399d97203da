"""Classifiers: small networks whose vocabulary is their labels, so that an answer is one token.

An architecture is a class with the network and the head that it is made of, and a row below.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from lada.core.registry import Pluggable
from lada.learners.base import LEARNERS
from lada.models.base import Learner
from lada.models.classifier_options import ClassifierOptions, Shape


class Network(Pluggable):
    """Opens a classifier; its weights are drawn, unless they were saved."""

    network: str
    """The class of the network in lada.models.networks."""
    head: str = "Dense"
    """The class of the head."""

    def __init__(self, options: ClassifierOptions) -> None:
        self.options = options

    def check(self) -> None:
        """See Opener.check."""
        self._model(0)

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Learner:
        """See Opener.open."""
        from lada.models.classifier import Classifier, load_weights  # here, as below, since PyTorch takes seconds
        from lada.models.placement import pick_device

        model = self._model(init_seed)
        folder = saved or (None if self.options.weights is None else base / self.options.weights)
        if folder is not None:
            load_weights(model, folder)
        return Classifier(model.to(pick_device(self.options.device)), self.name, self.options)

    @property
    def name(self) -> str:
        """The name that it is registered by."""
        return next(method.name for method in LEARNERS if method.make is type(self))

    def _model(self, seed: int) -> Any:
        """Return the network with weights drawn from a seed."""
        import torch

        from lada.models import networks
        from lada.models.one_token import OneToken

        options = self.options
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = getattr(networks, self.network)(list(options.reads.values()), options.width, options.depth)
            head = getattr(networks, self.head)(options.labels, options.width)
        return OneToken(network, head, options.reads)


class GraphOptions(ClassifierOptions):
    """Options of a graph network. It reads the features of nodes and their edges."""

    reads: dict[str, Shape] = Field(
        default={"nodes": (6, 64), "edges": (6, 6)}, min_length=2, max_length=2, strict=False
    )
    """The grids that it reads, with rows and columns: nodes with their features, and edges between them."""


@LEARNERS.register("mlp", options=ClassifierOptions)
class MlpOpener(Network):
    """A multilayer perceptron over all cells of a question."""

    network = "Mlp"


@LEARNERS.register("cnn", options=ClassifierOptions)
class CnnOpener(Network):
    """A convolutional network; grids of one shape are its channels."""

    network = "Cnn"


@LEARNERS.register("two_tower", options=ClassifierOptions, paper="arXiv 2103.00020", status="our reading")
class TwoTowerOpener(Network):
    """An image tower and a text tower: a label's logit is the similarity of the image and the label's words."""

    network, head = "Cnn", "TextTower"


@LEARNERS.register("graph", options=GraphOptions, paper="arXiv 1609.02907", status="our reading")
class GraphOpener(Network):
    """A graph convolutional network, which labels the first node of a question's graph."""

    network = "Gcn"
