"""Candidates from small hand-made tables, one row per sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from lada.allocators.base import ALLOCATORS, Allocator, Candidates
from lada.core.terms import Allocation, Likelihood, OwnQuestions, Path, Sample, SparseLogProbs, TokenScores

TOKENS = 4
TEACHER, STUDENT = "llm", "slm"


@dataclass(frozen=True)
class Row:
    """One sample: both answers, whether they are right, and log-probs (mean and least) in nats."""

    teacher: str | None = "1"
    student: str | None = "2"
    teacher_right: bool | None = None
    student_right: bool | None = None
    teacher_mean: float = -0.5
    student_mean: float = -0.5
    teacher_least: float = -1.0
    student_least: float = -1.0
    judged_mean: float = -0.5
    judged_least: float = -1.0
    bytes: tuple[int, int] = (10, 10)
    domain: str = ""
    path: str | None = None
    """The teacher's path; None: it says the answer alone."""


def make(name: str, **options) -> Allocator:
    method = ALLOCATORS.get(name)
    return method.make(method.options(**options))


def candidates(
    rows: Sequence[Row],
    *,
    round: int = 1,
    embeddings: np.ndarray | None = None,
    seed: int = 7,
    looks: Sequence[TokenScores | None] | None = None,
    read: Callable[[int, str], TokenScores | None] = lambda place, text: None,
    own: OwnQuestions | None = None,
) -> Candidates:
    """Return the candidates of a table; without `embeddings` no two questions are alike.

    `looks` is what the student makes of the tokens of the teacher's paths; without, it can trace none of them. `read`
    is what it makes of another text for a sample, by its place. `own` are its private questions; a server has none.
    """
    ids = [f"q{i}" for i in range(len(rows))]
    vectors = np.eye(max(len(rows), 1), dtype=np.float32)[: len(rows)] if embeddings is None else embeddings
    return Candidates(
        round=round,
        teacher=TEACHER,
        student=STUDENT,
        samples=tuple(Sample(id, f"question {id}", domain=row.domain) for id, row in zip(ids, rows, strict=True)),
        teacher_paths=tuple(
            Path(
                id,
                TEACHER,
                f"answer {row.teacher}" if row.path is None else row.path,
                row.teacher,
                row.teacher_right,
                Likelihood(row.teacher_mean * TOKENS, row.teacher_least, TOKENS, row.bytes[0]),
            )
            for id, row in zip(ids, rows, strict=True)
        ),
        student_paths=tuple(
            Path(
                id,
                STUDENT,
                f"answer {row.student}",
                row.student,
                row.student_right,
                Likelihood(row.student_mean * TOKENS, row.student_least, TOKENS, row.bytes[1]),
            )
            for id, row in zip(ids, rows, strict=True)
        ),
        student_on_teacher=tuple(
            Likelihood(row.judged_mean * TOKENS, row.judged_least, TOKENS, row.bytes[0]) for row in rows
        ),
        agree=tuple(row.teacher is not None and row.teacher == row.student for row in rows),
        embed=lambda: vectors,
        own=lambda: own,
        look=lambda k: iter(looks or [None] * len(rows)),
        score=lambda texts: (read(place, text) for place, text in texts),
        seed=seed,
    )


def scores(*likely: float) -> TokenScores:
    """Return a text of one-byte tokens of these probabilities; the rest is that of one other token each."""
    ids = np.tile(np.array([0, 1], np.int32), (len(likely), 1))
    log_probs = np.log(np.array([(each, max(1 - each, 1e-30)) for each in likely])).astype(np.float32)
    spans = np.stack([np.arange(len(likely)), np.arange(1, len(likely) + 1)], 1).astype(np.int32)
    return TokenScores(np.zeros(len(likely), np.int32), spans, SparseLogProbs(ids, log_probs))


def chosen(allocation: Allocation) -> list[tuple[int, str]]:
    """Return (position, source) of each choice, in order."""
    return [(int(choice.sample_id[1:]), choice.source) for choice in allocation.choices]


def choose(name: str, table: Candidates, **options) -> list[tuple[int, str]]:
    """Return what a rule chooses from its first state."""
    rule = make(name, **options)
    return chosen(rule.apply(rule.init(1), table)[1])


def rows(size: int = 12) -> st.SearchStrategy[list[Row]]:
    """Draw tables: answers of a small set, log-probs that are finite, -inf or unknown."""
    answers = st.sampled_from([None, "1", "2"])
    flags = st.sampled_from([None, True, False])
    log_probs = st.one_of(st.floats(-20, 0), st.sampled_from([-1.0, float("nan"), float("-inf")]))
    return st.lists(
        st.builds(Row, answers, answers, flags, flags, *[log_probs] * 6),
        min_size=1,
        max_size=size,
    )
