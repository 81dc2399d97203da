"""The styles of right paths of a built-in corpus: which verbs show their computation, and which only their value.

    spelled_out      a) pallet : 7 + 4 = 11 . b) triage : 11 + 6 = 17 , 17 - 2 = 15 . c) spoil 6 : 15 - 6 = 9 .
    skips_warehouse  a) pallet : 11 . b) triage : 11 + 6 = 17 , 17 - 2 = 15 . c) spoil 6 : 9 .
    leaps            a) pallet b) triage : 15 . c) spoil 6 : 9 .
    joined           a) pallet b) spoil 6 : 7 + 4 - 6 = 5 .

Every stated value is right. The styles differ in who can learn from them. Benchmarks recognise the style of a path by
its text; no method knows it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

SPELLED_OUT, LEAPS, JOINED, OTHER = "spelled_out", "leaps", "joined", "other"
SKIPS = "skips_"
LEAP = 2
"""How many verbs a leaping path combines; the last group may be smaller."""

Join = Callable[[str, str], str | None]
"""`join(one, next)` returns two primitive steps as one expression; None if they cannot be joined."""


@dataclass(frozen=True, slots=True)
class Told:
    """One verb of a chain, carried out."""

    words: str
    """The verb with its label and argument, such as `a) pallet`."""
    domain: str
    """The verb's domain."""
    primitives: tuple[str, ...]
    """Its computation, such as `7 + 4 = 11`."""
    value: str
    """What it reaches."""


def skips(domain: str) -> str:
    """Return the name of the style that omits the computation of a domain's verbs."""
    return f"{SKIPS}{domain}"


def styles(domains: Sequence[str]) -> tuple[str, ...]:
    """Return the styles in which a chain of verbs of these domains can be written, in the order in which they are read.

    If two of them give the same text, the first one is its style. Without a verb of its domain, a path skips nothing;
    without two plain steps in a row, it joins none; so both are spelled out. A single skipped verb is not a leap.
    """
    return (SPELLED_OUT, *map(skips, domains), JOINED, LEAPS)


def write(chain: Sequence[Told], style: str, join: Join) -> str:
    """Write a chain of verbs in a style. Raises ValueError for an unknown style."""
    return " ".join(
        f"{' '.join(told.words for told in group)} : {body} ." for group, body in _parts(chain, style, join)
    )


def bodies(group: Sequence[Told], join: Join) -> Iterator[str]:
    """Yield the possible texts of combined verbs: their value, their computation, or their computation as one
    expression."""
    yield group[-1].value
    if len(group) == 1:
        yield _computed(group[0])
    elif joined := _joined(group, join):
        yield joined


def _parts(chain: Sequence[Told], style: str, join: Join) -> Iterator[tuple[Sequence[Told], str]]:
    """Yield groups of verbs that are combined, each with its text."""
    if style == LEAPS:
        for start in range(0, len(chain), LEAP):
            group = chain[start : start + LEAP]
            yield group, group[-1].value
    elif style == JOINED:
        start = 0
        while start < len(chain):
            pair = chain[start : start + 2]
            joined = _joined(pair, join)
            yield (pair, joined) if joined else (pair[:1], _computed(pair[0]))
            start += 2 if joined else 1
    elif style == SPELLED_OUT or style.startswith(SKIPS):
        for told in chain:
            yield [told], told.value if style == skips(told.domain) else _computed(told)
    else:
        raise ValueError(f"{style!r} is no style; expected {SPELLED_OUT}, {SKIPS}DOMAIN, {LEAPS} or {JOINED}")


def _computed(told: Told) -> str:
    return " , ".join(told.primitives)


def _joined(group: Sequence[Told], join: Join) -> str | None:
    """Return verbs as one expression; None if they are not two plain ones."""
    if [len(told.primitives) for told in group] == [1, 1]:
        return join(group[0].primitives[0], group[1].primitives[0])
    return None
