"""Draws questions of one family from its generator, and chains of two families."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lada.core.errors import InputError
from lada.core.seeds import one_of, seed_of
from lada.core.terms import Sample
from lada.core.words import same_question
from lada.tasks.families.paths import Part, write
from lada.tasks.families.table import EVERY, Family
from lada.tasks.families.work import checked
from lada.tasks.generated import WITH, Split, split_of
from lada.tasks.gym import DRAWING
from lada.tasks.styles import SPELLED_OUT
from lada.verifiers.base import Failure
from lada.verifiers.gym import GymVerifier, entry

SIZE = 4_000
"""How many questions a generator makes at each level."""
AT_ONCE = 250
"""How many questions are drawn with one call."""
CHAINED = (2, 60)
"""The smallest and largest answer that may stand for an operand."""
PASSES = 60
"""The maximum number of chains per first question."""
NAME = "N"
"""The names that chained questions give to the first answer."""
FRAMES = (
    "Let {name} be the answer to this: {first} Then: {second}",
    "First: {first} Call it {name}. Next: {second}",
    "{first} With {name} for that answer: {second}",
    "Two questions. One: {first} Two, where {name} is the answer to one: {second}",
)
"""The frames that combine two questions into one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a family with its work. `operand` is the number that may be another family's answer."""

    sample: Sample
    part: Part
    operand: str | None


class _Pool:
    """The items of an iterator, for several consumers at their own pace."""

    def __init__(self, source: Iterator[Asked]) -> None:
        self._source, self._known = source, list[Asked]()

    def each(self) -> Iterator[Asked]:
        place = 0
        while True:
            if place == len(self._known):
                new = next(self._source, None)
                if new is None:
                    return
                self._known.append(new)
            yield self._known[place]
            place += 1


class Drawing:
    """Draws the questions of families; equal seeds draw equal questions. A question belongs to one split, by its
    text."""

    def __init__(self, verifier: GymVerifier, seed: int) -> None:
        self._verifier, self._seed = verifier, seed
        self._pools: dict[tuple[str, int], _Pool] = {}

    def alone(self, name: str, level: int, split: Split) -> Iterator[Asked]:
        """Yield the distinct questions among SIZE of a family at a level (from 1) that belong to a split."""
        if (name, level) not in self._pools:
            self._pools[name, level] = _Pool(self._draw(EVERY[name], level))
        return (asked for asked in self._pools[name, level].each() if split_of(asked.sample.question) == split)

    def chains(self, first: str, second: str, split: Split, rng: np.random.Generator) -> Iterator["Chain"]:
        """Yield distinct chains of two families in random order: the answer of the first is an operand of the second.

        The chain's own text decides its split. No part of it is a test question, and none is a private one unless the
        chain is private too.
        """
        parts: tuple[Split, ...] = ("private",) if split == "private" else ("public", "pretrain")
        heads, tails = (
            sorted((a for part in parts for a in self.alone(name, 1, part)), key=lambda asked: asked.sample.id)
            for name in (first, second)
        )
        by_operand: dict[str, list[Asked]] = {}
        for tail in tails:
            if tail.operand is not None:
                by_operand.setdefault(tail.operand, []).append(tail)
        low, high = CHAINED
        heads = [a for a in heads if a.part.result.isdecimal() and low <= int(a.part.result) <= high]
        seen: set[str] = set()
        for row in chain.from_iterable(rng.permutation(len(heads)) for _ in range(PASSES)):
            head = heads[int(row)]
            fitting = by_operand.get(head.part.result)
            if not fitting:
                continue
            drawn = Chain.of(head, one_of(rng, fitting), int(rng.integers(len(FRAMES))))
            if drawn is not None and split_of(drawn.sample.question) == split and drawn.sample.question not in seen:
                seen.add(drawn.sample.question)
                yield drawn

    def _draw(self, family: Family, level: int) -> Iterator[Asked]:
        options = json.loads(json.dumps(family.levels[level - 1]))
        seed = seed_of(self._seed, "families", family.name, level) % 2**31
        seen: set[str] = set()
        for start in range(0, SIZE, AT_ONCE):
            arguments = (family.name, json.dumps(options), seed, SIZE, start, AT_ONCE)
            rows = self._verifier.ask("draw_with_metadata", *arguments, seconds=DRAWING)
            if isinstance(rows, Failure):
                raise InputError(f"task: reasoning-gym's generator {family.name!r} {rows.reason}")
            for index, question, answer, metadata in rows:
                key = same_question(question)
                steps = checked(family.work, metadata)
                if key in seen or steps is None:
                    continue
                seen.add(key)
                part = Part(family.name, tuple(steps), answer)
                sample = Sample(
                    id=f"{family.name}-{level}-{index:05d}",
                    question=question.strip(),
                    answer=answer,
                    rationale=write([part], SPELLED_OUT),
                    domain=family.name,
                    difficulty=level,
                    entry=entry(family.name, options, seed, SIZE, index),
                )
                yield Asked(sample, part, family.operand(metadata) if family.operand else None)


@dataclass(frozen=True, slots=True)
class Chain:
    """A question over two families. `frame` is the position of its frame in FRAMES."""

    sample: Sample
    parts: tuple[Part, Part]
    frame: int

    @classmethod
    def of(cls, first: Asked, second: Asked, frame: int) -> "Chain | None":
        """Chain two questions; None if the operand of the second does not occur in its text."""
        slot = re.compile(rf"(?<![\w.-])(?<!- ){re.escape(second.operand or '')}(?![\w.]*\d)")
        text, found = slot.subn(NAME, second.sample.question, count=1)
        if not found:
            return None
        question = FRAMES[frame].format(name=NAME, first=first.sample.question, second=text)
        parts = (first.part, second.part)
        sample = Sample(
            id=f"{first.sample.id}{WITH}{second.sample.id}-{frame}",
            question=question,
            answer=second.sample.answer,
            rationale=write(parts, SPELLED_OUT),
            domain=f"{first.part.family}{WITH}{second.part.family}",
            difficulty=(first.sample.difficulty or 0) + (second.sample.difficulty or 0),
            entry=second.sample.entry,
        )
        return cls(sample, parts, frame)
