"""The tasks `rulebooks` and `lineups`: a run's samples drawn from a built-in corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import cycle
from typing import Any, Literal, TypeVar

from lada.core.errors import InputError, nearest
from lada.core.plural import counted
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.data import TaskData
from lada.tasks.generated import GENERAL, HARD, WITH, GeneratedCorpus, Rulebook
from lada.tasks.lineups import LINEUPS
from lada.tasks.options import BuiltinTask
from lada.tasks.rulebooks import RULEBOOKS
from lada.tasks.styles import skips

T = TypeVar("T")

CORPORA: dict[str, GeneratedCorpus[Any, Any, Any]] = {corpus.name: corpus for corpus in (RULEBOOKS, LINEUPS)}
"""The built-in corpora by name."""
MISLEADING = 100
"""How many false rulebooks are tried before a question counts as one without a wrong answer."""


def load_builtin(options: BuiltinTask, clients: Mapping[str, tuple[str, ...]], seed: int) -> TaskData:
    """Draw the samples of a run. Clients that list no domain get the corpus's client domains in turn, sorted by name.

    Ids: `public-00000` in shuffled order, `private-<client>-<domain>-00000`, `test-<domain>-00000`, `replay-00000`. Two
    clients that share a domain may draw the same question; no split shares one with another. Raises InputError for an
    unknown domain. The samples of the last call are cached for an equal call.
    """
    return _load(options.model_dump_json(), tuple(sorted(clients.items())), seed)


@lru_cache(maxsize=1)
def _load(told: str, listed: tuple[tuple[str, tuple[str, ...]], ...], seed: int) -> TaskData:
    """See `load_builtin`; `told` holds the options as JSON, `listed` the domains that each client lists."""
    options = BuiltinTask.model_validate_json(told)
    corpus = CORPORA[options.kind]
    book = corpus.world(options.world)
    domains = _domains_of(corpus, dict(listed))
    _check_domains(corpus, options)
    for name in options.shorthand:
        if name not in domains:
            raise InputError(
                f"task.shorthand: there is no client {name!r}; expected some of {', '.join(domains)}"
                f"{nearest(name, domains)}"
            )
    mixed = tuple(WITH.join(each) for each in options.mixed)
    for name, chosen in domains.items():
        if options.private < len(chosen):
            raise InputError(
                f"task.private: {counted(options.private, 'question')} for the {counted(len(chosen), 'domain')} of "
                f"client {name!r}; expected at least one per domain"
            )
    public, noisy = _mislead(corpus, options, _public(corpus, book, options, seed), seed)
    answers = answer_kind(corpus.answers)
    return TaskData(
        public=tuple(known(sample, options.gold) for sample in public),
        private=Drawn(corpus, book, options, domains, seed),
        test=tuple(
            sample
            for domain in (*corpus.domains, GENERAL, *mixed)
            for sample in corpus.draw(
                book,
                domain,
                "test",
                options.mixed_test if domain in mixed else options.test_per_domain,
                generator(seed, "task", "test", domain),
                prefix=f"test-{domain}",
            )
        ),
        replay=tuple(
            corpus.draw(book, GENERAL, "private", options.replay, generator(seed, "task", "replay"), prefix="replay")
        ),
        own_domains={name: frozenset(chosen) for name, chosen in domains.items()},
        general=frozenset({GENERAL}),
        extract=answers.extract,
        same=answers.same,
        steps=partial(corpus.check_steps, book=book),
        noisy=noisy,
        mixed=frozenset(mixed),
        known=frozenset(options.known),
        style=partial(corpus.style_of, book=book) if options.styles else None,
        solve=partial(corpus.solve, book=book),
    )


def _public(
    corpus: GeneratedCorpus[Any, Any, Any], book: Rulebook[Any], options: BuiltinTask, seed: int
) -> list[Sample]:
    """Return the public questions with their true answers, in shuffled order."""
    domains = options.public_domains or tuple(corpus.domains)
    hard, mixed = round(options.hard * options.public), round(options.mixed_share * options.public)
    plain = evenly(options.public - hard - mixed, domains)
    rows: list[Sample] = []
    for domain, count in plain + evenly(mixed, tuple(WITH.join(each) for each in options.mixed)):
        rng = generator(seed, "task", "public", domain)
        rows += corpus.draw(book, domain, "public", count, rng, prefix="public")
    for domain, count in evenly(hard, domains):
        rng = generator(seed, "task", "public", "hard", domain)
        rows += corpus.draw(book, domain, "public", count, rng, prefix="public", lengths=HARD)
    order = generator(seed, "task", "public", "order").permutation(len(rows))
    return [replace(rows[row], id=f"public-{place:05d}") for place, row in enumerate(order)]


def known(sample: Sample, gold: Literal["rationales", "answers", "none"]) -> Sample:
    """Return the part of a public sample that the parties know."""
    match gold:
        case "rationales":
            return sample
        case "answers":
            return replace(sample, rationale=None)
        case "none":
            return replace(sample, rationale=None, answer=None)


def _mislead(
    corpus: GeneratedCorpus[Any, Any, Any], options: BuiltinTask, public: list[Sample], seed: int
) -> tuple[tuple[Sample, ...], frozenset[str]]:
    """Answer a share of the questions by false rulebooks; return all questions, and the ids of the false ones."""
    wanted = round(options.noise * len(public))
    noisy: set[str] = set()
    for row in generator(seed, "task", "public", "noise").permutation(len(public)):
        if len(noisy) == wanted:
            break
        for attempt in range(MISLEADING):
            false = corpus.retell(public[row], corpus.false_world(options.world, attempt))
            if false is not None and false.answer != public[row].answer:
                public[row] = false
                noisy.add(false.id)
                break
    if len(noisy) < wanted:
        raise InputError(
            f"task.noise: {options.noise:g} of {counted(len(public), 'public question')} cannot be answered wrongly, "
            "only "
            f"{len(noisy)}; lower task.noise"
        )
    return tuple(public), frozenset(noisy)


class Drawn(Mapping[str, tuple[Sample, ...]]):
    """Each client's private samples, drawn on access: the samples of thousands of clients are never held at once."""

    def __init__(
        self,
        corpus: GeneratedCorpus[Any, Any, Any],
        book: Rulebook[Any],
        options: BuiltinTask,
        domains: Mapping[str, tuple[str, ...]],
        seed: int,
    ) -> None:
        self._corpus, self._book, self._domains, self._seed = corpus, book, domains, seed
        self._count, self._shorthand = options.private, options.shorthand

    def __getitem__(self, name: str) -> tuple[Sample, ...]:
        return tuple(
            sample
            for domain, count in evenly(self._count, self._domains[name])
            for sample in self._in_shorthand(
                self._corpus.draw(
                    self._book,
                    domain,
                    "private",
                    count,
                    generator(self._seed, "task", "private", name, domain),
                    prefix=f"private-{name}-{domain}",
                ),
                name,
                domain,
            )
        )

    def _in_shorthand(self, samples: list[Sample], name: str, domain: str) -> list[Sample]:
        """Remove the computation from a client's share of the rationales."""
        count = round(self._shorthand.get(name, 0.0) * len(samples))
        for row in generator(self._seed, "task", "shorthand", name, domain).permutation(len(samples))[:count]:
            told = self._corpus.retell(samples[row], self._book, skips(domain))
            assert told is not None  # it was drawn with this rulebook
            samples[row] = told
        return samples

    def sizes(self) -> dict[str, int]:
        """Return how many samples each client has, without drawing any."""
        return dict.fromkeys(self._domains, self._count)

    def __contains__(self, name: object) -> bool:
        return name in self._domains  # Mapping's default would draw the samples

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)


def _check_domains(corpus: GeneratedCorpus[Any, Any, Any], options: BuiltinTask) -> None:
    """Raise InputError if an option names a domain that does not exist or cannot be mixed."""
    every, mixable = tuple(corpus.domains), corpus.mixable
    named = [("public_domains", options.public_domains, every), ("known", options.known, every)]
    for key, chosen, domains in [*named, *(("mixed", each, mixable) for each in options.mixed)]:
        for domain in chosen:
            if domain not in domains:
                raise InputError(
                    f"task.{key}: {domain!r} cannot be named here; expected some of {', '.join(domains)}"
                    f"{nearest(domain, domains)}"
                )
        if len(set(chosen)) < len(chosen):
            raise InputError(f"task.{key}: {list(chosen)} lists a domain twice; name each once")
        if key == "mixed" and len(chosen) == len(domains):
            raise InputError(
                f"task.mixed: {list(chosen)} are all domains that can be mixed; leave one out for the questions' "
                "wording"
            )
    if len({frozenset(each) for each in options.mixed}) < len(options.mixed):
        raise InputError("task.mixed: it lists the same domains twice; name them once")


def _domains_of(
    corpus: GeneratedCorpus[Any, Any, Any], clients: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    for name in sorted(clients):
        for domain in clients[name]:
            if domain not in corpus.domains:
                raise InputError(
                    f"clients: {name!r} lists domain {domain!r}; expected some of {', '.join(corpus.domains)}"
                    f"{nearest(domain, corpus.domains)}"
                )
    return deal_domains(clients, corpus.client_domains)


def deal_domains(clients: Mapping[str, tuple[str, ...]], defaults: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return each client's domains, sorted: those that it lists, else one of `defaults`, assigned in turn."""
    dealt = cycle(defaults)
    return {name: tuple(sorted(set(clients[name]))) or (next(dealt),) for name in sorted(clients)}


def evenly(count: int, domains: Sequence[T]) -> list[tuple[T, int]]:
    """Divide a count among domains; the first ones get one more if it does not divide evenly."""
    each, more = divmod(count, max(len(domains), 1))
    return [(domain, each + (place < more)) for place, domain in enumerate(domains)]
