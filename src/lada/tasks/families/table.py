"""The available families: their generator's options by level, and how their questions are solved and chained."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lada.tasks.families import work
from lada.tasks.families.work import Metadata, Work

Levels = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One generator of reasoning-gym. `levels` are its options, the easiest first; no two make the same questions.

    `operand` returns the number in the question, as written, that another family's answer may replace; None if there is
    no such number. `number` tells whether the answers are numbers, which can replace an operand.
    """

    name: str
    work: Work
    levels: Levels
    operand: Callable[[Metadata], str] | None = None
    number: bool = True


def _expressions(operators: tuple[str, ...]) -> Levels:
    signs = {"operators": operators, "allow_negation": False}
    return tuple(
        {"min_terms": terms, "max_terms": terms, "min_digits": 1, "max_digits": 1, **signs} for terms in (2, 3, 4)
    )


def _first_number(told: Metadata) -> str:
    return re.findall(r"\d+", told["expression"])[0]


def _between(low: str, high: str, *bounds: tuple[int, int], **options: Any) -> Levels:
    return tuple({low: least, high: most, **options} for least, most in bounds)


def _sums(*terms: int) -> Levels:
    return tuple({"min_terms": count, "max_terms": count, "min_digits": 1, "max_digits": 1} for count in terms)


SKILLS: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("chain_sum", work.expression, _sums(2, 3, 4)),
        Family(
            "products",
            work.expression,
            tuple({"min_terms": terms, "max_terms": terms, "min_digits": 1, "max_digits": 1} for terms in (2, 3)),
        ),
    )
}
"""Skills that every shipped model has."""

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("basic_arithmetic", work.expression, _expressions(("+", "-", "*")), _first_number),
        Family(
            "count_bits",
            work.ones,
            _between("min_n", "max_n", (1, 63), (64, 127), (128, 255)),
            lambda told: str(told["number"]),
        ),
        Family(
            "count_primes",
            work.primes,
            _between("min_n", "max_n", (1, 30), (31, 50), (51, 70)),
            lambda told: str(told["start"]),
        ),
        Family(
            "fraction_simplification",
            work.simplified,
            tuple(
                {"min_value": 1, "max_value": 10, "min_factor": low, "max_factor": high, "styles": ("plain",)}
                for low, high in ((1, 2), (3, 4), (5, 6))
            ),
            lambda told: str(told["numerator"]),
            number=False,
        ),
        Family(
            "gcd",
            work.greatest_divisor,
            (
                {"min_value": 2, "max_value": 30},
                {"min_value": 31, "max_value": 50},
                {"min_value": 2, "max_value": 30, "min_numbers": 3, "max_numbers": 3},
            ),
            lambda told: str(told["numbers"][0]),
        ),
        Family(
            "lcm",
            work.least_multiple,
            (
                {"min_value": 2, "max_value": 10},
                {"min_value": 11, "max_value": 20},
                {"min_value": 2, "max_value": 10, "min_numbers": 3, "max_numbers": 3},
            ),
            lambda told: str(told["numbers"][0]),
        ),
        Family(
            "leg_counting",
            work.legs,
            tuple({"min_animals": count, "max_animals": count, "max_instances": 4} for count in (1, 2, 3)),
            lambda told: str(next(iter(told["animals"].values()))),
        ),
        Family(
            "number_filtering",
            work.filtered,
            tuple(
                {"min_numbers": low, "max_numbers": high, "max_decimals": 0, "min_value": 0, "max_value": 60}
                for low, high in ((2, 3), (4, 5), (6, 7))
            ),
            lambda told: told["filter_value"],
            number=False,
        ),
        Family(
            "prime_factorization",
            work.factors,
            _between("min_value", "max_value", (2, 60), (61, 120), (121, 255)),
            lambda told: str(told["number"]),
            number=False,
        ),
    )
}
"""Families that belong to a client or to the server."""

EVERY: Mapping[str, Family] = {**SKILLS, **FAMILIES}
