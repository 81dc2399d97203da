"""Whoever knows the world and the students: what a filter of the built-in corpora could reach at best."""

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
    """What it knows."""

    world: int = Field(ge=0, le=LARGEST_SEED)
    """The task's `world`."""
    suits: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(default={})
    """By student: the styles (lada.tasks.styles) of paths that it is given, such as `{warehouse: [skips_warehouse,
    spelled_out]}`; the first ones first. A student that is not named is given every style but `other`, which is that of
    paths that are not right in every letter."""


@ALLOCATORS.register("oracle", options=OracleOptions, status="our reading", needs=needs({Verb.ANSWER}, own_paths=True))
class Oracle(Memoryless):
    """The teacher's paths in styles that suit the student, by the true rulebook: for benchmarks of built-in corpora.

    It reads the style off the text of a path and knows which world is the true one, as no method can. Within a style,
    and where none is preferred, questions are drawn at random.
    """

    options: OracleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. Raises InputError for a question that is not of the corpus."""
        from lada.tasks.builtin import CORPORA  # here, since a configuration is read without any corpus

        suits = self.options.suits.get(candidates.student)
        styles: list[str] = []
        for sample, path in zip(candidates.samples, candidates.teacher_paths, strict=True):
            corpus = next((corpus for corpus in CORPORA.values() if corpus.asks(sample)), None)
            if corpus is None:
                raise InputError(
                    f"allocator 'oracle': {sample.id!r} is no question of a built-in corpus; expected task.kind to be "
                    f"one of {', '.join(CORPORA)}"
                )
            styles.append(corpus.style_of(sample, path.text, corpus.world(self.options.world)))
        order = generator(candidates.seed, "oracle").permutation(len(styles))
        suitable = [int(i) for i in order if (styles[i] != OTHER if suits is None else styles[i] in suits)]
        chosen = sorted(suitable, key=lambda i: suits.index(styles[i]) if suits else 0)[
            : self.options.limit(len(styles))
        ]
        reasons = {i: styles[i] for i in chosen}
        return state, allocate(candidates, chosen, from_teacher(chosen), None, reasons), {}
