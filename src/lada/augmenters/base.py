"""The contract of an augmenter: which questions the LLM should write, and which of its drafts become public samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from lada.core.bounds import Share
from lada.core.needs import State
from lada.core.registry import Options, Pluggable, Registry
from lada.core.terms import Sample

LARGEST_POOL = 100_000


class Generating(Options):
    """Options that all augmenters have."""

    calls: int = Field(default=2000, ge=1, le=10**9)
    """Maximum number of calls of the LLM in the whole run. A call writes questions once, or one path for a question."""
    new: int = Field(default=32, ge=1, le=10_000)
    """Questions that the LLM is asked for in a round."""
    per_call: int = Field(default=1, ge=1, le=100)
    """Questions that one call asks for."""
    most: int = Field(default=320, ge=1, le=LARGEST_POOL)
    """Maximum number of generated samples in the run."""
    paths: int = Field(default=5, ge=2, le=100)
    """Paths that the LLM samples for each new question. Their most frequent answer becomes the sample's."""
    agreement: Share = 0.6
    """Minimum share of these paths that give this answer."""
    verify: Literal["agreement", "verifier"] = "agreement"
    """What vouches for an answer: the agreement of the LLM's paths alone, or also the task's verifier. The built-in
    corpora have one for new questions."""
    temperature: float = Field(default=1.0, ge=0.01, le=10)
    """Sampling temperature of questions and paths."""
    chars: int = Field(default=2000, ge=1, le=100_000)
    """Maximum length of a question, in characters."""
    instruction: str = Field(
        default="Write {count} new questions in the style of these examples. Put each after 'Question:'.",
        max_length=4000,
    )
    """The prompt's first line. An empty one makes the prompt a bare continuation of public questions, for a model that
    follows no instructions."""


OwnOptions = TypeVar("OwnOptions", bound=Generating)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for `count` questions, and the ids of the samples that it shows."""

    text: str
    sources: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a client answered one public sample. `confidence` (0..1) is exp(mean token log-prob), NaN if unknown."""

    sample_id: str
    answer: str | None
    right: bool | None
    confidence: float


@dataclass(frozen=True, slots=True)
class View:
    """What an augmenter knows at the start of a round."""

    round: int
    samples: Sequence[Sample]
    """The public samples that parties learn from, generated ones included."""
    validation: Sequence[Sample]
    """The public samples that are held out. They must not be shown to the LLM."""
    outcomes: Mapping[str, Sequence[Outcome]]
    """By client: how it answered validation samples and others at the end of the round before; may be empty."""
    seed: int


@dataclass(frozen=True, slots=True)
class Request:
    """What the LLM is asked: to write questions, and to answer known ones so that a critic can be calibrated."""

    prompts: Sequence[Prompt] = ()
    calibration: Sequence[Sample] = ()
    """Samples with gold answers. They are answered before the prompts, with the same number of paths."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """Figures for users."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with the LLM's most frequent answer."""

    question: str
    answer: str
    text: str
    """The likeliest of the paths that give this answer; the first one if likelihoods are unknown."""
    agreement: float
    """Share (0..1) of the LLM's paths that give this answer."""
    likelihood: float
    """Mean token log-prob of `text`, nats; NaN if unknown."""
    right: bool | None = None
    """The verdict on the answer, if gold answer or verifier are known."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The places of the drafts that become public samples; why others do not, with their numbers; figures for users.

    Every draft is either kept or counted in `refused`.
    """

    places: Sequence[int]
    refused: Counter[str] = field(default_factory=Counter)
    diagnostics: Mapping[str, float] = field(default_factory=dict)


class Augmenter(Pluggable, Generic[OwnOptions]):
    """A rule with explicit state and no side effects. The server runs it at the start of each round."""

    options: OwnOptions
    held_out: float = 0.0
    """Share (0..1) of the public samples that are held out for validation."""
    probed: int = 0
    """Number of other public samples that clients answer in addition to the validation samples."""
    shown: int = 0
    """Maximum number of samples that a prompt shows."""
    calibrated: int = 0
    """Number of samples that calibrate it."""
    labels: bool = False
    """Whether it needs public samples with gold answers."""

    def ask(self, state: State, view: View) -> tuple[State, Request]:
        """Return the next state and what the LLM is asked in this round."""
        raise NotImplementedError

    def keep(self, state: State, drafts: Sequence[Draft], calibration: Sequence[Draft]) -> tuple[State, Kept]:
        """Return the next state and which drafts to keep. Drafts have passed the checks that all augmenters share."""
        raise NotImplementedError


AUGMENTERS: Registry[Augmenter[Any]] = Registry("augmenter", "lada.augmenters")
