"""The built-in corpus *skills and rulebooks*: every model has the skills, domains differ in what verbs mean.

A question chains one to four verbs over a first value; its rationale spells each verb out as primitive steps:

    7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?
    a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5

What a verb means is drawn from the *world* seed; which questions are drawn, from the run's seed. Every question
belongs to one split by a digest of its text, so no test question can occur among public, private or pretraining
ones, whatever the seeds. The `general` domain uses verbs that say what they do; it measures skill alone.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.rules import HIGHEST, KINDS, WEEKDAYS, OutOfRange, Rule, Scale, apply, draw_rule, show

Split = Literal["test", "public", "private", "pretrain"]
SPLITS: tuple[tuple[Split, int], ...] = (("test", 15), ("public", 20), ("private", 30), ("pretrain", 35))
"""Share of the question space that belongs to each split, percent."""

GENERAL = "general"
CLIENT_DOMAINS = ("warehouse", "clinic", "kitchen")
SERVER_DOMAINS = ("bank", "farm", "school", "railway")
LABELS = ("a)", "b)", "c)", "d)")
DIFFICULTY_SHARES = (0.1, 0.3, 0.3, 0.3)
"""How often a question chains 1, 2, 3 or 4 verbs."""

PATIENCE = 3_000
"""Draws in a row without a new question after which a split counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain's wording; `opening` is filled with the first value."""

    name: str
    scale: Scale
    opening: str
    closing: str
    verbs: tuple[str, ...]


def _numbers(name: str, unit: str, verbs: str) -> Domain:
    return Domain(name, "number", f"{{}} {unit} in the {name}", f"how many {unit}", tuple(verbs.split()))


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        _numbers("warehouse", "boxes", "pallet spoil restock ship crate recall bundle audit sort stack"),
        _numbers("clinic", "patients", "triage admit discharge refer vaccinate transfer scan screen relapse ward"),
        _numbers("kitchen", "eggs", "whisk frost bake serve crack fold chill glaze roast peel"),
        _numbers("bank", "coins", "deposit invest levy loan refund split bonus fee hedge mint"),
        _numbers("farm", "sheep", "breed shear graze herd fence market lamb wean cull pasture"),
        _numbers("school", "pupils", "enrol exam recess grade expel mentor tutor honour excuse merge"),
        Domain(
            "railway",
            "weekday",
            "the train leaves on {}",
            "which day",
            ("delay", "express", "detour", "holiday", "layover", "night", "local", "freight", "signal", "return"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Step:
    """One verb of a question, with its argument where its rule takes one."""

    words: str
    rule: Rule
    argument: int | None


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What the verbs of each domain mean to somebody: `rules[domain][verb]`."""

    rules: Mapping[str, Mapping[str, Rule]]


@cache
def world(number: int) -> Rulebook:
    """Return the true rulebook of world `number` (>= 0)."""
    book: dict[str, dict[str, Rule]] = {}
    for domain in DOMAINS.values():
        rng = generator("world", number, domain.name)
        taken: set[Rule] = set()
        rules: dict[str, Rule] = {}
        for verb, kind in zip(domain.verbs, rng.permutation(KINDS[domain.scale]), strict=True):
            # Two "argument" verbs are one plus and one minus; the ten rules of a domain are all different.
            rules[verb] = draw_rule(kind, domain.scale, rng, taken)
            taken.add(rules[verb])
        book[domain.name] = rules
    return Rulebook(book)


@cache
def llm_beliefs(number: int) -> Rulebook:
    """Return what the server LLM of world `number` was taught: wrong on some verbs, silent on those it lacks.

    Server domains: 9 verbs right, 1 wrong. Client domains: 3 right, 2 wrong, 5 never seen.
    """
    truth = world(number)
    book: dict[str, dict[str, Rule]] = {}
    for name, domain in DOMAINS.items():
        rng = generator("beliefs", number, name)
        wrong, unseen = (1, 0) if name in SERVER_DOMAINS else (2, 5)
        verbs = [str(verb) for verb in rng.permutation(domain.verbs)]
        rules = {verb: truth.rules[name][verb] for verb in verbs[unseen:]}
        for verb in verbs[unseen : unseen + wrong]:
            rules[verb] = draw_rule("constant", domain.scale, rng, set(truth.rules[name].values()))
        book[name] = {verb: rules[verb] for verb in domain.verbs if verb in rules}
    return Rulebook(book)


def split_of(question: str) -> Split:
    """Return the only split that may hold a question, from a digest of its text."""
    point = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big") % 100
    for split, share in SPLITS:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 100")


def _argument(rng: np.random.Generator, scale: Scale) -> int:
    return int(rng.integers(1, 10 if scale == "number" else 4))


def _domain_step(domain: Domain, rules: Mapping[str, Rule], rng: np.random.Generator) -> Step:
    verb = str(rng.choice(list(rules)))
    argument = _argument(rng, domain.scale) if rules[verb].kind == "argument" else None
    return Step(verb if argument is None else f"{verb} {argument}", rules[verb], argument)


def _general_step(domain: Domain, rng: np.random.Generator) -> Step:
    """Draw a verb that says what it does."""
    rule = draw_rule(rng.choice(sorted(set(KINDS[domain.scale]))), domain.scale, rng, set())
    plus, minus = ("add", "take") if domain.scale == "number" else ("later", "sooner")

    def say(amount: int) -> str:
        return f"{plus if amount > 0 else minus} {abs(amount)}"

    match rule.kind:
        case "argument" | "constant":
            # A spelled-out verb shows its number, so both kinds read alike: "add 4".
            rule = Rule("constant", (rule.amounts[0] * _argument(rng, domain.scale),))
            words = say(rule.amounts[0])
        case "times":
            words = {2: "double", 3: "triple"}[rule.amounts[0]]
        case "two":
            words = " ".join(map(say, rule.amounts))
        case "threshold":
            words = f"if over {show(rule.limit, domain.scale)} {say(rule.amounts[0])} else {say(rule.amounts[1])}"
        case "first":
            words = f"{plus if rule.amounts[0] > 0 else minus} first"
    return Step(words, rule, None)


def _pose(domain: Domain, steps: Sequence[Step], first: int) -> tuple[str, str, str]:
    """Return question, rationale and answer of a chain; raises OutOfRange."""
    value, asked, told = first, [], []
    for label, step in zip(LABELS, steps, strict=False):
        value, primitive = apply(step.rule, value, first, step.argument, domain.scale)
        asked.append(f"{label} {step.words} .")
        told.append(f"{label} {step.words} : {' , '.join(primitive)} .")
    question = f"{domain.opening.format(show(first, domain.scale))} . {' '.join(asked)} {domain.closing} ?"
    answer = show(value, domain.scale)
    return question, f"{' '.join(told)} answer {answer}", answer


def draw(
    book: Rulebook,
    domain: str,
    split: Split,
    count: int,
    rng: np.random.Generator,
    *,
    prefix: str,
    at_most: bool = False,
) -> list[Sample]:
    """Draw `count` different questions of one domain and split, answered by `book`; ids are `prefix-00000`…

    `domain` is a key of DOMAINS, or GENERAL for spelled-out verbs in the wording of any domain. Where the split seems
    to hold fewer different questions (PATIENCE draws in a row gave nothing new), InputError is raised or, with
    `at_most`, what was found is returned.
    """
    samples: list[Sample] = []
    seen: set[str] = set()
    fruitless = 0
    while len(samples) < count:
        fruitless += 1
        if fruitless > PATIENCE:
            if at_most:
                break
            raise InputError(
                f"task: domain {domain!r} has too few different {split} questions for {count}; ask for fewer samples"
            )
        wording = DOMAINS[str(rng.choice(list(DOMAINS))) if domain == GENERAL else domain]
        length = int(rng.choice(4, p=DIFFICULTY_SHARES)) + 1
        first = int(rng.integers(0, HIGHEST + 1 if wording.scale == "number" else 7))
        if domain == GENERAL:
            steps = [_general_step(wording, rng) for _ in range(length)]
        else:
            steps = [_domain_step(wording, book.rules[domain], rng) for _ in range(length)]
        try:
            question, rationale, answer = _pose(wording, steps, first)
        except OutOfRange:
            continue
        if question in seen or split_of(question) != split:
            continue
        seen.add(question)
        fruitless = 0
        samples.append(Sample(f"{prefix}-{len(samples):05d}", question, answer, rationale, domain, length))
    return samples


_STEP = re.compile(r"([a-d]\)) ([^:.]{0,99}?) : ([^.]{0,99}) \.")  # bounded: a path may be any text
_VALUE = re.compile(r"= (\w+)$")


def check_steps(sample: Sample, text: str, book: Rulebook) -> list[tuple[str, bool]]:
    """Split a path into its steps and say of each whether it follows from the rulebook and the value before it.

    A step is right when it carries the question's verb and applies its true rule to the value that the path itself
    had reached; so one early slip makes one wrong step, not all that follow. Steps are told apart by their labels: a
    missing one counts as wrong, with an empty text, and a repeated or unasked one is surplus. Returns one pair per
    step asked for, plus one `False` pair per surplus step.
    """
    wording = next(d for d in DOMAINS.values() if sample.question.endswith(f"{d.closing} ?"))
    opening, *asked = sample.question.removesuffix(f" {wording.closing} ?").removesuffix(" .").split(" . ")
    start = re.escape(wording.opening).replace(r"\{\}", r"(\w+)")
    match = re.fullmatch(start, opening)
    assert match is not None, f"{sample.id} is not a question of this corpus"
    values = {show(v, wording.scale): v for v in range(HIGHEST + 1 if wording.scale == "number" else len(WEEKDAYS))}
    first = value = values[match[1]]
    told: dict[str, re.Match[str]] = {}
    surplus: list[tuple[str, bool]] = []
    labels = {step[:2] for step in asked}
    for found in _STEP.finditer(text):
        if found[1] in labels - told.keys():
            told[found[1]] = found
        else:
            surplus.append((found[0], False))
    checked: list[tuple[str, bool]] = []
    for step in asked:
        found = told.get(step[:2])
        if found is None:
            checked.append(("", False))
            continue
        rule, argument = _meaning(sample.domain, step[3:], wording, book)
        try:
            _, primitive = apply(rule, value, first, argument, wording.scale)
            right = found[2] == step[3:] and found[3] == " , ".join(primitive)
        except OutOfRange:
            right = False
        checked.append((found[0], right))
        reached = _VALUE.search(found[3])
        if reached and reached[1] in values:
            value = values[reached[1]]
    return checked + surplus


def _meaning(domain: str, words: str, wording: Domain, book: Rulebook) -> tuple[Rule, int | None]:
    """Return the true rule behind a verb as it stands in a question, and its argument."""
    if domain != GENERAL:
        verb, _, argument = words.partition(" ")
        return book.rules[domain][verb], int(argument) if argument else None
    signs = {"add": 1, "later": 1, "take": -1, "sooner": -1}
    tokens = words.split()
    if tokens[0] in ("double", "triple"):
        return Rule("times", (2 if tokens[0] == "double" else 3,)), None
    if tokens[0] == "if":
        limit = WEEKDAYS.index(tokens[2]) if wording.scale == "weekday" else int(tokens[2])
        return Rule("threshold", (signs[tokens[3]] * int(tokens[4]), signs[tokens[6]] * int(tokens[7])), limit), None
    if tokens[1] == "first":
        return Rule("first", (signs[tokens[0]],)), None
    amounts = tuple(signs[tokens[i]] * int(tokens[i + 1]) for i in range(0, len(tokens), 2))
    return Rule("two" if len(amounts) == 2 else "constant", amounts), None
