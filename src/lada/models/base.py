"""The contract of a learner: what each verb takes and gives, whoever implements it."""

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
"""The depth, as a share of the layers, whose hidden states `Learner.read` takes: the last ones are about the next token
alone."""
LEAST_SURPRISE, MOST_SURPRISE = 1e-6, 5.0
"""Between them, in nats, lies what the surprise of a token weighs in `Learner.read`: no text is without weight, and a
token that the learner would never write weighs no more than one that it writes once in 150 times."""
Progress = Callable[[str, int, int, int], None]
"""Called as `progress(verb, done, total, tokens)` after each batch; done and tokens count from the verb's start."""


def silent(verb: str, done: int, total: int, tokens: int) -> None:
    """A Progress that says nothing."""


def adding_up(progress: Progress) -> Progress:
    """Return a Progress that takes the tokens of each batch alone and passes on their sum so far."""
    sum_so_far = 0

    def add(verb: str, done: int, total: int, tokens: int) -> None:
        nonlocal sum_so_far
        sum_so_far += tokens
        progress(verb, done, total, sum_so_far)

    return add


class Study(Options):
    """How long and how a learner studies. A step is one update over `batch_size` lessons."""

    steps: int = Field(default=400, ge=1, le=10_000_000)
    """Updates of the weights."""
    tokens: int | None = Field(default=None, ge=1, le=10**12)
    """A budget in the place of `steps`: as many steps as train nearest to so many tokens, those of rejected paths too,
    so that methods with texts of different lengths are compared at equal work. A study takes one step at least."""
    epochs: float | None = Field(default=None, gt=0, le=10_000)
    """Times through the lessons in the place of `steps`: then who finds more lessons studies longer."""
    batch_size: BatchSize = 16
    """Lessons per update."""
    micro_batch_size: BatchSize | None = None
    """Lessons that are in memory at once; None: the whole batch. It changes memory and speed, not the result."""
    optimisation: Optimisation = Optimisation()
    """Learning rate and the like."""
    dp: Privacy | None = None
    """Differential privacy with regard to each lesson. A step's batch is then drawn, of `batch_size` in the mean."""

    @model_validator(mode="after")
    def _one_length(self) -> Study:
        if self.tokens is not None and self.epochs is not None:
            raise ValueError(f"tokens is {self.tokens} beside epochs, {self.epochs}; expected one of the two")
        for name in ("tokens", "epochs"):
            value = getattr(self, name)
            if value is not None and self.dp is not None:
                raise ValueError(
                    f"{name} is {value} beside dp, whose batches are drawn at random and whose tokens are not told; "
                    "expected steps"
                )
        return self


@dataclass(frozen=True)
class Studies:
    """How long a party studies: its own data, and what it gets from others."""

    private: Study
    distil: Study


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated path and how likely its writer finds it."""

    text: str
    likelihood: Likelihood
    cut: bool = False
    """Whether it breaks off, at the most tokens that it may have, before the writer has ended it."""
    refused: bool = False
    """Whether there is none, as where a server refused the question; the text is empty."""


@dataclass(frozen=True, slots=True)
class StudyReport:
    """What a study did. `first_loss`, `last_loss` are means over the first and last tenth of the steps.

    Of one under differential privacy they are NaN and `tokens` is 0: neither is private.
    """

    steps: int
    lessons: int
    pairs: int
    soft: int
    """Lessons with what a teacher's log-probs say of them."""
    tokens: int
    first_loss: float
    last_loss: float
    skipped: int = 0
    """Steps that changed nothing, since their loss or gradient was not finite; 0 under differential privacy."""
    cut: int = 0
    """Lessons that do not end within the model's context."""
    empty: int = 0
    """Lessons without a text."""
    unfinished: int = 0
    """Lessons on answers that were cut when they were written: they teach no end of a turn."""
    state: State = field(default_factory=dict, compare=False)
    """The objective's memory after the last step."""
    losses: State = field(default_factory=dict, compare=False)
    """Where `Course.watch` asks for it, one row for each lesson of each step that was taken: `steps` and `lessons`,
    the places of both, int64 [m]; `losses`, the mean token loss before the step, nats, float64 [m]."""

    def figures(self) -> dict[str, Any]:
        """Return all but the arrays, by name, as JSON has it."""
        return {name: value for name, value in asdict(self).items() if name not in ("state", "losses")}


@dataclass(frozen=True, slots=True)
class Course:
    """Where in a run a study stands: what the objective remembers of the studies before it."""

    state: State | None = None
    """The objective's memory; None: it has none yet."""
    seed: int = 0
    """What an objective draws its first memory from."""
    run_step: int = 0
    """The steps that were studied by this objective before."""
    rounds_left: int = 1
    """The rounds to come, this one included."""
    watch: bool = False
    """Whether the report is to say what the study made of each lesson, which one under differential privacy never does.
    Not for studies that several processes share."""


def check_possible(name: str, needs: Needs, study: Study, processes: int = 1) -> None:
    """Raise InputError for an objective that needs what a study of these options, by so many processes, cannot give."""
    together = {
        "couples the lessons of a batch": needs.couples_batch,
        "adds up figures of its batches": needs.observes,
    }
    for what, so in {**together, "looks at lessons that are held out": needs.held_out > 0}.items():
        if so and study.dp is not None:
            raise InputError(
                f"objective {name!r} {what}, and dp clips the gradient of each lesson by itself; expected another "
                "objective, or a study without dp"
            )
    for what, so in together.items():
        if so and processes > 1 and study.dp is None:  # a study with dp is one process's work
            raise InputError(
                f"objective {name!r} {what}, and model.parallel divides these among {processes} processes; expected "
                "another objective, or a model without parallel"
            )


def check_watched(name: str, study: Study, processes: int = 1) -> None:
    """Raise InputError where an allocator that reads the losses of lessons cannot have those of such a study."""
    why = f"model.parallel divides among {processes} processes" if processes > 1 else ""
    if why := "dp lets nobody know" if study.dp is not None else why:
        raise InputError(
            f"allocator {name!r} reads the losses of lessons step by step, which {why}; expected other options of it, "
            f"another allocator, or a {'study without dp' if study.dp is not None else 'model without parallel'}"
        )


def check_tried(name: str, study: Study) -> None:
    """Raise InputError where an allocator that lets the student study on trial would do so beside such a study."""
    if study.dp is not None:
        raise InputError(
            f"allocator {name!r} lets the student study on trial, which dp would not account for; expected another "
            "allocator, or a study without dp"
        )


@dataclass(frozen=True, slots=True)
class Inside:
    """What a learner's model is: its architecture, its number of parameters, the SHA-256 of its weights.

    Of one behind an API the latter two are not known: 0 and empty.
    """

    architecture: str
    parameters: int = 0
    weights: str = ""


class Learner(Protocol):
    """A model with its tokenizer. `verbs` says which of the methods below it supports."""

    verbs: frozenset[Verb]
    name: str
    """What the configuration calls it."""
    device: str
    """Where it computes, such as `cpu` or `cuda:0`."""
    scaling: float
    """What the product of a LoRA adapter's factors is multiplied by, alpha / rank; 1 for a learner without one."""

    def answer(
        self, questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        """Write one path per question; greedy at temperature 0, else sampled from `seed`."""
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
        """Write `paths` (>= 1) paths per question, each sampled on its own; `progress` counts paths.

        The first of a question is what `answer` gives, and more paths do not change those before them. At temperature
        0 all paths of a question are the same.
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
        """Return what the learner's token ids stand for."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[TokenizedText | None]:
        """Return the tokens of texts as the learner studies them, each closed by end-of-sequence.

        None for a text whose tokens the tokenizer does not lead back to its bytes.
        """
        ...

    def embed(self, questions: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Return one vector per question, float32 [n, width]: mean of the last hidden states."""
        ...

    def read(self, pairs: Sequence[tuple[str, str]], *, progress: Progress = silent) -> np.ndarray:
        """Return one vector per (question, path), float32 [n, width], of what in the path surprises the learner.

        It is the mean of the hidden states at the path's tokens, at the depth READ_AT. Each is weighted by the token's
        surprise, its negative log-prob, within LEAST_SURPRISE and MOST_SURPRISE.
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
        """Train on lessons, shuffled anew each time through. Raises InputError when there are none.

        The report has the state that `course` has become.
        """
        ...

    def take_notices(self) -> tuple[str, ...]:
        """Return what the user should know of the work since this was last called, such as batches that shrank.

        Called again without work in between it may say the same.
        """
        ...

    def adapter(self) -> dict[str, np.ndarray]:
        """Return the weights that a study changes, by name, float32: those of a LoRA adapter, or else all.

        Raises InputError for a learner that has no weights of its own.
        """
        ...

    def load_adapter(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take weights of the same names and shapes as those of `adapter`. Raises InputError for others."""
        ...

    def save(self, folder: FilePath) -> None:
        """Write weights and tokenizer in Hugging Face format."""
        ...

    def inside(self) -> Inside:
        """Return what the model is, as it is now."""
        ...

    def digest(self) -> str | None:
        """Return what is equal for learners that do the same with the same; None where nobody can tell."""
        ...

    @property
    def spent(self) -> str:
        """Return what its work took that somebody has to pay for, in words; empty where nobody has."""
        ...

    def close(self) -> None:
        """End the processes that work for it, such as ranks of its studies or a server of its answers."""
        ...


class LearnerBase:
    """Base of learners: what holds of one that has no adapter of LoRA, no processes of its own and nothing to say."""

    device = "cpu"
    scaling = 1.0

    def take_notices(self) -> tuple[str, ...]:
        """See Learner.take_notices: none."""
        return ()

    def inside(self) -> Inside:
        """See Learner.inside: of an architecture that is called as its class."""
        return Inside(type(self).__name__)

    def digest(self) -> str | None:
        """See Learner.digest: nobody can tell."""
        return None

    @property
    def spent(self) -> str:
        """See Learner.spent: nothing."""
        return ""

    def close(self) -> None:
        """See Learner.close: there is nothing to end."""
