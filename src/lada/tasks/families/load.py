"""The task `families`: the samples of a run from reasoning-gym's families."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest

from lada.core.errors import InputError, nearest
from lada.core.plural import counted
from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.builtin import deal_domains, evenly, known
from lada.tasks.data import TaskData
from lada.tasks.families.drawing import Asked, Drawing
from lada.tasks.families.table import EVERY, FAMILIES, SKILLS
from lada.tasks.generated import WITH, Split
from lada.tasks.options import FamiliesTask
from lada.tasks.readings import readings
from lada.verifiers.gym import GymVerifier
from lada.verifiers.remembered import Remembered

ANSWERS = "auto"
"""The answer kind of all families."""


def load_families(options: FamiliesTask, clients: Mapping[str, tuple[str, ...]], seed: int) -> TaskData:
    """Draw the samples of a run. No question belongs to two of its splits, by the digest of its text.

    Clients that list no family get one each, in an order that depends on the world. Domains are families; in questions
    of the domain `gcd+lcm`, the answer of the first is an operand of the second. Difficulties are levels of the
    generator's options, from 1; those of a chain add up. Clients that share a family may get the same questions if
    there are not enough for all. Raises InputError if reasoning-gym is missing, if a family is unknown, or if mixed
    questions are requested for families that do not chain.
    """
    families = _families(options.families)
    domains = _domains(options, clients, families)
    verifier = GymVerifier(1.0, options.seconds, readings)
    drawing = Drawing(verifier, seed_of(seed, "task", "families", options.world))
    draw = _Draw(drawing, seed)
    pairs = [(first, second) for first in families for second in families if chainable(first, second)]
    if options.mixed and not pairs:
        raise InputError(
            f"task.mixed: {', '.join(families)} cannot be chained; list a family whose answers are numbers and "
            "another one in task.families, or set task.mixed: 0"
        )
    mixed = round(options.mixed * options.public)
    public = draw.alone("public", evenly(options.public - mixed, families)) + draw.chained("public", mixed, pairs)
    test = draw.alone("test", [(name, options.test_per_domain) for name in (*families, *SKILLS)])
    test += draw.chained("test", options.test_mixed, pairs) if pairs else []
    kind = answer_kind(ANSWERS)
    order = generator(seed, "task", "public", "order").permutation(len(public))
    return TaskData(
        public=tuple(known(public[row], options.gold) for row in order),
        private={
            client: tuple(draw.alone("private", evenly(options.private, own), client))
            for client, own in sorted(domains.items())
        },
        test=tuple(test),
        replay=tuple(draw.alone("private", evenly(options.replay, tuple(SKILLS)))),
        own_domains={client: frozenset(own) for client, own in domains.items()},
        general=frozenset(SKILLS),
        extract=kind.extract,
        same=kind.same,
        steps=None,
        notices=tuple(draw.notices),
        verifier=Remembered(verifier),
    )


def chainable(first: str, second: str) -> bool:
    """Return whether the answer of one family can be an operand of the other."""
    return first != second and FAMILIES[first].number and FAMILIES[second].operand is not None


class _Draw:
    """Hands out the questions of a run, none of them twice."""

    def __init__(self, drawing: Drawing, seed: int) -> None:
        self._drawing, self._seed = drawing, seed
        self._dealt: dict[tuple[str, Split], Iterator[Asked]] = {}
        self.notices: list[str] = []

    def alone(self, split: Split, counts: Sequence[tuple[str, int]], whose: str = "") -> list[Sample]:
        """Return `count` questions of each family, its levels evenly mixed, or fewer if it has fewer."""
        samples: list[Sample] = []
        for name, count in counts:
            dealt = [asked.sample for asked in islice(self._going_on(name, split), count)]
            if len(dealt) < count and whose:  # the questions of other clients
                self._dealt[name, split] = self._from_the_start(name, split)
                others = (asked.sample for asked in self._going_on(name, split))
                dealt += islice((sample for sample in others if sample not in dealt), count - len(dealt))
            if len(dealt) < count:
                self._tell(split, name, len(dealt), count, whose)
            samples += dealt
        return samples

    def chained(self, split: Split, count: int, pairs: Sequence[tuple[str, str]]) -> list[Sample]:
        """Return `count` chains, evenly from each pair of families, or fewer if a pair has fewer."""
        samples: list[Sample] = []
        for (first, second), share in evenly(count, pairs):
            rng = generator(self._seed, "task", split, first, second)
            dealt = [chain.sample for chain in islice(self._drawing.chains(first, second, split, rng), share)]
            if len(dealt) < share:
                self._tell(split, f"{first}{WITH}{second}", len(dealt), share)
            samples += dealt
        return samples

    def _going_on(self, name: str, split: Split) -> Iterator[Asked]:
        return self._dealt.setdefault((name, split), self._from_the_start(name, split))

    def _from_the_start(self, name: str, split: Split) -> Iterator[Asked]:
        """Yield the questions of a family and a split, one of each level in turn."""
        levels = (self._drawing.alone(name, level, split) for level in range(1, len(EVERY[name].levels) + 1))
        return (asked for turn in zip_longest(*levels) for asked in turn if asked)

    def _tell(self, split: Split, name: str, found: int, count: int, whose: str = "") -> None:
        self.notices.append(
            f"{whose and whose + ': '}{name} has only {found} of the {counted(count, f'{split} question')} asked for"
        )


def _families(named: tuple[str, ...]) -> tuple[str, ...]:
    for name in named:
        if name not in FAMILIES:
            raise InputError(
                f"task.families: unknown family {name!r}; expected some of {', '.join(FAMILIES)}"
                f"{nearest(name, FAMILIES)}"
            )
    return tuple(sorted(set(named))) or tuple(FAMILIES)


def _domains(
    options: FamiliesTask, clients: Mapping[str, tuple[str, ...]], families: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    for name, listed in sorted(clients.items()):
        for domain in listed:
            if domain not in families:
                raise InputError(
                    f"clients: {name!r} lists domain {domain!r}; expected some of {', '.join(families)}"
                    f"{nearest(domain, families)}"
                )
    order = generator("families", "world", options.world).permutation(len(families))
    return deal_domains(clients, tuple(families[row] for row in order))
