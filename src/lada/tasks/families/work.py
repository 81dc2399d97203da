"""Solves a question of each family step by step, from its generator's metadata.

Each function takes the metadata of one question and returns its steps, each short and checkable, such as `36 = 24 * 1 +
12`. The answer itself comes from the generator. Raises ValueError if a step exceeds what small models can write.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from math import gcd, lcm
from typing import Any

LARGEST = 255
"""The largest number that a step may state, and the negative of the least."""
LONGEST = 14
"""Steps of the longest rationale."""

Metadata = Mapping[str, Any]
Work = Callable[[Metadata], list[str]]

_SIGNS: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
}


def checked(work: Work, metadata: Metadata) -> list[str] | None:
    """Return the steps of a question; None if they are too many or a number is too large."""
    try:
        steps = work(metadata)
    except ValueError:
        return None
    return steps if len(steps) <= LONGEST else None


def expression(metadata: Metadata) -> list[str]:
    """Evaluate an expression, one operation at a time: `3 * 6 = 18`, `5 - 18 = -13`."""
    steps: list[str] = []
    _value(ast.parse(metadata["expression"], mode="eval").body, steps)
    return steps


def greatest_divisor(metadata: Metadata) -> list[str]:
    """Divide by the remainder until none is left: `36 = 24 * 1 + 12`, `24 = 12 * 2 + 0`."""
    steps: list[str] = []
    reduce(lambda a, b: _euclid(a, b, steps), metadata["numbers"])
    return steps


def least_multiple(metadata: Metadata) -> list[str]:
    """Try the multiples of the larger number: `9 = 6 * 1 + 3`, `18 = 6 * 3 + 0`; a third number continues from
    there."""
    steps: list[str] = []

    def common(a: int, b: int) -> int:
        larger, smaller = max(a, b), min(a, b)
        steps.extend(_divided(multiple, smaller) for multiple in range(larger, lcm(a, b) + 1, larger))
        return lcm(a, b)

    reduce(common, metadata["numbers"])
    return steps


def ones(metadata: Metadata) -> list[str]:
    """Halve a number and count the odd ones: `6 = 2 * 3 + 0 : 0`, `3 = 2 * 1 + 1 : 1`, `1 = 2 * 0 + 1 : 2`."""
    number, count, steps = metadata["number"], 0, list[str]()
    while number:
        count += number % 2
        steps.append(f"{_divided(number, 2)} : {count}")
        number //= 2
    return steps


def legs(metadata: Metadata) -> list[str]:
    """Multiply each animal's legs by how many there are, and add up: `tiger : 3 * 4 = 12`."""
    steps, parts = list[str](), list[int]()
    for animal, count in metadata["animals"].items():
        parts.append(count * metadata["legs"][animal])
        steps.append(f"{animal} : {count} * {metadata['legs'][animal]} = {_within(parts[-1])}")
    reduce(lambda a, b: _step(a, "+", b, a + b, steps), parts)
    return steps


def primes(metadata: Metadata) -> list[str]:
    """List the primes with their number: `11 : 1`, `13 : 2`."""
    return [f"{prime} : {count}" for count, prime in enumerate(metadata["primes"], 1)] or ["none : 0"]


def factors(metadata: Metadata) -> list[str]:
    """Divide by the least prime factor: `12 = 2 * 6 + 0`, `6 = 2 * 3 + 0`, `3 = 3 * 1 + 0`."""
    number, steps = metadata["number"], list[str]()
    for factor in metadata["factors"]:
        steps.append(_divided(number, factor))
        number //= factor
    return steps


def filtered(metadata: Metadata) -> list[str]:
    """Compare each number and say whether it stays: `34 < 35 : yes`, `46 > 35 : no`."""
    limit, kept = metadata["filter_value"], metadata["result"]
    if not kept:
        raise ValueError("nothing remains, and an empty answer cannot be read")
    steps: list[str] = []
    for number in metadata["original_numbers"]:
        sign = "<" if float(number) < float(limit) else ">" if float(number) > float(limit) else "="
        steps.append(f"{number} {sign} {limit} : {'yes' if number in kept else 'no'}")
    return steps


def simplified(metadata: Metadata) -> list[str]:
    """Find the greatest common divisor and divide by it."""
    above, below = metadata["numerator"], metadata["denominator"]
    steps: list[str] = []
    common = _euclid(above, below, steps)
    return [*steps, _divided(above, common), _divided(below, common)]


def _value(node: ast.expr, steps: list[str]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, steps)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            sign, apply = _SIGNS[type(op)]
            one, other = _value(left, steps), _value(right, steps)
            return _step(one, sign, other, apply(one, other), steps)
    raise ValueError(f"{ast.unparse(node)} is not worked out here")


def _step(one: int, sign: str, other: int, result: int, steps: list[str]) -> int:
    steps.append(f"{one} {sign} {other} = {_within(result)}")
    return result


def _euclid(a: int, b: int, steps: list[str]) -> int:
    larger, smaller = max(a, b), min(a, b)
    while smaller:
        steps.append(_divided(larger, smaller))
        larger, smaller = smaller, larger % smaller
    return gcd(a, b)


def _divided(number: int, by: int) -> str:
    return f"{_within(number)} = {by} * {number // by} + {number % by}"


def _within(number: int) -> int:
    if abs(number) > LARGEST:
        raise ValueError(f"{number} is too large")
    return number
