"""Estimates a model's memory from its shape, before any weight is read.

Parameters are counted on the meta device. Memory that autograd keeps for the backward pass is counted too: a forward
pass over fake tensors, which have a shape and a type but no numbers, adds up what it saves. The rest are upper bounds
from our reading of the learner: every row of a batch counts as long as the longest possible one.

    studying    weights + masters + gradients + AdamW's two states + activations + logits, twice where their gradient
                cannot be written over them
    answering   weights + masters + what one layer works with + the greater of KV cache (writing) and logits (judging)

The estimate does not include the allocator's waste, kernels' workspaces, the CUDA context and the interpreter.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, computed_field

from lada.core.results import Record
from lada.models.options import ModelOptions

FLOAT32 = 4
"""Bytes of a float32."""
CHUNK = 2**22
"""The number of logits that are held in float32 at once."""

Count = Annotated[int, Field(ge=0)]


class MemoryEstimate(Record):
    """The maximum memory of a party's model, bytes except for the two counts; work that it does not do takes 0."""

    parameters: int
    trainable: int
    adapted: float | None = None
    """The share of the weights between embeddings and logits that LoRA adapts; None without LoRA."""
    weights: int
    masters: int
    """Float32 masters of trained weights that compute in fewer bits; from the first study on."""
    gradients: int
    optimizer: int
    activations: int
    """Kept for the backward pass by the largest micro-batch."""
    study_logits: int
    cache: int
    """Keys and values of `batch_size` rows."""
    working: int
    """The working memory of one layer while it answers `batch_size` rows."""
    answer_logits: int
    """Logits of the paths that are judged at once."""

    @computed_field
    @property
    def studying(self) -> int:
        """Bytes while it studies."""
        if not self.optimizer:
            return 0
        return self.weights + self.masters + self.gradients + self.optimizer + self.activations + self.study_logits

    @computed_field
    @property
    def answering(self) -> int:
        """Bytes while it answers and judges."""
        return self.weights + self.masters + self.working + max(self.cache, self.answer_logits)

    @computed_field
    @property
    def peak(self) -> int:
        """The larger of the two."""
        return max(self.studying, self.answering)


@dataclass(frozen=True, slots=True)
class Load:
    """What a model must hold at once: the longest prompt and completion, tokens, and rows of a micro-batch.

    `rows` counts rejected paths too; 0 for a model that never studies.
    """

    prompt: int
    completion: int
    rows: int


SHAPING = frozenset({"model", "tune", "lora", "quantise", "attention"})
"""Only the options that a trace depends on, so that equal traces are computed once."""


class Trace(Record):
    """The parts that do not depend on the number of rows: counts, bytes of weights, bytes per row, sizes of the
    model."""

    parameters: Count
    trainable: Count
    adapted: float | None
    weights: Count
    masters: Count
    kept: Count
    """Kept for the backward pass."""
    copies: Annotated[int, Field(ge=1, le=2)]
    """Copies of the logits in a study: 2 if their gradient cannot overwrite them."""
    working: Count
    """By one layer."""
    itemsize: Count
    """Bytes of the numbers that flow between layers."""
    length: Count
    """Tokens of prompt and completion, as far as the context holds them."""
    completion: Count
    layers: Annotated[int, Field(gt=0)]
    width: Count | None
    """The width of the hidden states; None if the configuration does not say."""
    vocabulary: Count
    cached: Count
    """Numbers that are stored as the keys of a token, and as many as its values; of all layers."""


def estimate_of(trace: Trace, options: ModelOptions, rows: int) -> MemoryEstimate:
    """Return the estimate for a model of this trace with micro-batches of `rows` rows; 0 if it never studies."""

    def logits(rows: int, copies: int) -> int:
        needed = rows * trace.completion * trace.vocabulary
        return copies * needed * trace.itemsize + 2 * min(needed, max(CHUNK, trace.vocabulary)) * FLOAT32

    kept = trace.kept
    if (
        options.gradient_checkpointing and trace.width is not None
    ):  # the input of every layer, and one layer that is recomputed
        kept = trace.layers * trace.length * trace.width * trace.itemsize + trace.kept // trace.layers
    studies = rows > 0
    return MemoryEstimate(
        parameters=trace.parameters,
        trainable=trace.trainable if studies else 0,
        adapted=trace.adapted,
        weights=trace.weights,
        masters=trace.masters if studies else 0,
        gradients=trace.trainable * FLOAT32 if studies else 0,
        optimizer=2 * trace.trainable * FLOAT32 if studies else 0,
        activations=rows * kept,
        study_logits=logits(rows, trace.copies) if studies else 0,
        cache=2 * trace.cached * options.batch_size * trace.length * trace.itemsize,
        working=options.batch_size * trace.working,
        answer_logits=logits(options.batch_size, 1),
    )
