"""The task `reasoning_gym`: questions from reasoning-gym's generators, scored by their own verifiers."""

import json
from collections.abc import Mapping
from typing import Any

from lada.core.errors import InputError, nearest
from lada.core.plural import counted
from lada.core.seeds import generator, seed_of
from lada.core.terms import Sample
from lada.core.words import same_question
from lada.tasks.answers import answer_kind
from lada.tasks.builtin import deal_domains, evenly
from lada.tasks.data import TaskData
from lada.tasks.options import GymTask
from lada.tasks.readings import readings
from lada.verifiers.base import Failure
from lada.verifiers.gym import GymVerifier, entry
from lada.verifiers.remembered import Remembered

SIZE = 10_000
"""How many questions each generator may be asked for; some first build a table of that length."""
AT_ONCE = 64
"""How many questions are drawn with one call."""
DRAWING = 300.0
"""Seconds that one call may take."""


def load_gym(options: GymTask, clients: Mapping[str, tuple[str, ...]], seed: int) -> TaskData:
    """Draw the samples of a run. No two of them, of any party, are the same question.

    Clients that list no generator get one each, in turn. Ids: `<generator>-<index>`; the same index and seed give the
    same question. Raises InputError if reasoning-gym is missing, if it does not accept a generator or its options, or
    if a generator has too few distinct questions.
    """
    verifier = GymVerifier(options.threshold, options.seconds, readings)
    known = verifier.ask("generators", seconds=DRAWING)
    for name in options.generators:
        if name not in known:
            raise InputError(
                f"task.generators: reasoning-gym has no generator {name!r}; it has {', '.join(known)}"
                f"{nearest(name, known)}"
            )
    domains = _domains_of(options, clients)
    drawn = {name: _Drawn(verifier, name, options.generators[name], seed) for name in sorted(options.generators)}
    names = sorted(drawn)
    test = [sample for name in names for sample in drawn[name].take(options.test_per_domain)]
    public = [sample for name, count in evenly(options.public, tuple(names)) for sample in drawn[name].take(count)]
    private = {
        client: tuple(
            sample for name, count in evenly(options.private, domains[client]) for sample in drawn[name].take(count)
        )
        for client in sorted(domains)
    }
    order = generator(seed, "task", "public", "order").permutation(len(public))
    kind = answer_kind(options.answer)
    return TaskData(
        public=tuple(public[row] for row in order),
        private=private,
        test=tuple(test),
        replay=(),
        own_domains={client: frozenset(own) for client, own in domains.items()},
        general=frozenset(),
        extract=kind.extract,
        same=kind.same,
        steps=None,
        verifier=Remembered(verifier),
    )


class _Drawn:
    """Distinct questions of one generator, one after another."""

    def __init__(self, verifier: GymVerifier, name: str, options: dict[str, Any], seed: int) -> None:
        self._verifier, self._name, self._options = verifier, name, options
        self._seed = seed_of(seed, "task", "reasoning_gym", name) % 2**31
        self._next = 0
        self._seen: set[str] = set()
        self._left: list[Sample] = []

    def take(self, count: int) -> list[Sample]:
        while len(self._left) < count:
            if self._next >= SIZE:
                raise InputError(
                    f"task.generators.{self._name}: it has {counted(len(self._seen), 'different question')} among "
                    f"{SIZE}, but more are needed; lower task.public, task.private or task.test_per_domain, or widen "
                    "its options"
                )
            self._draw()
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def _draw(self) -> None:
        arguments = (self._name, json.dumps(self._options), self._seed, SIZE, self._next, AT_ONCE)
        rows = self._verifier.ask("draw", *arguments, seconds=DRAWING)
        if isinstance(rows, Failure):
            raise InputError(
                f"task.generators.{self._name}: with the options {self._options} it {rows.reason}; correct its "
                "options, or choose another generator"
            )
        for index, question, answer in rows:
            if answer is None:
                raise InputError(
                    f"task.generators.{self._name}: it gives no gold answers, which lessons need; choose another"
                )
            key = same_question(question)
            if key not in self._seen:
                self._seen.add(key)
                self._left.append(
                    Sample(
                        id=f"{self._name}-{index:05d}",
                        question=question.strip(),
                        answer=answer,
                        domain=self._name,
                        entry=entry(self._name, self._options, self._seed, SIZE, index),
                    )
                )
        self._next += AT_ONCE


def _domains_of(options: GymTask, clients: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, listed in sorted(clients.items()):
        for domain in listed:
            if domain not in options.generators:
                raise InputError(
                    f"clients: {name!r} lists domain {domain!r}; expected some of task.generators, "
                    f"{', '.join(options.generators)}{nearest(domain, options.generators)}"
                )
    return deal_domains(clients, tuple(sorted(options.generators)))
