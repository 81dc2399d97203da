"""The contract of a learner: the inputs and outputs of each verb, for every implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field, model_validator

from lada.core.bounds import BatchSize
from lada.core.errors import InputError
from lada.core.needs import Needs, State
from lada.core.registry import Options
from lada.core.terms import Lesson, Likelihood, TokenizedText, TokenScores, Verb, Vocabulary
from lada.models.objective import Objective
from lada.models.private import Privacy
from lada.models.training import Optimisation

if TYPE_CHECKING:
    import numpy as np

READ_AT = 2 / 3
"""The depth, as a share of the layers, of the hidden states in `Learner.read`. The last layers encode only the next
token."""
LEAST_SURPRISE, MOST_SURPRISE = 1e-6, 5.0
"""Bounds, in nats, of a token's surprise as a weight in `Learner.read`. Every text has some weight. A token that the
learner would never write weighs no more than one that it writes once in 150 times."""
Progress = Callable[[str, int, int, int], None]
"""Called as `progress(verb, done, total, tokens)` after each batch; done and tokens count from the verb's start."""


def silent(verb: str, done: int, total: int, tokens: int) -> None:
    """A Progress that reports nothing."""


def adding_up(progress: Progress) -> Progress:
    """Return a Progress that takes the tokens of each batch and passes on the running total."""
    sum_so_far = 0

    def add(verb: str, done: int, total: int, tokens: int) -> None:
        nonlocal sum_so_far
        sum_so_far += tokens
        progress(verb, done, total, sum_so_far)

    return add


class Study(Options):
    """How long and how a learner studies. A step is one update over `batch_size` lessons."""

    steps: int = Field(default=400, ge=1, le=10_000_000)
    """Number of weight updates."""
    tokens: int | None = Field(default=None, ge=1, le=10**12)
    """A token budget instead of `steps`, to compare methods with texts of different lengths at equal work. The study
    takes the number of steps whose tokens come closest to it, at least one step. Tokens of rejected paths count too."""
    epochs: float | None = Field(default=None, gt=0, le=10_000)
    """Passes over the lessons instead of `steps`. A party with more lessons then studies longer."""
    batch_size: BatchSize = 16
    """Lessons per update."""
    micro_batch_size: BatchSize | None = None
    """Lessons in memory at once. None means the whole batch. It changes memory and speed, not the result."""
    optimisation: Optimisation = Optimisation()
    """Learning rate and other optimiser settings."""
    dp: Privacy | None = None
    """Differential privacy of each lesson. Each step then draws its batch at random, with `batch_size` lessons on
    average."""

    @model_validator(mode="after")
    def _one_length(self) -> Study:
        if self.tokens is not None and self.epochs is not None:
            raise ValueError(f"tokens is {self.tokens} and epochs is {self.epochs}; expected only one of the two")
        for name in ("tokens", "epochs"):
            value = getattr(self, name)
            if value is not None and self.dp is not None:
                raise ValueError(
                    f"{name} is {value} with dp, which draws batches at random and does not reveal its tokens; "
                    "expected steps"
                )
        return self


@dataclass(frozen=True)
class Studies:
    """How long a party studies its own data and what it receives from others."""

    private: Study
    distil: Study


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated path and its likelihood according to its writer."""

    text: str
    likelihood: Likelihood
    cut: bool = False
    """Whether the path reached the maximum length before the writer ended it."""
    refused: bool = False
    """Whether there is no path, for example since a server refused the question. The text is then empty."""
    read: int = field(default=0, compare=False)
    """Tokens of the prompt; 0 if they are unknown."""
    written: int = field(default=0, compare=False)
    """Tokens that were generated, hidden reasoning included; 0 if they are unknown."""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study did. `first_loss` and `last_loss` are means over the first and last tenth of the steps.

    Under differential privacy they are NaN and `tokens` is 0, since neither would be private.
    """

    steps: int
    lessons: int
    pairs: int
    soft: int
    """Number of lessons that come with a teacher's log-probs."""
    tokens: int
    first_loss: float
    last_loss: float
    skipped: int = 0
    """Steps skipped for a non-finite loss or gradient; 0 under differential privacy."""
    cut: int = 0
    """Lessons that exceed the model's context."""
    empty: int = 0
    """Lessons without text."""
    unfinished: int = 0
    """Lessons on answers that were cut during generation. They teach no end of turn."""
    state: State = field(default_factory=dict, compare=False)
    """The objective's memory after the last step."""
    losses: State = field(default_factory=dict, compare=False)
    """Where `Course.watch` asks for it, one row for each lesson of each step that was taken: `steps` and `lessons`,
    the places of both, int64 [m]; `losses`, the mean token loss before the step, nats, float64 [m]."""

    def figures(self) -> dict[str, Any]:
        """Return everything but the arrays, by name, as JSON data."""
        return {name: value for name, value in asdict(self).items() if name not in ("state", "losses")}


@dataclass(frozen=True, slots=True)
class Course:
    """Where in a run a study stands: the objective's memory of earlier studies and the steps so far."""

    state: State | None = None
    """The objective's memory. None means that it has none yet."""
    seed: int = 0
    """The seed of an objective's initial memory."""
    run_step: int = 0
    """Number of steps studied with this objective before."""
    rounds_left: int = 1
    """Number of remaining rounds, including this one."""
    watch: bool = False
    """Whether the report includes the loss of each lesson. Studies under differential privacy never report it. Studies
    shared by several processes do not support it."""


def check_possible(name: str, needs: Needs, study: Study, processes: int = 1) -> None:
    """Raise InputError for an objective that a study with these options and this many processes cannot support."""
    together = {
        "couples the lessons of a batch": needs.couples_batch,
        "accumulates figures over its batches": needs.observes,
    }
    for what, so in {**together, "uses held-out lessons": needs.held_out > 0}.items():
        if so and study.dp is not None:
            raise InputError(
                f"objective {name!r} {what}, but dp clips the gradient of each lesson by itself; expected another "
                "objective, or a study without dp"
            )
    for what, so in together.items():
        if so and processes > 1 and study.dp is None:  # a study with dp runs in one process
            raise InputError(
                f"objective {name!r} {what}, but model.parallel divides these among {processes} processes; expected "
                "another objective, or a model without parallel"
            )


def check_watched(name: str, study: Study, processes: int = 1) -> None:
    """Raise InputError if an allocator reads the losses of lessons and such a study cannot report them."""
    why = f"model.parallel divides among {processes} processes" if processes > 1 else ""
    if why := "dp does not reveal" if study.dp is not None else why:
        raise InputError(
            f"allocator {name!r} reads the losses of lessons step by step, which {why}; expected other options of it, "
            f"another allocator, or a {'study without dp' if study.dp is not None else 'model without parallel'}"
        )


def check_tried(name: str, study: Study) -> None:
    """Raise InputError if an allocator runs trial studies and such a study rules them out."""
    if study.dp is not None:
        raise InputError(
            f"allocator {name!r} runs trial studies, which dp would not account for; expected another allocator, or a "
            "study without dp"
        )


@dataclass(frozen=True, slots=True)
class Inside:
    """A learner's architecture, number of parameters and the SHA-256 of its weights.

    For a model behind an API the latter two are unknown: 0 and empty.
    """

    architecture: str
    parameters: int = 0
    weights: str = ""


class Learner(Protocol):
    """A model with its tokenizer. `verbs` names the methods below that it supports."""

    verbs: frozenset[Verb]
    name: str
    """The learner's name in the configuration."""
    device: str
    """The device that it computes on, such as `cpu` or `cuda:0`."""
    scaling: float
    """Factor of the product of a LoRA adapter's factors, alpha / rank; 1 without an adapter."""

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """Write one path per question: greedily at temperature 0, otherwise sampled with `seed`."""
        ...

    def sample(
        self,
        questions: Sequence[str],
        *,
        paths: int,
        seed: int,
        temperature: float,
        progress: Progress = silent,
    ) -> list[list[Answer]]:
        """Write `paths` (>= 1) independently sampled paths per question; `progress` counts paths.

        The first path of a question equals that of `answer`, and more paths do not change earlier ones. At temperature
        0 all paths of a question are the same.
        """
        ...

    def complete(
        self, begun: Sequence[tuple[str, str]], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """Write the rest of paths of which another wrote the beginning: (question, beginning) pairs.

        Each answer has the whole path. With an empty beginning, it is that of `answer`, greedily.
        """
        ...

    def judge(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> list[Likelihood]:
        """Score (question, path) pairs."""
        ...

    def log_probs(
        self, pairs: Sequence[tuple[str, str]], k: int, *, progress: Progress = silent
    ) -> list[TokenScores | None]:
        """Score (question, path) pairs token by token, with the k likeliest tokens at each position.

        None for a path that `tokenize` cannot trace.
        """
        ...

    def vocabulary(self) -> Vocabulary:
        """Return the meaning of the learner's token ids."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """Return the tokens of texts as the learner studies them, each closed by end-of-sequence.

        The result is None for a text whose tokens cannot be traced back to its bytes.
        """
        ...

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Return one vector per question, float32 [n, width]: mean of the last hidden states."""
        ...

    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """Return one vector per (question, path), float32 [n, width]: what in the path surprises the learner.

        It is the weighted mean of the hidden states of the path's tokens at depth READ_AT. The weight is the token's
        surprise, its negative log-prob, clipped to LEAST_SURPRISE..MOST_SURPRISE.
        """
        ...

    def study(
        self,
        lessons: Sequence[Lesson],
        objective: Objective,
        study: Study,
        *,
        seed: int,
        course: Course = Course(),
        progress: Progress = silent,
    ) -> StudyReport:
        """Train on lessons, reshuffled each epoch. Raises InputError if there are none.

        The report's `state` is the one in `course` after the last step.
        """
        ...

    def take_notices(self) -> tuple[str, ...]:
        """Return notices for the user about the work since the last call, such as smaller batches.

        A second call without work in between may repeat them.
        """
        ...

    def adapter(self) -> dict[str, np.ndarray]:
        """Return the weights that a study changes, by name, float32: the LoRA adapter, or else all weights.

        Raises InputError for a learner without weights of its own.
        """
        ...

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Load weights with the names and shapes of `adapter`. Raises InputError for any others."""
        ...

    def save(self, folder: FilePath) -> None:
        """Write weights and tokenizer in Hugging Face format."""
        ...

    def inside(self) -> Inside:
        """Return what the model currently is."""
        ...

    def digest(self) -> str | None:
        """Return a digest that is equal for learners that behave the same; None if that is unknown."""
        ...

    @property
    def spent(self) -> str:
        """The cost of its work in words; empty if it is free."""
        ...

    def close(self) -> None:
        """End its helper processes, such as ranks of its studies or an answering server."""
        ...


class LearnerBase:
    """Base of learners: the defaults of one without a LoRA adapter, helper processes or notices."""

    device = "cpu"
    scaling = 1.0

    def complete(
        self, begun: Sequence[tuple[str, str]], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """Raise NotImplementedError: this learner lacks the verb `continue`."""
        raise NotImplementedError(f"{type(self).__name__} cannot continue the beginnings of paths")

    def take_notices(self) -> tuple[str, ...]:
        """See Learner.take_notices: none."""
        return ()

    def inside(self) -> Inside:
        """See Learner.inside: the architecture is the name of the class."""
        return Inside(type(self).__name__)

    def digest(self) -> str | None:
        """See Learner.digest: unknown."""
        return None

    @property
    def spent(self) -> str:
        """See Learner.spent: nothing."""
        return ""

    def close(self) -> None:
        """See Learner.close: nothing to end."""
