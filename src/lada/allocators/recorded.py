"""Another run's choice, for the same student or for another one: a control for benchmarks."""

from __future__ import annotations

import operator
from pathlib import Path as FilePath

from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import allocate, from_teacher
from lada.core.errors import InputError
from lada.core.needs import needs
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.core.seeds import generator
from lada.core.terms import Verb

TABLE = "allocations.parquet"


class RecordedOptions(Options):
    """Options of the control."""

    run: str
    """Folder of a finished run with the same public questions, whose allocations are reused."""
    instead: dict[str, str] = Field(default={})
    """By student: the student whose choice it studies, such as `{warehouse: clinic}`. A student without an entry
    studies its own."""
    drawn: bool = Field(default=False, exclude_if=operator.not_)
    """Draw as many samples at random as the choice has, instead of the choice itself."""


@ALLOCATORS.register(
    "recorded",
    options=RecordedOptions,
    status="our reading",
    needs=needs({Verb.ANSWER}),
    tags=("labels",),
    by_order="with `drawn`, samples are drawn by their places",
)
class Recorded(Memoryless):
    """What the filter of another run chose, possibly for another student.

    Where that filter preferred the student's own path to the teacher's, this student studies its own, right or not.
    """

    options: RecordedOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. Raises InputError if the run has no such choice."""
        import pyarrow.parquet as pq  # here, since a configuration is read without it

        student = self.options.instead.get(candidates.student, candidates.student)
        table = FilePath(self.options.run) / TABLE
        if not is_file(str(table)):
            raise InputError(
                f"allocator 'recorded': run is {self.options.run!r}, which has no {TABLE}; expected the folder of a "
                "finished run"
            )
        wanted = [("student", "=", student), ("teacher", "=", candidates.teacher), ("round", "=", candidates.round)]
        rows = pq.read_table(table, columns=["sample_id", "score", "source", "chosen"], filters=wanted).to_pylist()
        if not rows:
            raise InputError(
                f"allocator 'recorded': {str(table)!r} has no choice of {student!r} from {candidates.teacher!r} in "
                f"round {candidates.round}; expected a run with the same parties and rounds"
            )
        at_hand = {sample.id: i for i, sample in enumerate(candidates.samples)}
        picked = sorted(rows, key=lambda row: -(row["score"] or 0.0))
        sources = {
            at_hand[row["sample_id"]]: row["source"] for row in picked if row["chosen"] and row["sample_id"] in at_hand
        }
        chosen = list(sources)
        reason = f"chosen by {student}"
        if self.options.drawn:
            order = generator(candidates.seed, "recorded").permutation(len(candidates.samples))
            sources = from_teacher(range(len(order)))
            chosen, reason = [int(i) for i in order[: len(chosen)]], f"drawn at random, as many as {student} chose"
        reasons = dict.fromkeys(chosen, reason)
        return state, allocate(candidates, chosen, sources, None, reasons), {}
