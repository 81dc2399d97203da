"""How much of a client's paths the server learns where no gold answer says which are right: by the client's record.

A client's record is how often its answers were the server's own (0..1), over all public samples and rounds so far. Of
the paths that an allocator chose, a client keeps the share min(1, record / median record of the clients of the round),
the best of its allocator's choices first. So clients that are about as good as each other are not limited, and one
that is wrong on everything teaches next to nothing, as long as it is not among most.

Our reading of "trust from validation" where there is nothing to validate with: the server's own answers stand in for a
validation set. It cannot see a client that lies only where the server does not know better. `lada.hosts.gain` measures
the gain itself, at the price of a study per client.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lada.core.terms import Allocation, Knowledge
from lada.evaluation.agreement import agreements
from lada.hosts.party import Party

STATE = "trust"
"""Key of the party's states: per client an array [agreed, compared]."""


def limit_by_trust(
    party: Party, allocations: Mapping[str, Allocation], offers: Mapping[str, Knowledge], mine: Knowledge
) -> dict[str, Allocation]:
    """Return the allocations by client, each cut to what the client's record allows; the record is kept."""
    state = dict(party.states.get(STATE, {}))
    for client in sorted(offers):
        state[client] = state.get(client, np.zeros(2)) + _compared(party, offers[client], mine)
    party.states[STATE] = state
    records = {client: state[client][0] / max(state[client][1], 1) for client in sorted(offers)}
    reasons = {
        client: f"it agreed with {party.name} on {100 * record:.1f} % of the samples so far"
        for client, record in records.items()
    }
    middle = float(np.median(list(records.values()))) if records else 0.0
    shares = {client: min(1.0, record / middle) if middle else 1.0 for client, record in records.items()}
    return limit(party, mine.round, allocations, shares, reasons)


def limit(
    party: Party,
    round: int,
    allocations: Mapping[str, Allocation],
    shares: Mapping[str, float],
    reasons: Mapping[str, str],
) -> dict[str, Allocation]:
    """Return the allocations by client, each with the first `shares` (0..1) of the client's paths only.

    The student's own paths are not limited. A notice gives the `reasons` of those that lost any.
    """
    limited = {client: _limit(each, shares[client]) for client, each in allocations.items()}
    for client in sorted(limited):
        lost = taught(allocations[client]) - taught(limited[client])
        if lost:
            party.note(
                notices=(
                    f"round {round}: {lost} of {taught(allocations[client])} chosen paths of {client} are left out, "
                    f"since {reasons[client]}",
                )
            )
    return limited


def _compared(party: Party, theirs: Knowledge, mine: Knowledge) -> np.ndarray:
    """Return on how many samples two parties agree, and how many both know."""
    a, b = theirs.by_id(), mine.by_id()
    both = [id for id in a if id in b]
    agreed = agreements([a[id] for id in both], [b[id] for id in both], party.task.same)
    return np.array([sum(agreed), len(agreed)], np.float64)


def _limit(allocation: Allocation, share: float) -> Allocation:
    left = round(share * taught(allocation))
    kept = []
    for choice in allocation.choices:
        if choice.source == "teacher":
            left -= 1
            if left < 0:
                continue
        kept.append(choice)
    return replace(allocation, choices=tuple(kept))


def taught(allocation: Allocation) -> int:
    """Return how many of the teacher's paths an allocation has."""
    return sum(choice.source == "teacher" for choice in allocation.choices)
