"""Randomness has an address: every generator is seeded from its purpose, never from what ran before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


def seed_of(*address: str | int) -> int:
    """Return a 63-bit seed for an address such as `(run_seed, round, phase, party, purpose)`.

    Equal addresses give equal seeds on every platform; addresses that differ in any part, its type or its
    position give unrelated ones.
    """
    digest = hashlib.sha256(repr(address).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*address: str | int) -> np.random.Generator:
    """Return a NumPy generator for an address (see `seed_of`)."""
    import numpy as np  # here, since a command that draws nothing does not need it

    return np.random.default_rng(seed_of(*address))


def next_draw(state: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.random.Generator]:
    """Return the `seed` that a method keeps in its state for its next draw, and the generator of this draw.

    The first `seed` of a state is that of the method's `init`. So draws differ from call to call, and a method that
    resumes with a kept state draws the same as one that was never interrupted.
    """
    import numpy as np  # here, as above

    seed = int(state["seed"])
    return {"seed": np.array(seed_of(seed, "next"))}, generator(seed, "draw")


def one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Return the option that `rng.choice(options)` would return, unchanged and without an array of all options.

    Raises ValueError without options.
    """
    return options[int(rng.integers(len(options)))]


def by_chance(rng: np.random.Generator, chances: Mapping[T, float]) -> T:
    """Return the key that `rng.choice(list(chances), p=list(chances.values()))` would return, in a fraction of its
    time.

    There must be at least one chance; none may be negative, and they must add up to about 1.
    """
    reached = list(accumulate(chances.values()))
    point = rng.random()
    return next(key for key, end in zip(chances, reached, strict=True) if point < end / reached[-1])
