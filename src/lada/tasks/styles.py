"""How a right path of a built-in corpus is written: which verbs show their computation, and which their value alone.

    spelled_out      a) pallet : 7 + 4 = 11 . b) triage : 11 + 6 = 17 , 17 - 2 = 15 . c) spoil 6 : 15 - 6 = 9 .
    skips_warehouse  a) pallet : 11 . b) triage : 11 + 6 = 17 , 17 - 2 = 15 . c) spoil 6 : 9 .
    leaps            a) pallet b) triage : 15 . c) spoil 6 : 9 .
    joined           a) pallet b) spoil 6 : 7 + 4 - 6 = 5 .

Every value that these state is right. What differs is who can learn from them. The style of a path is known to
benchmarks, by its text; no method is told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

SPELLED_OUT, LEAPS, JOINED, OTHER = "spelled_out", "leaps", "joined", "other"
SKIPS = "skips_"
LEAP = 2
"""Verbs that a leaping path takes at once; what is left over at the end is fewer."""

Join = Callable[[str, str], str | None]
"""`join(one, next)`: two primitive steps as one expression; None where they cannot be one."""


@dataclass(frozen=True, slots=True)
class Told:
    """One verb of a chain, carried out."""

    words: str
    """The verb with its label and argument, such as `a) pallet`."""
    domain: str
    """Whose verb it is."""
    primitives: tuple[str, ...]
    """Its computation, such as `7 + 4 = 11`."""
    value: str
    """What it reaches."""


def skips(domain: str) -> str:
    """Return the name of the style that leaves out the computation of a domain's verbs."""
    return f"{SKIPS}{domain}"


def styles(domains: Sequence[str]) -> tuple[str, ...]:
    """Return the styles in which a chain of verbs of these domains can be written, in the order in which they are read.

    Where two of them give the same text, the first one is its style: without a verb of its domain a path skips
    nothing, and without two plain steps in a row it joins none, so both are spelled out; one verb alone that is
    skipped is no leap.
    """
    return (SPELLED_OUT, *map(skips, domains), JOINED, LEAPS)


def write(chain: Sequence[Told], style: str, join: Join) -> str:
    """Write a chain of verbs in a style. ValueError for a style that there is none of."""
    return " ".join(
        f"{' '.join(told.words for told in group)} : {body} ." for group, body in _parts(chain, style, join)
    )


def bodies(group: Sequence[Told], join: Join) -> Iterator[str]:
    """Yield what may stand for verbs that are told at once: their value, their computation, or one expression of it."""
    yield group[-1].value
    if len(group) == 1:
        yield _computed(group[0])
    elif joined := _joined(group, join):
        yield joined


def _parts(chain: Sequence[Told], style: str, join: Join) -> Iterator[tuple[Sequence[Told], str]]:
    """Yield which verbs are told at once, and what is said of them."""
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
    """Return verbs as one expression; None where they are not two plain ones."""
    if [len(told.primitives) for told in group] == [1, 1]:
        return join(group[0].primitives[0], group[1].primitives[0])
    return None
