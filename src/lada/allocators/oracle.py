"""An oracle that knows the world and the students: the upper bound for filters on the built-in corpora."""

from typing import Annotated

from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memoryless import Memoryless, Outcome
from lada.allocators.selection import Budgeted, allocate, from_teacher
from lada.core.bounds import LARGEST_SEED
from lada.core.errors import InputError
from lada.core.needs import needs
from lada.core.seeds import generator
from lada.core.terms import Verb
from lada.tasks.styles import OTHER


class OracleOptions(Budgeted):
    """What the oracle knows."""

    world: int = Field(ge=0, le=LARGEST_SEED)
    """The task's `world`."""
    suits: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(default={})
    """By student: the preferred styles of paths (lada.tasks.styles), best first, such as
    `{warehouse: [skips_warehouse, spelled_out]}`. A student without an entry gets every style but `other`, that of
    paths with mistakes."""


@ALLOCATORS.register(
    "oracle", options=OracleOptions, status="our reading", needs=needs({Verb.ANSWER}, own_paths=True), tags=("labels",)
)
class Oracle(Memoryless):
    """The teacher's paths in styles that suit the student, by the true rulebook; for benchmarks on built-in corpora.

    It reads the style from a path's text and knows the true world, which no method can. Within a style, and if none is
    preferred, questions are drawn at random.
    """

    options: OracleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. Raises InputError for a question that is not from the corpus."""
        from lada.tasks.builtin import CORPORA  # here, since a configuration is read without any corpus

        suits = self.options.suits.get(candidates.student)
        styles: list[str] = []
        for sample, path in zip(candidates.samples, candidates.teacher_paths, strict=True):
            corpus = next((corpus for corpus in CORPORA.values() if corpus.asks(sample)), None)
            if corpus is None:
                raise InputError(
                    f"allocator 'oracle': {sample.id!r} is not a question of a built-in corpus; expected task.kind to "
                    f"be one of {', '.join(CORPORA)}"
                )
            styles.append(corpus.style_of(sample, path.text, corpus.world(self.options.world)))
        order = generator(candidates.seed, "oracle").permutation(len(styles))
        suitable = [int(i) for i in order if (styles[i] != OTHER if suits is None else styles[i] in suits)]
        chosen = sorted(suitable, key=lambda i: suits.index(styles[i]) if suits else 0)[
            : self.options.limit(len(styles))
        ]
        reasons = {i: styles[i] for i in chosen}
        return state, allocate(candidates, chosen, from_teacher(chosen), None, reasons), {}
