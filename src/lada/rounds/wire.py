"""How a party writes and reads message parts: with its run's codecs (lada.codecs.base), for any host."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from lada.codecs.base import CODECS, Codecs, Reading, Receiver
from lada.core.errors import CodecError, of_method
from lada.core.known import known, read
from lada.core.seeds import seed_of
from lada.rounds.base import Payload
from lada.rounds.party import Party
from lada.rounds.states import keep_state
from lada.rounds.steps import gold_texts
from lada.rounds.verdicts import checked


def write(party: Party, kind: str, value: Any, *, to: str = "") -> bytes:
    """Return a message part of a party, for one receiver or (by default) for all.

    The codec's state stays in the party's states. Raises CodecError for a value that must not be sent.
    """
    codec = party.codecs[kind]
    address = party.codecs.address(kind, to or party.name)
    state = party.states.get(address) or codec.init(seed_of(party.seed, "codec", address))
    with of_method(CODECS.kind, party.codecs.name(kind)):
        state, data = codec.encode(state, value)
    keep_state(party, address, state)
    return data


def for_client(party: Party, kind: str, data: bytes, client: str) -> bytes:
    """Return what one client gets of the part that a party wrote last for all, by `write`."""
    state = party.states.get(party.codecs.address(kind, party.name), {})
    with of_method(CODECS.kind, party.codecs.name(kind)):
        return party.codecs[kind].for_client(state, data, client)


def reading(party: Party, payload: Payload, sender: str = "", round: int = 0, seconds: float = inf) -> Reading:
    """Return a message as a party reads it. Decoded parts of a known payload live as long as the payload."""
    receiver = Receiver(
        name=party.name,
        role=party.role,
        limits=party.limits,
        task=party.task,
        signal=party.objective.needs.signal,
        memory=party.memory,
        verify=partial(checked, party),
        gold=partial(gold_texts, party),
        clock=party.clock,
        takes_others_work=party.common is not None,
    )
    return Reading(known(payload), receiver, party.codecs, sender, round, seconds)


def part(party: Party, payload: Payload, kind: str) -> Any:
    """Return the decoded part for a party. Raises CodecError or FederationError for content no honest party sends."""
    return reading(party, payload).part(kind)


def describe(codecs: Codecs) -> Callable[[str, Payload], int | None]:
    """Return a function that counts the samples in a part, for the ledger; it gives None if that is impossible.

    It reads only a header, once per known payload. A check verifies that the part holds that many.
    """

    def samples_in(kind: str, payload: Payload) -> int | None:
        if kind not in codecs:
            return None
        try:
            return read(payload, f"{kind}, counted", lambda: codecs[kind].describe(payload[kind]))
        except CodecError:
            return None

    return samples_in
