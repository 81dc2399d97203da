"""How a party writes and reads message parts: by the codecs of its run (lada.codecs.base), whatever a host sends."""

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
    """Return a part that leaves a party, for one receiver or (by default) for all.

    What its codec remembers of it stays in the party's states. Raises CodecError for a value that nobody may send.
    """
    codec = party.codecs[kind]
    address = party.codecs.address(kind, to or party.name)
    state = party.states.get(address) or codec.init(seed_of(party.seed, "codec", address))
    with of_method(CODECS.kind, party.codecs.name(kind)):
        state, data = codec.encode(state, value)
    keep_state(party, address, state)
    return data


def reading(party: Party, payload: Payload, sender: str = "", round: int = 0, seconds: float = inf) -> Reading:
    """Return a message as a party reads it. What is made of its parts lives as long as a known payload does."""
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
    """Return what a part says to a party. Raises CodecError or FederationError for what nobody honest sends."""
    return reading(party, payload).part(kind)


def describe(codecs: Codecs) -> Callable[[str, Payload], int | None]:
    """Return what counts the samples in a part, for the ledger; it gives None where they cannot be counted.

    Only a header is read, once for a known payload; a check finds out whether the part holds as many.
    """

    def samples_in(kind: str, payload: Payload) -> int | None:
        if kind not in codecs:
            return None
        try:
            return read(payload, f"{kind}, counted", lambda: codecs[kind].describe(payload[kind]))
        except CodecError:
            return None

    return samples_in
