"""The common parts of the built-in corpora: skills that all models have, and rulebooks that only some have read.

A question applies a chain of verbs to a first value; its rationale spells each verb out as primitive steps. The
meanings of verbs are drawn from the *world* seed, the questions from the run's seed. Every question belongs to one
split by a digest of its text, so no test question can occur among public, private or pretraining ones, for any seeds.
The `general` domain uses verbs that say what they do; it measures only skill.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from lada.core.errors import InputError
from lada.core.seeds import by_chance, generator, one_of
from lada.core.terms import Sample
from lada.tasks.styles import OTHER, SPELLED_OUT, Told, bodies, styles, write

Split = Literal["test", "public", "private", "pretrain"]
SPLITS: tuple[tuple[Split, int], ...] = (("test", 15), ("public", 20), ("private", 30), ("pretrain", 35))
"""Share of the question space that belongs to each split, percent."""

GENERAL = "general"
WITH = "+"
"""Joins the domains of a question that chains verbs of several: `warehouse+clinic`."""
LABELS = ("a)", "b)", "c)", "d)", "e)", "f)")
TAUGHT: Mapping[int, float] = {1: 0.1, 2: 0.3, 3: 0.3, 4: 0.3}
"""The numbers of verbs that a question chains, with their frequencies."""
HARD: Mapping[int, float] = {5: 0.5, 6: 0.5}
"""The same for questions that chain more verbs than any model was taught."""

ALIKE = 0.8
"""The share of a false world's rules that have the true rule's kind."""
PATIENCE = 3_000
"""A split counts as exhausted after this many consecutive draws without a new question."""


class OutOfRange(Exception):  # noqa: N818 - it rejects a draw, nothing has failed
    """A step left the range of values."""


class HasKind(Protocol):
    """A rule: the meaning of one verb. Rules of kind `argument` need a word after the verb."""

    @property
    def kind(self) -> str:
        """Return the kind of this rule."""
        ...


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain's wording; `opening` is filled with the first value."""

    name: str
    opening: str
    closing: str
    verbs: tuple[str, ...]


D = TypeVar("D", bound=Domain)
R = TypeVar("R", bound=HasKind)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Rulebook(Generic[R]):
    """The meanings of each domain's verbs for some party: `rules[domain][verb]`."""

    rules: Mapping[str, Mapping[str, R]]


@dataclass(frozen=True, slots=True)
class Step(Generic[R]):
    """One verb of a question as written there, with its argument if its rule takes one."""

    words: str
    rule: R
    argument: str | None = None
    domain: str = GENERAL
    """The verb's domain."""


def split_of(question: str) -> Split:
    """Return the only split that may contain a question, from a digest of its text."""
    point = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") % 100
    for split, share in SPLITS:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 100")


_STEP = re.compile(r"([a-f]\) [^:.]{0,99}?) : ([^.]{0,199}) \.")  # bounded: a path may be any text
_NEXT = re.compile(r" (?=[a-f]\) )")


class GeneratedCorpus(ABC, Generic[D, R, V]):
    """A corpus of domains `D` whose rules `R` change values `V`. A subclass defines the rules."""

    name: str
    """Its `kind` in a configuration."""
    title: str
    domains: Mapping[str, D]
    client_domains: tuple[str, ...]
    answers: str
    """How answers are read; see lada.tasks.answers.answer_kind."""
    mistaken: str
    """The kind of rule that the LLM attributes to a verb when it is wrong."""

    @abstractmethod
    def kinds(self, domain: D) -> tuple[str, ...]:
        """Return the rule kinds of a domain's verbs, one for each verb."""

    @abstractmethod
    def draw_rule(self, kind: str, domain: D, rng: np.random.Generator, taken: set[R]) -> R:
        """Draw a rule of a kind that is not in `taken`."""

    @abstractmethod
    def draw_value(self, domain: D, rng: np.random.Generator) -> V:
        """Draw a question's first value."""

    @abstractmethod
    def draw_argument(self, domain: D, rng: np.random.Generator) -> str:
        """Draw the argument of a verb whose rule takes one."""

    @abstractmethod
    def spell_out(self, domain: D, rng: np.random.Generator) -> Step[R]:
        """Draw a verb that says what it does."""

    @abstractmethod
    def spelled_out(self, domain: D, words: str) -> Step[R]:
        """Read a verb that says what it does."""

    @abstractmethod
    def apply(self, step: Step[R], value: V, first: V, domain: D) -> tuple[V, list[str]]:
        """Return the value after a step and its primitive steps; `first` is the question's. May raise OutOfRange."""

    @abstractmethod
    def show(self, value: V, domain: D) -> str:
        """Write a value as in a question."""

    @abstractmethod
    def read(self, text: str, domain: D) -> V | None:
        """Return the value that `show` writes as this text; None if there is none."""

    @abstractmethod
    def join(self, one: str, other: str) -> str | None:
        """Return two consecutive primitive steps as one expression; None if they cannot be joined."""

    @property
    def mixable(self) -> tuple[str, ...]:
        """Return the domains with the same values, so that a question may chain verbs of several."""
        return tuple(self.domains)

    @property
    def server_domains(self) -> tuple[str, ...]:
        """Return the domains that belong to no client."""
        return tuple(name for name in self.domains if name not in self.client_domains)

    @property
    def known_domains(self) -> tuple[str, ...]:
        """Return the client domains known to an LLM that writes in several styles."""
        return self.client_domains[:-1]

    def world(self, number: int) -> Rulebook[R]:
        """Return the true rulebook of world `number` (>= 0); all rules of a domain differ."""
        return _world(self, number)

    def llm_beliefs(self, number: int) -> Rulebook[R]:
        """Return the rulebook that the server LLM of world `number` was taught: wrong on some verbs, without those that
        it lacks.

        Server domains: 9 verbs right, 1 wrong. Client domains: 3 right, 2 wrong, 5 never seen.
        """
        return _beliefs(self, number)

    def skipping_beliefs(self, number: int) -> Rulebook[R]:
        """Return the rulebook taught to an LLM of world `number` that writes in several styles: its known client
        domains without mistakes, nothing of the other client domains, and the server domains as in `llm_beliefs`."""
        truth, beliefs = self.world(number).rules, self.llm_beliefs(number).rules
        return Rulebook(
            {name: truth[name] for name in self.known_domains} | {name: beliefs[name] for name in self.server_domains}
        )

    def false_world(self, number: int, attempt: int) -> Rulebook[R]:
        """Return a rulebook that is wrong about every verb of world `number`, but right about most verbs' kinds."""
        return _false_world(self, number, attempt)

    def draw(
        self,
        book: Rulebook[R],
        domain: str,
        split: Split,
        count: int,
        rng: np.random.Generator,
        *,
        prefix: str,
        lengths: Mapping[int, float] = TAUGHT,
        at_most: bool = False,
    ) -> list[Sample]:
        """Draw `count` distinct questions of one domain and split, answered by `book`; ids are `prefix-00000`…

        `domain` is a key of `domains`, or GENERAL for spelled-out verbs in the wording of any domain, or several of
        `mixable` joined by WITH: such questions have verbs of each, in the wording of yet another domain. `lengths`
        gives the frequencies of the numbers of verbs; with several domains, numbers that are too small are omitted. If
        the split seems to hold fewer distinct questions (PATIENCE consecutive draws gave nothing new), this raises
        InputError or, with `at_most`, returns what was found.
        """
        samples: list[Sample] = []
        seen: set[str] = set()
        fruitless = 0
        asked = set(domain.split(WITH))
        rules = {} if domain == GENERAL else _verbs(book, domain)
        while len(samples) < count:
            fruitless += 1
            if fruitless > PATIENCE:
                if at_most:
                    break
                raise InputError(
                    f"task: domain {domain!r} has too few different {split} questions for {count}; "
                    "ask for fewer samples"
                )
            wording = self._wording(domain, rng)
            length = by_chance(rng, lengths)
            first = self.draw_value(wording, rng)
            if domain == GENERAL:
                steps = [self.spell_out(wording, rng) for _ in range(length)]
            else:
                steps = [self._draw_step(wording, rules, rng) for _ in range(length)]
            question = self._ask(wording, steps, first)
            if question in seen or split_of(question) != split or {step.domain for step in steps} != asked:
                continue
            try:
                rationale, answer = self._tell(wording, steps, first)
            except OutOfRange:
                continue
            seen.add(question)
            fruitless = 0
            samples.append(Sample(f"{prefix}-{len(samples):05d}", question, answer, rationale, domain, length))
        return samples

    def asks(self, sample: Sample) -> bool:
        """Return whether a sample is a question of this corpus, in one of its domains."""
        known = {GENERAL, *self.domains}
        return self._parsed(sample.question) is not None and known >= set(sample.domain.split(WITH))

    def solve(self, question: str, book: Rulebook[R]) -> Sample | None:
        """Return a question of one domain as a sample that `book` answers; None for a text that is no such question.

        The sample has no id.
        """
        parsed = self._parsed(question)
        if parsed is None:
            return None
        wording, first, asked = parsed
        verbs = {words[3:].partition(" ")[0] for words in asked}
        known = book.rules.get(wording.name, {})
        labelled = [words[:3] for words in asked] == [f"{label} " for label in LABELS[: len(asked)]]
        if not labelled or not verbs <= known.keys() or len(asked) > len(LABELS):
            return None
        sample = Sample("", question, domain=wording.name, difficulty=len(asked))
        steps = self._read_steps(asked, sample, wording, book)
        if any((step.rule.kind == "argument") != (step.argument is not None) for step in steps):
            return None
        try:
            rationale, answer = self._tell(wording, steps, first)
        except (OutOfRange, ValueError):  # an argument may be any word
            return None
        return replace(sample, rationale=rationale, answer=answer)

    def retell(self, sample: Sample, book: Rulebook[R], style: str = SPELLED_OUT) -> Sample | None:
        """Return a question of this corpus, answered by `book` in a style of lada.tasks.styles; None if a rule leaves
        the range of values."""
        wording, first, asked = self._parse(sample)
        steps = self._read_steps(asked, sample, wording, book)
        try:
            rationale, answer = self._tell(wording, steps, first, style)
        except OutOfRange:
            return None
        return replace(sample, rationale=rationale, answer=answer)

    def style_of(self, sample: Sample, text: str, book: Rulebook[R]) -> str:
        """Return the style in which a path answers a question of this corpus; OTHER if it is not right in every letter.

        A text that fits several styles counts as the first of them; see lada.tasks.styles.styles.
        """
        wording, first, asked = self._parse(sample)
        steps = self._read_steps(asked, sample, wording, book)
        if any(step.rule.kind == "argument" and step.argument is None for step in steps):
            return OTHER  # a book of another world, in which a verb of this question needs another word
        domains = () if sample.domain == GENERAL else sample.domain.split(WITH)
        try:
            told = ((style, self._tell(wording, steps, first, style)[0]) for style in styles(domains))
            return next((style for style, rationale in told if rationale == text.strip()), OTHER)
        except OutOfRange:
            return OTHER

    def check_steps(self, sample: Sample, text: str, book: Rulebook[R]) -> list[tuple[str, bool]]:
        """Split a path into its steps and tell for each whether it follows from the rulebook and the value before it.

        A step is right if it carries the question's verb and applies its true rule to the value that the path itself
        had reached. So one early slip makes one wrong step, not all that follow. A step may omit its computation, and
        consecutive verbs may be combined in one step; then either all of them are right or none is. Steps are
        recognised by their labels: a missing one counts as wrong, with an empty text, and a repeated or unexpected one
        is surplus. Returns one pair per expected step, plus one `False` pair per surplus step.
        """
        wording, first, asked = self._parse(sample)
        told: dict[str, tuple[list[str], str]] = {}
        surplus: list[tuple[str, bool]] = []
        labels = {step[:2] for step in asked}
        for found in _STEP.finditer(text):
            verbs = _NEXT.split(found[1])
            new = {verb[:2] for verb in verbs}
            if len(new) == len(verbs) and new <= labels - told.keys():
                told |= dict.fromkeys(new, (verbs, found[2]))
            else:
                surplus.append((found[0], False))
        checked: list[tuple[str, bool]] = []
        value, right = first, False
        group: tuple[list[str], str] = [], ""
        for place, words in enumerate(asked):
            if words[:2] not in told:
                checked.append(("", False))
                continue
            verbs, body = told[words[:2]]
            if told[words[:2]] is not group:
                group = told[words[:2]]
                steps = self._read_steps(asked[place : place + len(verbs)], sample, wording, book)
                try:
                    chain = self._carry_out(wording, steps, value, first, place)
                    right = [step.words for step in chain] == verbs and body in bodies(chain, self.join)
                except OutOfRange:
                    right = False
                after = self.read(body.rpartition("= ")[2], wording)
                value = value if after is None else after
            mine = next(verb for verb in verbs if verb[:2] == words[:2])
            checked.append((f"{mine} : {body} ." if mine == verbs[-1] else mine, right))
        return checked + surplus

    def _wording(self, domain: str, rng: np.random.Generator) -> D:
        """Return the domain whose wording a question of `domain` uses."""
        if domain == GENERAL:
            return self.domains[one_of(rng, tuple(self.domains))]
        if WITH not in domain:
            return self.domains[domain]
        return self.domains[one_of(rng, [name for name in self.mixable if name not in domain.split(WITH)])]

    def _draw_step(self, wording: D, verbs: Mapping[str, tuple[str, R]], rng: np.random.Generator) -> Step[R]:
        verb = one_of(rng, tuple(verbs))
        name, rule = verbs[verb]
        if rule.kind != "argument":
            return Step(verb, rule, domain=name)
        argument = self.draw_argument(wording, rng)
        return Step(f"{verb} {argument}", rule, argument, name)

    def _ask(self, domain: D, steps: Sequence[Step[R]], first: V) -> str:
        asked = " ".join(f"{label} {step.words} ." for label, step in zip(LABELS, steps, strict=False))
        return f"{domain.opening.format(self.show(first, domain))} . {asked} {domain.closing} ?"

    def _tell(self, domain: D, steps: Sequence[Step[R]], first: V, style: str = SPELLED_OUT) -> tuple[str, str]:
        """Return rationale and answer of a chain. Raises OutOfRange."""
        chain = self._carry_out(domain, steps, first, first)
        answer = chain[-1].value
        return f"{write(chain, style, self.join)} answer {answer}", answer

    def _carry_out(self, domain: D, steps: Sequence[Step[R]], value: V, first: V, start: int = 0) -> list[Told]:
        """Carry out the part of a chain from step number `start` on, starting with `value`. Raises OutOfRange."""
        chain: list[Told] = []
        for label, step in zip(LABELS[start:], steps, strict=False):
            value, primitives = self.apply(step, value, first, domain)
            chain.append(Told(f"{label} {step.words}", step.domain, tuple(primitives), self.show(value, domain)))
        return chain

    def _parse(self, sample: Sample) -> tuple[D, V, list[str]]:
        """Return the wording of a question, its first value, and its verbs with their labels."""
        parsed = self._parsed(sample.question)
        assert parsed is not None, f"{sample.id} is not a question of this corpus"
        return parsed

    def _parsed(self, question: str) -> tuple[D, V, list[str]] | None:
        for domain in self.domains.values():
            opening = re.escape(domain.opening).replace(r"\{\}", "(.+?)")
            match = re.fullmatch(rf"{opening} \. (.+) \. {re.escape(domain.closing)} \?", question)
            first = self.read(match[1], domain) if match else None
            if match and first is not None:
                return domain, first, match[2].split(" . ")
        return None

    def _read_steps(self, asked: Sequence[str], sample: Sample, wording: D, book: Rulebook[R]) -> list[Step[R]]:
        """Return the meanings of labelled verbs in a question."""
        if sample.domain == GENERAL:
            return [self.spelled_out(wording, words[3:]) for words in asked]
        verbs = _verbs(book, sample.domain)
        steps: list[Step[R]] = []
        for words in asked:
            verb, _, argument = words[3:].partition(" ")
            name, rule = verbs[verb]
            steps.append(Step(words[3:], rule, argument or None, name))
        return steps


def _verbs(book: Rulebook[R], domain: str) -> dict[str, tuple[str, R]]:
    """Return the domain and meaning of each verb of a question's domain or domains."""
    return {verb: (name, rule) for name in domain.split(WITH) for verb, rule in book.rules[name].items()}


@cache
def _world(corpus: GeneratedCorpus[Any, R, Any], number: int) -> Rulebook[R]:
    book: dict[str, dict[str, R]] = {}
    for domain in corpus.domains.values():
        rng = generator("world", number, domain.name)
        taken: set[R] = set()
        rules: dict[str, R] = {}
        for verb, kind in zip(domain.verbs, rng.permutation(corpus.kinds(domain)), strict=True):
            rules[verb] = corpus.draw_rule(kind, domain, rng, taken)
            taken.add(rules[verb])
        book[domain.name] = rules
    return Rulebook(book)


@cache
def _beliefs(corpus: GeneratedCorpus[Any, R, Any], number: int) -> Rulebook[R]:
    truth = _world(corpus, number)
    book: dict[str, dict[str, R]] = {}
    for name, domain in corpus.domains.items():
        rng = generator("beliefs", number, name)
        wrong, unseen = (2, 5) if name in corpus.client_domains else (1, 0)
        verbs = [str(verb) for verb in rng.permutation(domain.verbs)]
        rules = {verb: truth.rules[name][verb] for verb in verbs[unseen:]}
        for verb in verbs[unseen : unseen + wrong]:
            rules[verb] = corpus.draw_rule(corpus.mistaken, domain, rng, set(truth.rules[name].values()))
        book[name] = {verb: rules[verb] for verb in domain.verbs if verb in rules}
    return Rulebook(book)


@cache
def _false_world(corpus: GeneratedCorpus[Any, R, Any], number: int, attempt: int) -> Rulebook[R]:
    book: dict[str, dict[str, R]] = {}
    for name, rules in _world(corpus, number).rules.items():
        rng = generator("false world", number, attempt, name)
        book[name] = {
            # Some questions, such as `double` of 8, leave the range by every other rule of a verb's kind.
            verb: corpus.draw_rule(
                rule.kind if rng.random() < ALIKE else corpus.mistaken, corpus.domains[name], rng, {rule}
            )
            for verb, rule in rules.items()
        }
    return Rulebook(book)
