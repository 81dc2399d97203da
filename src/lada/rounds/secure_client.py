"""The client's half of secure aggregation; see lada.rounds.secure."""

from collections.abc import Callable, Mapping

import numpy as np

from lada.aggregators.base import Weights
from lada.aggregators.bounding import norm_of, scaled_update
from lada.codecs import masked, named
from lada.codecs.masked import Masked
from lada.core.errors import FederationError
from lada.privacy import masks
from lada.rounds.averaging import start_of
from lada.rounds.base import Payload
from lada.rounds.party import Party
from lada.rounds.secure import KEYS, MASKED, OPENED, SHARES, SURVIVORS
from lada.rounds.wire import part, write

PRIVATE, SEED, ROSTER, OWN, RECEIVED = (f"secure {part}" for part in ("keys", "seed", "roster", "own shares", "shares"))
"""In a client's memory, until it has given its shares."""


def advertise(party: Party) -> Payload:
    """Draw a client's keys and return the public ones: the first is for seals, the second for masks."""
    (seal, seal_public), (mask, mask_public) = masks.new_key(), masks.new_key()
    party.memory[PRIVATE] = seal + mask
    return {KEYS: write(party, KEYS, {party.name: seal_public + mask_public})}


def masked_reply(phase: str, party: Party, round: int, payload: Payload, update_norm: float) -> Payload:
    """Run a client's half of one of the PHASES. Raises FederationError for what breaks the protocol."""
    match phase:
        case "share":
            return {SHARES: _share(party, round, payload)}
        case "mask":
            return {MASKED: _mask(party, round, payload, update_norm)}
        case _:
            return {OPENED: _unmask(party, round, payload)}


def _share(party: Party, round: int, payload: Payload) -> bytes:
    roster = part(party, payload, KEYS)
    seal, mask = _private(party)
    own = masks.public_key(seal) + masks.public_key(mask)
    if roster.get(party.name) != own or len(roster) < 2 or len(set(roster.values())) < len(roster):
        raise FederationError("keys: this client's own are missing, or some appear twice, or there are no others")
    seed, _ = masks.new_key()
    parts = zip(masks.split(seed, len(roster)), masks.split(mask, len(roster)), strict=True)
    shares = {client: one + other for client, (one, other) in zip(sorted(roster), parts, strict=True)}
    party.memory |= {SEED: seed, ROSTER: payload[KEYS], OWN: shares.pop(party.name)}
    sealed = {}
    for client, share in shares.items():
        key = _agree(masks.seal_key, seal, roster[client][: named.SECRET], round)
        sealed[client] = masks.seal(key, share, f"{round}|{party.name}|{client}")
    return write(party, SHARES, sealed)


def _mask(party: Party, round: int, payload: Payload, update_norm: float) -> bytes:
    roster, others = _received(party, KEYS, ROSTER), part(party, payload, SHARES)
    if not set(others) < set(roster) or party.name in others or len(others) + 1 < masks.threshold(len(roster)):
        raise FederationError("key_shares: from clients without keys, or from too few")
    party.memory[RECEIVED] = payload[SHARES]
    weights = _clip(party, round, update_norm)
    numbers = masks.to_ring(weights, min(max(len(party.private), 1), masks.MOST_SAMPLES))
    numbers += masks.mask(party.memory[SEED], len(numbers))
    _, own = _private(party)
    for client in others:
        seed = _agree(masks.mask_seed, own, roster[client][named.SECRET :], round)
        numbers += masks.pair_mask(party.name, client, seed, len(numbers))
    return write(party, MASKED, Masked(numbers, masked.shapes_of(weights)))


def _unmask(party: Party, round: int, payload: Payload) -> bytes:
    there = set(part(party, payload, SURVIVORS))
    roster, sealed = _received(party, KEYS, ROSTER), _received(party, SHARES, RECEIVED)
    if party.name not in there or not there <= {party.name, *sealed} or len(there) < masks.threshold(len(roster)):
        raise FederationError("survivors: this client is missing, one masked nothing, or they are too few")
    seal, _ = _private(party)
    shares: dict[str, bytes | None] = {party.name: party.memory[OWN]}
    for client, each in sealed.items():
        key = _agree(masks.seal_key, seal, roster[client][: named.SECRET], round)
        shares[client] = masks.unseal(key, each, f"{round}|{client}|{party.name}")
    opened = {
        client: both[: named.SHARE] if client in there else both[named.SHARE :]
        for client, both in shares.items()
        if both is not None and len(both) == 2 * named.SHARE
    }
    for secret in (PRIVATE, SEED, ROSTER, OWN, RECEIVED):
        del party.memory[secret]
    return write(party, OPENED, opened)


def _clip(party: Party, round: int, most: float) -> Weights:
    """Return the client's adapter with its update clipped to a norm. Raises FederationError for NaN or inf in it."""
    weights = party.learner.adapter()
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise FederationError("adapter: a weight is NaN or infinite and cannot be summed; lower the learning rate")
    start = start_of(party)
    norm = norm_of(weights, start)
    what = f"round {round}: {party.name}: secure aggregation"
    if norm > most:
        party.note(notices=(f"{what}: its update exceeded update_norm, {most:g}, and was clipped to it",))
        weights = scaled_update(weights, start, most / norm)
    if any((np.abs(array) > masks.MOST).any() for array in weights.values()):
        party.note(notices=(f"{what}: weights beyond ±{masks.MOST:g} were clipped to that",))
    return weights


def _agree(how: Callable[[bytes, bytes, int], bytes], private: bytes, public: bytes, round: int) -> bytes:
    try:
        return how(private, public, round)
    except ValueError:  # a point of low order, with which every key agrees on the same
        raise FederationError("keys: one is not a public key") from None


def _private(party: Party) -> tuple[bytes, bytes]:
    keys = _kept(party, PRIVATE)
    return keys[: named.SECRET], keys[named.SECRET :]


def _received(party: Party, kind: str, what: str) -> Mapping[str, bytes]:
    """Return what a client received in an earlier phase of this round."""
    return part(party, {kind: _kept(party, what)}, kind)


def _kept(party: Party, what: str) -> bytes:
    if what not in party.memory:
        raise FederationError(f"{what}: this client has none in this round")
    return party.memory[what]
