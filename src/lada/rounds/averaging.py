"""Clients with one model combine their adapters: as FedMKT does in its homogeneous setting, and FedIT always.

The factors A and B are averaged separately, weighted by private samples. This is not the average of the products BA,
but it is what FedMKT does. Bounds limit how far a few hostile clients can move the average: see
lada.aggregators.bounding.
"""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lada.aggregators.base import AGGREGATORS, Aggregate, Weights
from lada.aggregators.base import Update as Received
from lada.aggregators.bounding import cap
from lada.aggregators.factors import outline as layers
from lada.codecs import adapters
from lada.codecs.adapters import Adapter, Change, Update
from lada.core.errors import CodecError, FederationError, InputError, of_method
from lada.core.results import Missing
from lada.models.learners import LearnerOptions
from lada.rounds.aggregating import aggregate_in_range
from lada.rounds.base import Payload
from lada.rounds.options import AveragingOptions
from lada.rounds.party import Party
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.wire import for_client, part, write

ADAPTER = adapters.KIND
HOLD = "hold the newest adapter"
"""In the server's memory: the clients that continued with the newest adapter."""
STARTED = "adapter start"
"""In a client's memory: the adapter that it started from."""
SHAPE = "adapter shape"
"""In the server's memory: names and shapes of the weights that it averages."""
MOST_SAMPLES = 10**9 - 1
"""Maximum number of samples behind an adapter that the codec can write. Together, clients may claim more."""
Start = Callable[[Weights], Weights | None]
"""Returns the weights that a client with this adapter started from; None if the server does not know them."""


def check_alike(clients: Mapping[str, LearnerOptions], key: str, *, full: bool = False, ranks: bool = False) -> None:
    """Raise InputError, naming `key`, unless all clients tune the same weights of the same model.

    `full` allows all weights of the model. `ranks` allows adapters that differ in everything but the layers.
    """
    first, *others = tuned = {
        name: _tuned(key, name, options, full=full or place > 0, ranks=ranks)
        for place, (name, options) in enumerate(clients.items())
    }
    mine = tuned[first]
    for other in others:
        for name, value in tuned[other].items():
            if mine.get(name) != value:
                raise InputError(
                    f"{key}: clients {first!r} and {other!r} differ in model.{name}: {mine.get(name)!r} and {value!r}; "
                    "expected the same for all clients"
                )


def _tuned(key: str, client: str, options: LearnerOptions, *, full: bool, ranks: bool) -> dict[str, Any]:
    """Return what must be the same for all clients; see LearnerOptions.tuned."""
    try:
        return options.tuned(full=full, ranks=ranks)
    except InputError as error:
        raise InputError(f"{key}: client {client!r} {error}") from None


def encode_adapter(party: Party) -> bytes:
    """Return a client's adapter with the number of private samples behind it."""
    return write(party, ADAPTER, Update(party.learner.adapter(), len(party.private), start_of(party), party.name))


def started_from(party: Party, weights: Weights) -> None:
    """Remember the weights that a client starts from."""
    party.memory[STARTED] = adapters.encode(weights, 0)


def start_of(party: Party) -> Weights | None:
    """Return the weights that a client started from; None if it did not have to remember them."""
    kept = party.memory.get(STARTED)
    return None if kept is None else adapters.decode(kept, limit=party.limits.adapter_bytes).weights


def shapes(weights: Weights) -> Hashable:
    """Return names and shapes of an adapter's weights."""
    return tuple((name, array.shape) for name, array in weights.items())


def fix_outline(party: Party, own: Weights) -> None:
    """Require the names and shapes of the server's `own` weights, whatever most clients send."""
    party.memory[SHAPE] = json.dumps(shapes(own)).encode()


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The aggregated adapters, float32 (see Aggregate), and the total number of samples behind them."""

    found: Aggregate
    samples: int

    def newest(self, party: Party) -> bytes:
        """Return the common weights as a message part of the server's. A codec with a state writes them once."""
        return write(party, ADAPTER, Adapter(self.found.weights, self.samples))

    def shared(self, party: Party, newest: bytes) -> dict[str, Payload]:
        """Return what each client receives to continue with: `newest`, unless it has weights of its own."""
        same = to_clients(party, newest, self.found.by_client)
        return {
            client: same[client]
            if weights is self.found.weights
            else {ADAPTER: write(party, ADAPTER, Adapter(weights, self.samples), to=client)}
            for client, weights in self.found.by_client.items()
        }


def to_clients(party: Party, newest: bytes, clients: Iterable[str]) -> dict[str, Payload]:
    """Return what each client receives of the server's newest message; its codec may shorten it for some of them."""
    same: Payload = {ADAPTER: newest}
    cut = {client: for_client(party, ADAPTER, newest, client) for client in clients}
    return {client: same if data is newest else {ADAPTER: data} for client, data in cut.items()}


def aggregate_updates(
    party: Party, replies: Mapping[str, Payload], round: int, options: AveragingOptions, start: Start | None = None
) -> Aggregated:
    """Return the aggregate of the adapters in `replies`. The aggregator's state is kept by the party.

    A client is left out and recorded as missing if its adapter's outline differs from the first round's, or in the
    first round from that of most clients. Notices report what was clipped, capped or held. By default clients started
    from the newest adapter. Raises CodecError for an invalid adapter. Raises FederationError if no adapter fits, no
    outline has a majority, or no average is in range.
    """
    name, aggregator = options.aggregator
    received = {client: part(party, replies[client], ADAPTER) for client in sorted(replies)}
    outline = layers if aggregator.any_rank else shapes
    outlines = {client: outline(each.weights) for client, each in received.items()}
    if set(outlines.values()) == {None}:
        raise FederationError("adapters: no client's adapter consists of pairs of LoRA factors")
    odd = odd_ones(party, round, outlines)
    start = start or newest_of(party)
    weights = _whole(party, round, {client: each for client, each in received.items() if client not in odd}, start)
    samples, capped = cap({client: received[client].samples for client in weights}, options.clip)
    updates = {client: Received(own, samples[client], start(own)) for client, own in weights.items()}
    key = address(AGGREGATORS.kind, name, "run")
    with of_method(AGGREGATORS.kind, name):
        state, found, extreme = aggregate_in_range(aggregator, state_of(party, aggregator, key), updates)
        _check_kept(name, {client: own for client, own in weights.items() if client not in extreme}, found)
    keep_state(party, key, state)
    why = "malformed message (adapter: numbers too large to aggregate)"
    party.note(missing=tuple(Missing(party=client, round=round, phase="average", why=why) for client in extreme))
    party.note(notices=tuple(f"round {round}: adapters: {notice}" for notice in (*capped, *found.notices)))
    return Aggregated(found, min(sum(samples[client] for client in found.by_client), MOST_SAMPLES))


def _whole(party: Party, round: int, received: Mapping[str, Adapter | Change], start: Start) -> dict[str, Weights]:
    """Return the clients' weights, where changes are added to the common start.

    A client whose changes are of weights that the server does not know is left out and recorded as missing. Raises
    FederationError if that is all of them.
    """
    whole: dict[str, Weights] = {}
    for client, each in received.items():
        if not isinstance(each, Change):
            whole[client] = each.weights
        elif (own := start(each.weights)) is not None and each.start == _start_of(party, client, own):
            whole[client] = {name: own[name] + change for name, change in each.weights.items()}
    odd = [client for client in received if client not in whole]
    if len(odd) == len(received):
        raise FederationError(
            f"adapters: {', '.join(map(repr, odd))} sent changes of weights that the server does not know; this codec "
            "needs an aggregator that gives all clients the same"
        )
    _leave_out(party, round, odd, "changes of other weights than the newest")
    return whole


def _start_of(party: Party, client: str, common: Weights) -> str:
    """Return the digest of what a client started from: the common start, or what it received of that."""
    if (newest := party.memory.get(ADAPTER)) is not None:
        cut = to_clients(party, newest, [client])[client]
        if cut[ADAPTER] is not newest:
            return adapters.digest(part(party, cut, ADAPTER).weights)
    return adapters.digest(common)


def _check_kept(name: str, sent: Mapping[str, Weights], found: Aggregate) -> None:
    """Raise InputError unless an aggregator returns weights for each client with the names and shapes that it sent."""
    if {client: _shapes_by_name(own) for client, own in sent.items()} != {
        client: _shapes_by_name(own) for client, own in found.by_client.items()
    }:
        raise InputError(
            f"aggregator {name!r}: its result is for other clients than those that sent something, or has other names "
            f"or shapes; expected weights for {', '.join(sorted(sent))}, each in its own names and shapes"
        )


def _shapes_by_name(weights: Weights) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of an adapter's weights, by name."""
    return {name: array.shape for name, array in weights.items()}


def odd_ones(party: Party, round: int, outlines: Mapping[str, Hashable]) -> list[str]:
    """Return the clients whose adapters' outline differs from the first round's or, then, from most others'.

    They are recorded as missing. Raises FederationError if no adapter fits or no outline has a majority.
    """
    known = {client: json.dumps(each).encode() for client, each in outlines.items() if each is not None}
    common = party.memory[SHAPE] = party.memory.get(SHAPE) or _of_most(known)
    odd = [client for client in outlines if known.get(client) != common]
    if len(odd) == len(outlines):
        raise FederationError(
            f"adapters: those of {', '.join(map(repr, odd))} have other names or shapes than in earlier rounds; these "
            "clients must keep the model and model.lora that they began with"
        )
    _leave_out(party, round, odd, "other names or shapes than those of the other clients")
    return odd


def _leave_out(party: Party, round: int, clients: Sequence[str], fault: str) -> None:
    """Note that the adapters of these clients are missing from an average, for this fault."""
    why = f"malformed message (adapter: {fault})"
    party.note(missing=tuple(Missing(party=client, round=round, phase="average", why=why) for client in clients))


def newest_weights(party: Party) -> Weights:
    """Return the newest adapter that the server sent. Raises KeyError if there is none."""
    return part(party, party.memory, ADAPTER).weights


def newest_of(party: Party) -> Start:
    """Return a function that gives the newest adapter as a client's start, if the outlines agree."""
    if ADAPTER not in party.memory:
        return lambda _: None
    newest = newest_weights(party)
    return lambda own: newest if shapes(newest) == shapes(own) else None


def _of_most(outlines: Mapping[str, bytes]) -> bytes:
    """Return the most frequent outline. Raises FederationError if there is a tie."""
    (common, count), *rest = Counter(outlines.values()).most_common()
    if rest and rest[0][1] == count:
        first, other = (next(c for c in outlines if outlines[c] == each) for each in (common, rest[0][0]))
        raise FederationError(
            f"adapters: those of {other!r} and {first!r} differ in names or shapes, and it is unclear which are "
            "right; give both clients the same model and model.lora"
        )
    return common


def catch_up(party: Party, clients: Sequence[str]) -> dict[str, Payload]:
    """Return what each client receives before it studies: the newest adapter, unless it already has that.

    Raises FederationError if the newest, from a checkpoint of an earlier version, is unusable.
    """
    if (newest := party.memory.get(ADAPTER)) is None:
        return {client: {} for client in clients}
    try:
        part(party, {ADAPTER: newest}, ADAPTER)
    except CodecError as error:
        raise FederationError(
            f"{error}; the newest average is unusable, and no client gets it: start the run again"
        ) from error
    hold = json.loads(party.memory.get(HOLD, b"[]"))
    return to_clients(party, newest, clients) | {client: {} for client in clients if client in hold}


def handed_out(party: Party, newest: bytes, clients: Iterable[str]) -> None:
    """Keep the newest adapter, and the list of clients that continued with it."""
    party.memory |= {ADAPTER: newest, HOLD: json.dumps(list(clients)).encode()}


def take_adapter(party: Party, payload: Payload) -> None:
    """Let a client continue with the average."""
    weights = part(party, payload, ADAPTER).weights
    party.load_adapter(weights)
    if party.codecs[ADAPTER].changes:
        started_from(party, weights)
