"""The verbs of the corpus *lineups*: a rule turns a line of four things into primitive moves that anyone can check.

The moves: `swap 1 3` two places; `left`, the first thing goes to the end; `right`, the last one to the front;
`reverse`; `lead tug` and `trail tug`, one thing goes to the front or to the end and the others keep their order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, repeat
from typing import Literal

import numpy as np

from lada.core.seeds import one_of

Line = tuple[str, ...]
PLACES = 4
RuleKind = Literal["argument", "swap", "turn", "two", "first", "opener"]
KINDS: tuple[RuleKind, ...] = (*repeat("argument", 2), *repeat("swap", 3), *repeat("turn", 2), "two", "first", "opener")
"""Rule kinds of a domain's ten verbs."""
SWAPS = tuple(f"swap {one} {other}" for one, other in combinations(range(1, PLACES + 1), 2))
TURNS = ("left", "right", "reverse")
ENDS = ("lead", "trail")


@dataclass(frozen=True, slots=True)
class Rule:
    """One verb's meaning; `kind` determines how `moves` are used.

    swap and turn: the one move; two: both, one after the other; argument: the thing named in the question leads or
    trails; opener: the thing that was first in the question leads or trails; first: moves[0] if `thing` stands first,
    else moves[1].
    """

    kind: RuleKind
    moves: tuple[str, ...]
    thing: str = ""


def move(line: Line, words: str) -> Line:
    """Return the line after one primitive move."""
    match words.split():
        case ["swap", one, other]:
            things = list(line)
            i, j = int(one) - 1, int(other) - 1
            things[i], things[j] = things[j], things[i]
            return tuple(things)
        case ["left"]:
            return (*line[1:], line[0])
        case ["right"]:
            return (line[-1], *line[:-1])
        case ["reverse"]:
            return line[::-1]
        case ["lead", thing]:
            return (thing, *(other for other in line if other != thing))
        case ["trail", thing]:
            return (*(other for other in line if other != thing), thing)
    raise ValueError(f"{words!r} is no move")


def apply(rule: Rule, line: Line, first: Line, argument: str | None) -> tuple[Line, list[str]]:
    """Return the line after `rule` and its primitive steps, such as `["swap 1 2 = b a c d"]`; `first` is the question's
    line."""
    steps: list[str] = []
    moves = rule.moves
    if rule.kind == "argument":
        assert argument is not None
        moves = (f"{moves[0]} {argument}",)
    elif rule.kind == "opener":
        moves = (f"{moves[0]} {first[0]}",)
    elif rule.kind == "first":
        leads = line[0] == rule.thing
        steps.append(f"{rule.thing} {'first' if leads else 'behind'}")
        moves = (moves[0] if leads else moves[1],)
    for words in moves:
        line = move(line, words)
        steps.append(f"{words} = {' '.join(line)}")
    return line, steps


def draw_rule(kind: RuleKind, things: Line, rng: np.random.Generator, taken: set[Rule]) -> Rule:
    """Draw a rule of a kind that is not in `taken`; `things` are those of the domain."""

    def first() -> Rule:
        return Rule(kind, tuple(map(str, rng.choice(SWAPS + TURNS, 2, replace=False))), one_of(rng, things))

    draws: dict[RuleKind, Callable[[], Rule]] = {
        "argument": lambda: Rule(kind, (one_of(rng, ENDS),)),
        "swap": lambda: Rule(kind, (one_of(rng, SWAPS),)),
        "turn": lambda: Rule(kind, (one_of(rng, TURNS),)),
        "two": lambda: Rule(kind, (one_of(rng, SWAPS), one_of(rng, TURNS))),
        "first": first,
        "opener": lambda: Rule(kind, (one_of(rng, ENDS),)),
    }
    while True:
        rule = draws[kind]()
        if rule not in taken:
            return rule
