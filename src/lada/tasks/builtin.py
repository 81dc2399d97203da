"""The task `rulebooks`: a run's samples drawn from the built-in corpus."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Literal

from pydantic import Field

from lada.core.errors import InputError, nearest
from lada.core.registry import Options
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.data import TaskData
from lada.tasks.rulebooks import CLIENT_DOMAINS, DOMAINS, GENERAL, Rulebook, check_steps, draw, world


class RulebooksTask(Options):
    """How many questions of the built-in corpus to draw, and of which world."""

    kind: Literal["rulebooks"] = "rulebooks"
    """The built-in corpus."""
    world: int = Field(default=0, ge=0)
    """Whose rulebook is the true one: the same words mean other things in another world."""
    public: int = Field(default=1000, ge=1)
    """Public questions, spread evenly over all domains but `general`."""
    private: int = Field(default=800, ge=1)
    """Private questions per client, spread evenly over its domains."""
    test_per_domain: int = Field(default=100, ge=1)
    """Test questions of each domain, `general` too."""
    replay: int = Field(default=400, ge=0)
    """General questions that every party replays so that it forgets no skill."""


def load_rulebooks(options: RulebooksTask, clients: Mapping[str, tuple[str, ...]], seed: int) -> TaskData:
    """Draw the samples of a run. Clients that list no domain get CLIENT_DOMAINS in turn, sorted by name.

    Ids: `public-00000` in shuffled order, `private-<client>-<domain>-00000`, `test-<domain>-00000`, `replay-00000`.
    Two clients that share a domain may draw the same question; no split shares one with another. Raises InputError
    for an unknown domain.
    """
    book = world(options.world)
    domains = _domains_of(clients)
    for name, chosen in domains.items():
        if options.private < len(chosen):
            raise InputError(
                f"task.private: {options.private} questions for the {len(chosen)} domains of client {name!r}; "
                "expected at least one of each"
            )
    public = [
        sample
        for domain, count in _evenly(options.public, tuple(DOMAINS))
        for sample in draw(book, domain, "public", count, generator(seed, "task", "public", domain), prefix="public")
    ]
    order = generator(seed, "task", "public", "order").permutation(len(public))
    answers = answer_kind("word")
    return TaskData(
        public=tuple(replace(public[row], id=f"public-{place:05d}") for place, row in enumerate(order)),
        private=_Private(book, options.private, domains, seed),
        test=tuple(
            sample
            for domain in (*DOMAINS, GENERAL)
            for sample in draw(
                book,
                domain,
                "test",
                options.test_per_domain,
                generator(seed, "task", "test", domain),
                prefix=f"test-{domain}",
            )
        ),
        replay=tuple(
            draw(book, GENERAL, "private", options.replay, generator(seed, "task", "replay"), prefix="replay")
        ),
        own_domains={name: frozenset(chosen) for name, chosen in domains.items()},
        general=frozenset({GENERAL}),
        extract=answers.extract,
        same=answers.same,
        steps=partial(check_steps, book=book),
    )


class _Private(Mapping[str, tuple[Sample, ...]]):
    """Each client's private samples, drawn when they are asked for: nobody holds those of thousands of clients."""

    def __init__(self, book: Rulebook, count: int, domains: Mapping[str, tuple[str, ...]], seed: int) -> None:
        self._book, self._count, self._domains, self._seed = book, count, domains, seed

    def __getitem__(self, name: str) -> tuple[Sample, ...]:
        return tuple(
            sample
            for domain, count in _evenly(self._count, self._domains[name])
            for sample in draw(
                self._book,
                domain,
                "private",
                count,
                generator(self._seed, "task", "private", name, domain),
                prefix=f"private-{name}-{domain}",
            )
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)


def _domains_of(clients: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    defaults = cycle(CLIENT_DOMAINS)
    domains: dict[str, tuple[str, ...]] = {}
    for name in sorted(clients):
        for domain in clients[name]:
            if domain not in DOMAINS:
                raise InputError(
                    f"clients: {name!r} lists domain {domain!r}; expected some of {', '.join(DOMAINS)}"
                    f"{nearest(domain, DOMAINS)}"
                )
        domains[name] = tuple(sorted(set(clients[name]))) or (next(defaults),)
    return domains


def _evenly(count: int, domains: tuple[str, ...]) -> list[tuple[str, int]]:
    """Share a count among domains; the first ones get one more where it does not divide."""
    each, more = divmod(count, len(domains))
    return [(domain, each + (place < more)) for place, domain in enumerate(domains)]
