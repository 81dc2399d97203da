"""Classifiers: small networks whose vocabulary is their labels, so that an answer is one token.

An architecture is a class below, which makes its network and, if that is not a plain one, its head.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from lada.core.registry import Options, Pluggable
from lada.core.terms import Lesson
from lada.learners.base import LEARNERS
from lada.models.base import Learner, Study
from lada.models.classifier_options import ClassifierOptions, Shape
from lada.objectives.base import OBJECTIVES
from lada.tasks.options import SCHOOL, DigitsTask

if TYPE_CHECKING:
    from torch import nn

    from lada.models.memory import Trace


class School(Options):
    """What a network learns before the run, on scans that no run of the same world has."""

    task: DigitsTask = DigitsTask()
    """What its questions show and in which domains. `public` is the number of scans, at most 300."""
    study: Study = Study(steps=300, batch_size=32)
    """How it studies them."""

    @field_validator("task")
    @classmethod
    def _set_aside(cls, task: DigitsTask) -> DigitsTask:
        if task.public > SCHOOL:
            raise ValueError(f"public is {task.public}; expected at most {SCHOOL} scans, which are set aside for it")
        return task


class NetworkOptions(ClassifierOptions):
    """Options of a classifier that may have been to school."""

    school: School | None = None
    """Train the network before the run, as a pre-trained model. None leaves its weights as they are drawn."""

    @model_validator(mode="after")
    def _one_past(self) -> "NetworkOptions":
        if self.school is not None and self.weights is not None:
            raise ValueError("school and weights are both set; expected only one of the two")
        return self


class Network(Pluggable):
    """Opens a classifier; its weights are drawn, unless they were saved."""

    def __init__(self, options: NetworkOptions) -> None:
        self.options = options

    def check(self) -> None:
        """See Opener.check: nothing can be missing."""

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Learner:
        """See Opener.open."""
        from lada.models.classifier import Classifier, load_weights  # here, as below, since PyTorch takes seconds
        from lada.models.placement import pick_device

        model = self._model(init_seed)
        folder = saved or (None if self.options.weights is None else base / self.options.weights)
        if folder is not None:
            load_weights(model, folder)
        learner = Classifier(model.to(pick_device(self.options.device)), self.name, self.options)
        if folder is None and (school := self.options.school) is not None:
            learner.study(self._lessons(school), OBJECTIVES.make("sft", {}), school.study, seed=init_seed)
        return learner

    def _lessons(self, school: School) -> list[Lesson]:
        """Return what a school teaches."""
        from lada.tasks.digits import load_school

        return [Lesson(each.id, each.question, each.answer or "") for each in load_school(school.task)]

    def trace(self) -> "Trace":
        """Return what the network's memory follows from; no weight is drawn."""
        import torch

        from lada.models.network_trace import trace_network

        with torch.device("meta"):
            network = self._model(0)
        return trace_network(network, self.options.depth)

    @property
    def name(self) -> str:
        """The name that it is registered by."""
        return next(method.name for method in LEARNERS if method.make is type(self))

    def _model(self, seed: int) -> Any:
        """Return the network with weights drawn from a seed."""
        import torch

        from lada.models.one_token import OneToken

        options = self.options
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.network(list(options.reads.values()), options.width, options.depth)
            head = self.head(options.labels, options.width)
        return OneToken(network, head, options.reads)

    @abstractmethod
    def network(self, shapes: Sequence[tuple[int, int]], width: int, depth: int) -> "nn.Module":
        """Return a network over grids of these shapes; see lada.models.networks for what it returns."""

    def head(self, labels: Sequence[str], width: int) -> "nn.Module":
        """Return the layer of the logits, whose `weight` is [labels, width]."""
        from lada.models.networks import Dense

        return Dense(labels, width)


class CnnOptions(NetworkOptions):
    """Options of a convolutional network."""

    @field_validator("reads")
    @classmethod
    def _one_shape(cls, reads: dict[str, Shape]) -> dict[str, Shape]:
        if len(set(reads.values())) > 1:
            raise ValueError(f"grids of the shapes {sorted(set(reads.values()))}; expected one shape, as of channels")
        return reads


class GraphOptions(NetworkOptions):
    """Options of a graph network. It reads the features of nodes and their edges."""

    reads: dict[str, Shape] = Field(
        default={"nodes": (6, 64), "edges": (6, 6)}, min_length=2, max_length=2, strict=False
    )
    """The grids that it reads, with rows and columns: nodes with their features, and edges between them."""

    @field_validator("reads")
    @classmethod
    def _square(cls, reads: dict[str, Shape]) -> dict[str, Shape]:
        (count, _), edges = reads.values()
        if edges != (count, count):
            raise ValueError(f"edges of the shape {edges} for {count} nodes; expected {(count, count)}")
        return reads


@LEARNERS.register("mlp", options=NetworkOptions, tags=("labels", "feature", "weights"))
class MlpOpener(Network):
    """A multilayer perceptron over all cells of a question."""

    def network(self, shapes: Sequence[tuple[int, int]], width: int, depth: int) -> "nn.Module":
        """See Network.network."""
        from lada.models.networks import Mlp

        return Mlp(shapes, width, depth)


class Convolutional(Network):
    """Opens a classifier with convolutions."""

    def network(self, shapes: Sequence[tuple[int, int]], width: int, depth: int) -> "nn.Module":
        """See Network.network."""
        from lada.models.networks import Cnn

        return Cnn(shapes, width, depth)


@LEARNERS.register("cnn", options=CnnOptions, tags=("labels", "feature", "weights"))
class CnnOpener(Convolutional):
    """A convolutional network; grids of one shape are its channels."""


@LEARNERS.register(
    "two_tower",
    options=CnnOptions,
    paper="arXiv 2103.00020",
    status="our reading",
    tags=("labels", "feature", "weights"),
)
class TwoTowerOpener(Convolutional):
    """An image tower and a text tower: a label's logit is the similarity of the image and the label's words."""

    def head(self, labels: Sequence[str], width: int) -> "nn.Module":
        """See Network.head."""
        from lada.models.networks import TextTower

        return TextTower(labels, width)


@LEARNERS.register(
    "graph", options=GraphOptions, paper="arXiv 1609.02907", status="our reading", tags=("labels", "feature", "weights")
)
class GraphOpener(Network):
    """A graph convolutional network, which labels the first node of a question's graph."""

    def network(self, shapes: Sequence[tuple[int, int]], width: int, depth: int) -> "nn.Module":
        """See Network.network."""
        from lada.models.networks import Gcn

        return Gcn(shapes, width, depth)
