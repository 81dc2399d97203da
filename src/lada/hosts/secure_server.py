"""The server's half of secure aggregation; see lada.hosts.secure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lada.codecs import adapters, masked, named
from lada.core.errors import FederationError
from lada.core.results import Missing
from lada.hosts import masks
from lada.hosts.averaging import MOST_SAMPLES, odd_ones
from lada.hosts.base import Exchange, Payload
from lada.hosts.party import Party
from lada.hosts.secure import KEYS, MASKED, OPENED, SHARES, SURVIVORS, decode


def average_masked(
    party: Party, exchange: Exchange, round: int, replies: Mapping[str, Payload]
) -> tuple[bytes, list[str]]:
    """Return the average of the adapters behind the keys in `replies`, and the clients that go on with it.

    Those are the clients that were there to the last. Raises FederationError where too few are left in a phase, where
    their adapters do not fit, or where the masks do not cancel.
    """
    keys = {client: decode(party, KEYS, replies[client][KEYS])[client] for client in sorted(replies)}
    least = masks.threshold(len(keys))
    _expect(keys, least)
    sealed = _sealed(party, exchange, round, keys)
    _expect(sealed, least)
    told = _masked(party, exchange, round, sealed)
    _expect(told, least)
    there = {SURVIVORS: named.encode(dict.fromkeys(told, b""))}
    answers = exchange.ask("unmask", round, dict.fromkeys(told, there)).wait()
    opened = {client: decode(party, OPENED, answers[client][OPENED]) for client in sorted(answers)}
    _expect(opened, least)
    total = _sum(numbers for numbers, _ in told.values())
    try:
        for client in sorted(sealed):
            secret = masks.join([each[client] for each in opened.values() if client in each][:least])
            if client in told:
                total -= masks.mask(secret, len(total))
            else:
                total -= _common(client, secret, round, keys, sorted(told), len(total))
        weights, samples = masks.from_ring(total, next(iter(told.values()))[1], len(told))
    except (ValueError, IndexError) as error:
        raise FederationError(
            f"secure aggregation: the masks do not cancel ({type(error).__name__}), so a client broke the protocol; "
            "nobody gets an average"
        ) from None
    return adapters.encode(weights, min(samples, MOST_SAMPLES)), list(opened)


def _sealed(party: Party, exchange: Exchange, round: int, keys: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Let the clients share their secrets, and return what each has for the others."""
    roster = {KEYS: named.encode(keys)}
    replies = exchange.ask("share", round, dict.fromkeys(keys, roster)).wait()
    sealed = {client: decode(party, SHARES, replies[client][SHARES]) for client in sorted(replies)}
    odd = [client for client, told in sealed.items() if set(told) != keys.keys() - {client}]
    why = "malformed message (key_shares: not for all others)"
    party.note(missing=tuple(Missing(party=client, round=round, phase="share", why=why) for client in odd))
    return {client: told for client, told in sealed.items() if client not in odd}


def _masked(
    party: Party, exchange: Exchange, round: int, sealed: Mapping[str, Mapping[str, bytes]]
) -> dict[str, tuple[np.ndarray, masked.Shapes]]:
    """Hand out the shares, and return the masked adapters that fit."""
    payloads = {
        client: {SHARES: named.encode({other: sealed[other][client] for other in sealed if other != client})}
        for client in sealed
    }
    replies = exchange.ask("mask", round, payloads).wait()
    limit = 2 * party.limits.adapter_bytes
    told = {client: masked.decode(replies[client][MASKED], limit=limit) for client in sorted(replies)}
    _expect(told, 2)
    odd = odd_ones(party, round, {client: shapes for client, (_, shapes) in told.items()})
    return {client: each for client, each in told.items() if client not in odd}


def _common(
    gone: str, private: bytes, round: int, keys: Mapping[str, bytes], there: Sequence[str], size: int
) -> np.ndarray:
    """Return what the clients that are there added for one that is gone. Raises ValueError for another's key."""
    if masks.public_key(private) != keys[gone][masks.SECRET :]:
        raise ValueError("another key")
    seeds = {client: masks.mask_seed(private, keys[client][masks.SECRET :], round) for client in there}
    return _sum(masks.pair_mask(client, gone, seed, size) for client, seed in seeds.items())


def _sum(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the sum modulo 2^64."""
    first, *others = parts
    total = first.copy()
    for each in others:
        total += each
    return total


def _expect(told: Collection[Any], least: int) -> None:
    if len(told) < least:
        raise FederationError(
            f"secure aggregation: {len(told)} clients are left in this round, and {least} are needed for a sum that "
            "hides each of them; with quorum: 1.0 a run waits for the others with --resume"
        )
