"""What the options of all classifiers say."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from lada.core.bounds import BatchSize
from lada.core.errors import InputError
from lada.core.grids import HEADER, MOST
from lada.core.terms import Verb
from lada.models.label_sets import DIGITS, LABEL_SETS
from lada.models.learners import LearnerOptions

Size = Annotated[int, Field(ge=1, le=4096)]
Shape = Annotated[tuple[Size, Size], Field(strict=False)]
"""Rows and columns of a grid."""


def _spelled_out(value: Any) -> Any:
    """Return the labels that a name stands for."""
    if not isinstance(value, str):
        return value
    if value not in LABEL_SETS:
        raise ValueError(f"{value!r} names no labels; expected a list, or one of {', '.join(LABEL_SETS)}")
    return LABEL_SETS[value]


LabelSet = Literal["digits", "parity", "attributes", "captions"]
Labels = Annotated[tuple[str, ...], BeforeValidator(_spelled_out, json_schema_input_type=tuple[str, ...] | LabelSet)]
"""A list of labels, or the name of a set of them."""


class ClassifierOptions(LearnerOptions):
    """Options of a classifier: a small network, drawn at random, whose vocabulary is its labels."""

    labels: Labels = Field(default=DIGITS, strict=False)
    """The labels, which are all that it can answer. All parties of a run have the same. `digits`, `parity`,
    `attributes` and `captions` stand for all that the task asks for with this value of `labels`."""
    reads: dict[str, Shape] = Field(default={"scan": (8, 8)}, min_length=1, strict=False)
    """The grids of a question that it reads, with rows and columns. It passes over all others."""
    width: int = Field(default=64, ge=1, le=65_536)
    """Number of units, or channels, of each layer."""
    depth: int = Field(default=2, ge=1, le=1000)
    """Number of layers below the logits."""
    draw: Literal["common", "own"] = "common"
    """`common`: all parties of a run with the same network start from the same weights, as averaging needs. `own`: each
    draws its own."""
    weights: str | None = None
    """A folder with weights to start from, such as `checkpoints/NAME/…/model` of a run's folder. None draws them."""
    batch_size: BatchSize = 512
    """Questions that are answered, judged or embedded at once."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """`auto` selects CUDA, else MPS, else the CPU, which is the fastest for networks as small as these."""

    @field_validator("labels")
    @classmethod
    def _two_or_more(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(labels) < 2:
            raise ValueError(f"{list(labels)} is too few labels to tell apart; expected two or more")
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"{twice[0]!r} is named twice; name each label once")
        for label in labels:
            if not label or label != " ".join(label.split()) or label.startswith("answer "):
                raise ValueError(f"{label!r} is no label; expected words with single spaces between them")
        return labels

    @field_validator("reads")
    @classmethod
    def _readable(cls, reads: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        for name, (rows, columns) in reads.items():
            if not HEADER.fullmatch(f"{name} {rows}x{columns}"):
                raise ValueError(f"{name!r} is no name of a grid; expected small letters")
        if (cells := sum(rows * columns for rows, columns in reads.values())) > MOST:
            raise ValueError(f"grids of {cells} cells; expected at most {MOST}")
        return reads

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions: an answer is one label, so it has no steps and no beginning."""
        return frozenset(Verb) - {Verb.EXPLAIN, Verb.CONTINUE}

    @property
    def limited_by(self) -> str:
        """See LearnerOptions."""
        return "an answer is one label"

    @property
    def drawn_with(self) -> str:
        """See LearnerOptions."""
        return "all classifiers" if self.draw == "common" else ""

    @property
    def labels_told(self) -> tuple[str, ...]:
        """See LearnerOptions."""
        return self.labels

    def tuned(self, *, full: bool, ranks: bool) -> dict[str, object]:
        """See LearnerOptions: all weights, which are those of the network's shape."""
        if ranks:
            raise InputError("has no LoRA factors; expected form: average")
        if self.draw == "own":
            raise InputError("has model.options.draw 'own'; expected 'common'")
        return {"kind": type(self).__name__, **self.model_dump(include={"labels", "reads", "width", "depth"})}
