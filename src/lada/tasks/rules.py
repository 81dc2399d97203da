"""The verbs of the built-in corpus: a rule turns a value into primitive steps that anyone can check.

Numbers live in 0..20; weekdays count monday = 0 .. sunday = 6 and wrap around. A rule that would leave 0..20
raises OutOfRange, and the question is drawn again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import numpy as np

from lada.core.seeds import one_of
from lada.tasks.generated import OutOfRange

HIGHEST = 20
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Scale = Literal["number", "weekday"]
RuleKind = Literal["argument", "constant", "times", "two", "threshold", "first"]

KINDS: dict[Scale, tuple[RuleKind, ...]] = {
    "number": (*repeat("argument", 2), *repeat("constant", 4), "times", "two", "threshold", "first"),
    "weekday": (*repeat("argument", 2), *repeat("constant", 5), *repeat("two", 2), "threshold"),
}
"""Rule kinds of a domain's ten verbs, by the scale of its values."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One verb's meaning. `amounts` are signed; `kind` determines which of them count.

    argument: value ± the number in the question (sign of amounts[0]); constant: + amounts[0]; times: × amounts[0];
    two: + amounts[0] then + amounts[1]; threshold: + amounts[0] if the value is over `limit`, else + amounts[1];
    first: ± the first value of the question (sign of amounts[0]).
    """

    kind: RuleKind
    amounts: tuple[int, ...]
    limit: int = 0


def show(value: int, scale: Scale) -> str:
    """Write a value as in a question: `7` or `monday`."""
    return str(value) if scale == "number" else WEEKDAYS[value]


def _add(value: int, amount: int, scale: Scale) -> tuple[int, str]:
    result = value + amount
    if scale == "weekday":
        result %= 7
    elif not 0 <= result <= HIGHEST:
        raise OutOfRange
    return result, f"{show(value, scale)} {'+' if amount >= 0 else '-'} {abs(amount)} = {show(result, scale)}"


def apply(rule: Rule, value: int, first: int, argument: int | None, scale: Scale) -> tuple[int, list[str]]:
    """Return the value after `rule` and its primitive steps, such as `(7, ["5 + 2 = 7"])`."""
    if rule.kind == "times":
        result = value * rule.amounts[0]
        if result > HIGHEST:
            raise OutOfRange
        return result, [f"{value} * {rule.amounts[0]} = {result}"]
    steps: list[str] = []
    if rule.kind == "argument":
        assert argument is not None
        amounts = [rule.amounts[0] * argument]
    elif rule.kind == "first":
        amounts = [rule.amounts[0] * first]
    elif rule.kind == "threshold":
        over = value > rule.limit
        steps.append(f"{show(value, scale)} {'over' if over else 'within'} {show(rule.limit, scale)}")
        amounts = [rule.amounts[0] if over else rule.amounts[1]]
    else:
        amounts = list(rule.amounts)
    for amount in amounts:
        value, step = _add(value, amount, scale)
        steps.append(step)
    return value, steps


def draw_rule(kind: RuleKind, scale: Scale, rng: np.random.Generator, taken: set[Rule]) -> Rule:
    """Draw a rule of a kind that is not in `taken`."""
    most = 9 if scale == "number" else 3

    def amount() -> int:
        return int(rng.integers(1, most + 1)) * one_of(rng, (-1, 1))

    draws: dict[RuleKind, Callable[[], Rule]] = {
        "argument": lambda: Rule(kind, (one_of(rng, (-1, 1)),)),
        "first": lambda: Rule(kind, (one_of(rng, (-1, 1)),)),
        "constant": lambda: Rule(kind, (amount(),)),
        "times": lambda: Rule(kind, (int(rng.integers(2, 4)),)),
        "two": lambda: Rule(kind, (abs(amount()), -abs(amount()))),
        "threshold": lambda: Rule(
            kind,
            (-abs(amount()), abs(amount())),
            int(rng.integers(5, 15)) if scale == "number" else int(rng.integers(1, 6)),
        ),
    }
    while True:
        rule = draws[kind]()
        if rule not in taken:
            return rule
