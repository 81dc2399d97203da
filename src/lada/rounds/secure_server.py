"""The server's half of secure aggregation; see lada.rounds.secure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from lada.codecs import named
from lada.codecs.adapters import Adapter
from lada.codecs.masked import Masked
from lada.core.plural import counted, plural
from lada.core.results import Missing
from lada.privacy import masks
from lada.rounds.averaging import ADAPTER, MOST_SAMPLES, odd_ones
from lada.rounds.base import Exchange, Payload
from lada.rounds.party import Party
from lada.rounds.secure import KEYS, MASKED, OPENED, SHARES, SURVIVORS
from lada.rounds.wire import part, write

T = TypeVar("T")


class _GivenUpError(Exception):
    """A round has no average; `clients` stayed to the end."""

    def __init__(self, why: str, clients: Iterable[str]) -> None:
        super().__init__(why)
        self.clients = sorted(clients)


def average_masked(
    party: Party, exchange: Exchange, round: int, replies: Mapping[str, Payload]
) -> tuple[bytes | None, list[str]]:
    """Return the average of the adapters behind the keys in `replies`, and the clients that continue with it.

    These are the clients that stayed to the end. If too few remain in a phase or the masks do not cancel, the newest
    average (or None) takes its place, and a notice says why. Raises FederationError if no adapter fits, or no outline
    has a majority.
    """
    try:
        return _average(party, exchange, round, replies)
    except _GivenUpError as given_up:
        why = f"round {round}: secure aggregation: {given_up}; no client gets a new adapter in this round"
        party.note(notices=(why,))
        return party.memory.get(ADAPTER), given_up.clients


def _average(party: Party, exchange: Exchange, round: int, replies: Mapping[str, Payload]) -> tuple[bytes, list[str]]:
    keys = _keys(party, round, replies)
    least = masks.threshold(len(keys))
    _expect(keys, least)
    sealed = _sealed(party, exchange, round, keys)
    _expect(sealed, least)
    received = _masked(party, exchange, round, sealed)
    _expect(received, least)
    there = {SURVIVORS: write(party, SURVIVORS, dict.fromkeys(received, b""))}
    answers = exchange.ask("unmask", round, dict.fromkeys(received, there)).wait()
    opened = {client: part(party, answers[client], OPENED) for client in sorted(answers)}
    _expect(opened, least)
    total = _sum(numbers for numbers, _ in received.values())
    try:
        for client in sorted(sealed):
            secret = _secret(client, opened, sorted(keys), least)
            if client in received:
                total -= masks.mask(secret, len(total))
            else:
                total -= _common(client, secret, round, keys, sorted(received), len(total))
        weights, samples = masks.from_ring(total, next(iter(received.values()))[1], len(received))
    except ValueError as error:
        raise _GivenUpError(f"the masks do not cancel ({error}), so a client broke the protocol", opened) from None
    return write(party, ADAPTER, Adapter(weights, min(samples, MOST_SAMPLES))), list(opened)


def _keys(party: Party, round: int, replies: Mapping[str, Payload]) -> dict[str, bytes]:
    """Return the keys of each client. Keys that two clients share are dropped, since every client refuses them."""
    keys = {client: part(party, replies[client], KEYS)[client] for client in sorted(replies)}
    often = Counter(keys.values())
    return _without(party, round, keys, [c for c in keys if often[keys[c]] > 1], "keys: the same as another client's")


def _secret(of: str, opened: Mapping[str, Mapping[str, bytes]], roster: Sequence[str], least: int) -> bytes:
    """Return the secret whose shares the clients sent. Raises ValueError if there are too few."""
    numbers = {client: number for number, client in enumerate(roster, 1)}
    shares = [
        received[of]
        for client, received in opened.items()
        if of in received and masks.number_of(received[of]) == numbers[client]
    ]
    if len(shares) < least:
        raise ValueError("too few shares of a secret")
    return masks.join(shares[:least])


def _sealed(party: Party, exchange: Exchange, round: int, keys: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Let the clients share their secrets, and return each one's shares for the others."""
    roster = {KEYS: write(party, KEYS, keys)}
    replies = exchange.ask("share", round, dict.fromkeys(keys, roster)).wait()
    sealed = {client: part(party, replies[client], SHARES) for client in sorted(replies)}
    odd = [client for client, received in sealed.items() if set(received) != keys.keys() - {client}]
    return _without(party, round, sealed, odd, "key_shares: not for all other clients")


def _without(party: Party, round: int, received: Mapping[str, T], odd: Collection[str], why: str) -> dict[str, T]:
    """Return what clients sent without the odd ones, which are recorded as missing."""
    why = f"malformed message ({why})"
    party.note(missing=tuple(Missing(party=client, round=round, phase="share", why=why) for client in odd))
    return {client: each for client, each in received.items() if client not in odd}


def _masked(
    party: Party, exchange: Exchange, round: int, sealed: Mapping[str, Mapping[str, bytes]]
) -> dict[str, Masked]:
    """Distribute the shares, and return the masked adapters that fit."""
    payloads: dict[str, Payload] = {}
    for client in sealed:
        others = {other: sealed[other][client] for other in sealed if other != client}
        payloads[client] = {SHARES: write(party, SHARES, others, to=client)}
    replies = exchange.ask("mask", round, payloads).wait()
    received: dict[str, Masked] = {client: part(party, replies[client], MASKED) for client in sorted(replies)}
    _expect(received, 2)
    odd = odd_ones(party, round, {client: shapes for client, (_, shapes) in received.items()})
    return {client: each for client, each in received.items() if client not in odd}


def _common(
    gone: str, private: bytes, round: int, keys: Mapping[str, bytes], there: Sequence[str], size: int
) -> np.ndarray:
    """Return the masks that the present clients added for a missing one. Raises ValueError for another's key."""
    if masks.public_key(private) != keys[gone][named.SECRET :]:
        raise ValueError("another key")
    seeds = {client: masks.mask_seed(private, keys[client][named.SECRET :], round) for client in there}
    return _sum(masks.pair_mask(client, gone, seed, size) for client, seed in seeds.items())


def _sum(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum modulo 2^64."""
    first, *others = parts
    total = first.copy()
    for each in others:
        total += each
    return total


def _expect(left: Collection[str], least: int) -> None:
    if len(left) < least:
        raise _GivenUpError(
            f"{counted(len(left), 'client')} {plural(len(left), 'is', 'are')} left, but {least} are needed for a sum "
            "that hides each of them",
            left,
        )
