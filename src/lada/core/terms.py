"""The terms of the project as small immutable values. Nothing here knows of models, files or the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np


class Verb(StrEnum):
    """What a learner can do; a method declares which of these it needs."""

    ANSWER = "answer"  # questions -> paths
    CONFIDENCE = "confidence"  # log-probs of its own paths
    JUDGE = "judge"  # losses of anybody's paths
    LOG_PROBS = "log_probs"  # the likeliest tokens at each position of anybody's paths
    EMBED = "embed"  # questions -> vectors
    READ = "read"  # anybody's paths -> vectors of what in them surprises it
    STUDY = "study"  # lessons -> updated weights


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. `answer` is the gold answer where there is one; `difficulty` counts reasoning steps.

    `entry` is what the task's verifier needs to know of the question, as text, such as tests.
    """

    id: str
    question: str
    answer: str | None = None
    rationale: str | None = None
    domain: str = ""
    difficulty: int | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a learner finds one path, given its question: log-probs in nats under that learner.

    `total` and `minimum` are the sum and the least of the token log-probs (both <= 0); `tokens` counts the
    learner's own tokens, `size` the UTF-8 bytes of the text, so that `per_byte` compares across tokenizers. No tokens
    mean that the learner cannot say.
    """

    total: float
    minimum: float
    tokens: int
    size: int

    @classmethod
    def unknown(cls, size: int) -> Likelihood:
        """Return the likelihood of a text by a learner without Verb.CONFIDENCE; its numbers say nothing."""
        return cls(0.0, 0.0, 0, size)

    @property
    def known(self) -> bool:
        """Whether the learner could say how likely the text is."""
        return self.tokens > 0

    @property
    def mean(self) -> float:
        """Mean token log-prob, nats."""
        return self.total / max(self.tokens, 1)

    @property
    def per_byte(self) -> float:
        """Loss in nats per byte (>= 0)."""
        return -self.total / max(self.size, 1)


@dataclass(frozen=True, slots=True)
class Path:
    """One reasoning path: a text that ends in an answer, who wrote it and how sure its writer was.

    `answer` is what was extracted from the text; `right` is its verified correctness, None where no gold answer
    is known.
    """

    sample_id: str
    writer: str
    text: str
    answer: str | None
    right: bool | None
    likelihood: Likelihood
    cut: bool = False
    """Whether the text breaks off before its writer has ended it."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one party can say about public samples in one round: its path for each, in the order of `paths`."""

    party: str
    round: int
    paths: tuple[Path, ...]

    def by_id(self) -> dict[str, Path]:
        """Return the paths keyed by sample id."""
        return {path.sample_id: path for path in self.paths}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a tokenizer's ids stand for: the bytes of each token, and which id ends a text."""

    tokens: tuple[bytes, ...]
    eos: int


@dataclass(frozen=True, slots=True, eq=False)
class SparseLogProbs:
    """The likeliest tokens at each position of a text. What their probabilities leave of 1 is the tail's mass.

    `ids` int32 [n, k], ascending and distinct within a row; `log_probs` float32 [n, k], nats (<= 0). A place that is
    not used has id 0 and log-prob -inf and stands behind the used ones; a row without any has no soft target.
    """

    ids: np.ndarray
    log_probs: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedText:
    """A text in one tokenizer's tokens.

    `tokens` int32 [n] are its tokens, the last of them end-of-sequence unless the text was cut. `offsets` int32 [n, 2]
    say which bytes of the UTF-8 text each stands for, start and end; end-of-sequence stands for one byte behind the
    text, (size, size + 1).
    """

    tokens: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """What a learner makes of a text, token by token: `tokens` and `offsets` (see TokenizedText), and the likeliest.

    `top` has n rows without unused places and holds each position's own token.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    top: SparseLogProbs

    def own(self) -> np.ndarray:
        """Return the log-probs of the text's own tokens, float32 [n]."""
        return self.top.log_probs[self.top.ids == self.tokens[:, None]]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkLogProbs:
    """How likely a teacher finds whole stretches of a text.

    `tokens` int32 [c, 2] are half-open ranges of the learner's own tokens, ascending; `log_probs` float32 [c] is the
    teacher's log-prob of each range's bytes, given the text in front, nats.
    """

    tokens: np.ndarray
    log_probs: np.ndarray


Source = Literal["teacher", "student"]


@dataclass(frozen=True, slots=True)
class Selection:
    """One chosen sample: whose path to learn (`source`), how it scored and why, in a few words for people."""

    sample_id: str
    source: Source
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one direction of one (teacher, student) pair studies in one round."""

    teacher: str
    student: str
    round: int
    choices: tuple[Selection, ...]
    scores: Mapping[str, float] = field(default_factory=dict)
    """The score of every candidate, chosen or not (may be empty where a rule has no score)."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a learner trains on: the chosen text and, for contrast, a rejected one for the same question.

    `soft` is what a teacher would say at each token of the chosen text, in the learner's own vocabulary: one row per
    token of the text and one for end-of-sequence. `chunks` is how likely it finds stretches of that text. A text that
    was cut when it was written is learnt as far as it goes and closed by no end.
    """

    sample_id: str
    question: str
    chosen: str
    rejected: str | None = None
    weight: float = 1.0
    soft: SparseLogProbs | None = None
    chunks: ChunkLogProbs | None = None
    chosen_cut: bool = False
    rejected_cut: bool = False
