"""A curious server tries to recover a single client's update from all that it sees of secure aggregation.

It keeps to the protocol and keeps every message, also what a client sends too late to be counted. From these it puts
together all seeds that the clients' shares give, takes every combination of masks it knows off a client's numbers, and
looks whether what is left resembles the client's update, or repeats in another round. An attempt succeeds at a
correlation of 0.1, five and more standard deviations above that of noise, or where numbers repeat.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
import numpy as np
from actors import Direct, Federation, federation

from lada.codecs import masked, named
from lada.privacy import masks
from lada.rounds.base import Payload
from lada.rounds.secure import KEYS, MASKED, OPENED

NAMES = "abcdefghij"
SIZE = 5000
RESEMBLES = 0.1
PARTS = 4
"""The most masks of one client, known to the server, that are removed in every combination; then all are."""


class Curious(Direct):
    """An exchange that hears everything, and counts `gone` as silent in its phase and for the rest of the round."""

    gone: Mapping[str, str]

    def answer(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> dict[str, Payload]:
        """Hand on all replies but those of clients that are gone; all of them are in `sent`."""
        replies = super().answer(phase, round, payloads)
        return {name: reply for name, reply in replies.items() if self.gone.get(name) != phase}


def federated(folder: Path, clients: int, gone: Mapping[str, str]) -> tuple[Federation, dict[str, np.ndarray]]:
    """Return a federation on secure aggregation, and each client's adapter after its study."""
    knows: dict[str, set[int]] = {"llm": set(), **{name: set() for name in NAMES[:clients]}}
    options = {"secure_aggregation": True, "malicious": 0, "clip": None, "update_norm": 1e6}
    both = federation(folder, "fedavg", knows, options)
    exchange: Any = Curious(both.host, both.server, list(both.clients.values()))
    exchange.gone = gone
    both.exchange = exchange
    rng = np.random.default_rng(clients)
    updates = {}
    for name, party in both.clients.items():
        learner: Any = party.learner
        updates[name] = rng.normal(size=SIZE).astype(np.float32)
        learner.weights = np.zeros(SIZE, np.float32)
        learner.study = _studying(learner, updates[name])
    return both, updates


def _studying(learner: Any, weights: np.ndarray) -> Any:
    study = learner.study

    def studying(*args: Any, **options: Any) -> Any:
        learner.weights = weights
        return study(*args, **options)

    return studying


def known_masks(both: Federation, round: int, client: str, clients: int) -> list[np.ndarray]:
    """Return the masks on a client's numbers that the server can compute from what was opened to it."""
    received = [m for m in both.exchange.sent if m.round == round and m.sender != "llm"]
    keys: dict[str, bytes] = {}
    for message in received:
        if KEYS in message.payload:
            keys |= named.decode(message.payload[KEYS], KEYS, 2 * named.SECRET)
    opened: dict[str, list[bytes]] = {}
    for message in received:
        if OPENED in message.payload:
            for of, share in named.decode(message.payload[OPENED], OPENED, named.SHARE).items():
                opened.setdefault(of, []).append(share)
    found = []
    for of, shares in opened.items():
        if len(shares) < masks.threshold(clients):
            continue
        secret = masks.join(shares[: masks.threshold(clients)])
        if masks.public_key(secret) == keys[of][named.SECRET :]:
            partners = [other for other in keys if other != of] if of == client else [of]
            for other in partners:
                public = keys[other if of == client else client][named.SECRET :]
                seed = masks.mask_seed(secret, public, round)
                found.append(masks.pair_mask(client, other, seed, SIZE + 1))
        elif of == client:
            found.append(masks.mask(secret, SIZE + 1))
    return found


def guesses(numbers: np.ndarray, known: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield a client's numbers with the masks taken off in every combination of a few, and all of them."""
    sets = [each for count in range(min(len(known), PARTS) + 1) for each in combinations(known[:PARTS], count)]
    for taken in [*sets, tuple(known)]:
        rest = numbers.copy()
        for each in taken:
            rest -= each
        yield rest[:-1].view(np.int64).astype(np.float64)


def resemble(guess: np.ndarray, update: np.ndarray) -> bool:
    """Return whether a guess tells of the update."""
    return abs(float(np.corrcoef(guess, update)[0, 1])) > RESEMBLES


def look(both: Federation, updates: Mapping[str, np.ndarray]) -> Iterator[bool]:
    """Yield whether each attempt on what the server saw succeeds."""
    seen: dict[str, list[np.ndarray]] = {}
    for message in both.exchange.sent:
        if MASKED not in message.payload:
            continue
        numbers, _ = masked.decode(message.payload[MASKED])
        known = known_masks(both, message.round, message.sender, len(updates))
        yield from (resemble(guess, updates[message.sender]) for guess in guesses(numbers, known))
        seen.setdefault(message.sender, []).append(numbers)
    for client, (one, other) in ((client, each) for client, each in seen.items() if len(each) == 2):
        difference = (one - other)[:-1].view(np.int64).astype(np.float64)
        yield bool((one == other).any()) or resemble(difference, updates[client])


def attack() -> harness.Count:
    """Look at every client of three and of ten, with everybody there and after one fell silent in each phase."""
    tried = succeeded = 0
    for clients in (3, 10):
        for phase in (None, "share", "mask", "unmask"):
            with TemporaryDirectory() as folder:
                both, updates = federated(Path(folder), clients, {} if phase is None else {"b": phase})
                both.run(1, 2)
            outcomes = list(look(both, updates))
            tried, succeeded = tried + len(outcomes), succeeded + sum(outcomes)
    return harness.Count(tried, succeeded, "What the server sees of one client is noise, also after a drop-out.")


if __name__ == "__main__":
    harness.main(attack)
