"""The project's terms as small immutable values. Nothing here knows about models, files or the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Verb(StrEnum):
    """What a learner can do. A method declares which of these it needs."""

    ANSWER = "answer"  # questions -> paths
    EXPLAIN = "explain"  # questions -> paths that reason before they answer
    CONTINUE = "continue"  # beginnings of paths -> whole paths
    CONFIDENCE = "confidence"  # log-probs of its own paths
    JUDGE = "judge"  # losses of anybody's paths
    LOG_PROBS = "log_probs"  # the likeliest tokens at each position of anybody's paths
    EMBED = "embed"  # questions -> vectors
    READ = "read"  # anybody's paths -> vectors of what in them surprises it
    STUDY = "study"  # lessons -> updated weights


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a generated sample comes from.

    `writer` wrote its question in `round` after it was shown the samples `sources`. `agreement` (0..1) is the share of
    the writer's own paths that gave the sample's answer.
    """

    writer: str
    round: int
    sources: tuple[str, ...]
    agreement: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One question. `answer` is the gold answer, if known; `difficulty` counts reasoning steps.

    `entry` is what the task's verifier needs to know about the question, as text, such as tests.
    """

    id: str
    question: str
    answer: str | None = None
    rationale: str | None = None
    domain: str = ""
    difficulty: int | None = None
    entry: str | None = None
    origin: Origin | None = None
    """Its origin if it was generated during the run; None for an original sample."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnQuestions:
    """A client's private samples with its embeddings of their questions, `vectors` float32 [m, width].

    They never leave the client. A method must let out nothing about them but counts.
    """

    samples: tuple[Sample, ...]
    vectors: np.ndarray


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A learner's likelihood of one path, given its question: log-probs in nats.

    `total` and `minimum` are the sum and the minimum of the token log-probs (both <= 0). `tokens` counts the learner's
    own tokens and `size` the UTF-8 bytes of the text, so that `per_byte` is comparable across tokenizers. With no
    tokens, the likelihood is unknown.
    """

    total: float
    minimum: float
    tokens: int
    size: int

    @classmethod
    def unknown(cls, size: int) -> Likelihood:
        """Return the likelihood of a text by a learner without Verb.CONFIDENCE. Its numbers mean nothing."""
        return cls(0.0, 0.0, 0, size)

    @property
    def known(self) -> bool:
        """Whether the likelihood is known."""
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
    """One reasoning path: a text that ends in an answer, its writer and the writer's likelihood.

    `answer` is extracted from the text. `right` is its verified correctness, None if no gold answer is known.
    """

    sample_id: str
    writer: str
    text: str
    answer: str | None
    right: bool | None
    likelihood: Likelihood
    cut: bool = False
    """Whether the text was cut before its writer ended it."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one party knows about public samples in one round: a path for each, in the order of `paths`."""

    party: str
    round: int
    paths: tuple[Path, ...]

    def by_id(self) -> dict[str, Path]:
        """Return the paths keyed by sample id."""
        return {path.sample_id: path for path in self.paths}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The meaning of a tokenizer's ids: the bytes of each token, and the id that ends a text.

    A classifier's tokens are its labels. Each of them is a whole text, so `eos` is None.
    """

    tokens: tuple[bytes, ...]
    eos: int | None


@dataclass(frozen=True, slots=True, eq=False)
class SparseLogProbs:
    """The likeliest tokens at each position of a text. The tail has the rest of the probability.

    `ids` int32 [n, k] are ascending and distinct within a row; `log_probs` float32 [n, k] are in nats (<= 0). Unused
    entries have id 0 and log-prob -inf and follow the used ones. A row without used entries has no soft target.
    """

    ids: np.ndarray
    log_probs: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedText:
    """A text in one tokenizer's tokens.

    `tokens` int32 [n] ends with end-of-sequence, unless the text was cut or the vocabulary has none. `offsets` int32
    [n, 2] give the start and end of each token in the UTF-8 text. End-of-sequence covers one byte after the text,
    (size, size + 1).
    """

    tokens: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """A learner's scores of a text by token: `tokens` and `offsets` (see TokenizedText), and the likeliest tokens.

    `top` has n rows without unused entries and includes each position's own token.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    top: SparseLogProbs

    def own(self) -> np.ndarray:
        """Return the log-probs of the text's own tokens, float32 [n]."""
        return self.top.log_probs[self.top.ids == self.tokens[:, None]]


@dataclass(frozen=True, slots=True, eq=False)
class TokenLogProbs:
    """A learner's log-probs of the tokens of a text, without the tokens.

    `offsets` int32 [n, 2] are those of its own tokens (see TokenizedText). `log_probs` float32 [n] are in nats (<= 0).
    """

    offsets: np.ndarray
    log_probs: np.ndarray

    def own(self) -> np.ndarray:
        """Return the log-probs, as TokenScores does."""
        return self.log_probs


@dataclass(frozen=True, slots=True, eq=False)
class ChunkLogProbs:
    """A teacher's log-probs of chunks of a text.

    `tokens` int32 [c, 2] are half-open ranges of the learner's own tokens, ascending. `log_probs` float32 [c] are the
    teacher's log-probs of each range's bytes, given the preceding text, nats.
    """

    tokens: np.ndarray
    log_probs: np.ndarray


Source = Literal["teacher", "student"]


@dataclass(frozen=True, slots=True)
class Selection:
    """One chosen sample: whose path to learn (`source`), its score, and the reason in a few words for display."""

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
    """The score of every candidate, chosen or not; may be empty if the rule has no score."""


class Alternative(NamedTuple):
    """A further path for a lesson's question, and a teacher's log-prob of the whole text, nats."""

    text: str
    teacher: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a learner trains on: the chosen text and, for contrast, a rejected one for the same question.

    `soft` has the teacher's distribution at each token of the chosen text, in the learner's vocabulary: one row per
    token and one for end-of-sequence, if there is one. `chunks` has its log-probs of chunks of that text. A text that
    was cut is learnt as far as it goes, without an end. A contrast of the two texts starts at the learner's tokens
    `chosen_start` and `rejected_start`, counted from 0. `teacher_chosen` and `teacher_rejected` are a teacher's
    log-probs of the two whole texts, nats; None if they are unknown.
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
    chosen_start: int = 0
    rejected_start: int = 0
    teacher_chosen: float | None = None
    teacher_rejected: float | None = None
    own: bool = False
    """Whether the learner wrote the chosen text itself, and a teacher scored it."""
    alternatives: tuple[Alternative, ...] = ()
    """Further paths, for an objective that compares more than two (Needs.alternatives). None of them was cut."""
