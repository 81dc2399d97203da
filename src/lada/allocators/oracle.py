"""Whoever knows the world and the students: what a filter of the built-in corpora could reach at best."""

from typing import Annotated, Literal

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

Styles = Annotated[tuple[str, ...], Field(strict=False)]


class OracleOptions(Budgeted):
    """What it knows."""

    corpus: Literal["rulebooks", "lineups"] = "rulebooks"
    """The task's `kind`."""
    world: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """The task's `world`."""
    avoid: dict[str, Styles] = Field(default={})
    """By student: styles of paths that it does not learn, such as `{clinic: [skips_warehouse]}`. Nobody learns what
    is in no style, since it is not right in every letter."""
    prefer: dict[str, Styles] = Field(default={})
    """By student: styles of paths that it learns first, in this order."""


@ALLOCATORS.register("oracle", options=OracleOptions, status="our reading", needs=needs({Verb.ANSWER}, own_paths=True))
class Oracle(Memoryless):
    """The teacher's paths in styles that suit the student, by the true rulebook: for benchmarks of built-in corpora.

    It reads the style (lada.tasks.styles) off the text of a path and knows which world is the true one, as no method
    can. Within a style, and where none is preferred, questions are drawn at random.
    """

    options: OracleOptions

    def apply(self, state: State, candidates: Candidates) -> Outcome:
        """See Allocator.apply. Raises InputError for a question that is not of the corpus."""
        from lada.tasks.builtin import CORPORA  # here, since a configuration is read without any corpus

        avoid = {OTHER, *self.options.avoid.get(candidates.student, ())}
        prefer = self.options.prefer.get(candidates.student, ())
        corpus = CORPORA[self.options.corpus]
        book = corpus.world(self.options.world)
        styles: list[str] = []
        for sample, path in zip(candidates.samples, candidates.teacher_paths, strict=True):
            if not corpus.asks(sample):
                raise InputError(
                    f"allocator 'oracle': {sample.id!r} is no question of {corpus.name}; expected a task of that kind, "
                    "or another value of its option corpus"
                )
            styles.append(corpus.style_of(sample, path.text, book))
        order = generator(candidates.seed, "oracle").permutation(len(styles))
        suitable = [int(i) for i in order if styles[i] not in avoid]
        ranks = {style: rank for rank, style in enumerate(prefer)}
        ranked = sorted(suitable, key=lambda i: ranks.get(styles[i], len(ranks)))
        chosen = ranked[: self.options.limit(len(styles))]
        reasons = {i: styles[i] for i in chosen}
        return state, allocate(candidates, chosen, from_teacher(chosen), None, reasons), {}
