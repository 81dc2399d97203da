"""Randomness has an address: every generator is seeded from what it is for, never from what ran before it."""

import hashlib

import numpy as np


def seed_of(*address: str | int) -> int:
    """Return a 63-bit seed for an address such as `(run_seed, round, phase, party, purpose)`.

    Equal addresses give equal seeds on every platform; addresses that differ in any part, its type or its
    position give unrelated ones.
    """
    digest = hashlib.sha256(repr(address).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*address: str | int) -> np.random.Generator:
    """Return a NumPy generator for an address (see `seed_of`)."""
    return np.random.default_rng(seed_of(*address))
