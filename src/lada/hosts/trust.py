"""How much of a client's paths the server learns where no gold answer says which are right: by the client's record.

A client's record is how often its answers were the server's own (0..1), over all public samples and rounds so far. Of
the paths that an allocator chose, a client keeps the share min(1, record / median record of the clients of the round),
the best of its allocator's choices first. So clients that are about as good as each other are not limited, and one
that is wrong on everything teaches next to nothing, as long as it is not among most.

Our reading of "trust from validation": the server's own answers stand in for a validation set, since a study per client
to measure each one's gain would multiply the server's work. It cannot see a client that lies only where the server
does not know better.
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
    middle = float(np.median(list(records.values()))) if records else 0.0
    limited = {client: _limit(each, records[client], middle) for client, each in allocations.items()}
    for client in sorted(limited):
        lost = _taught(allocations[client]) - _taught(limited[client])
        if lost:
            party.note(
                notices=(
                    f"round {mine.round}: {lost} of {_taught(allocations[client])} chosen paths of {client} are left "
                    f"out, since it agreed with {party.name} on {100 * records[client]:.1f} % of the samples so far",
                )
            )
    return limited


def _compared(party: Party, theirs: Knowledge, mine: Knowledge) -> np.ndarray:
    """Return on how many samples two parties agree, and how many both know."""
    a, b = theirs.by_id(), mine.by_id()
    both = [id for id in a if id in b]
    agreed = agreements([a[id] for id in both], [b[id] for id in both], party.task.same)
    return np.array([sum(agreed), len(agreed)], np.float64)


def _limit(allocation: Allocation, record: float, middle: float) -> Allocation:
    """Return the allocation with the first of the teacher's paths only; the student's own are not limited."""
    share = min(1.0, record / middle) if middle else 1.0
    left = round(share * _taught(allocation))
    kept = []
    for choice in allocation.choices:
        if choice.source == "teacher":
            left -= 1
            if left < 0:
                continue
        kept.append(choice)
    return replace(allocation, choices=tuple(kept))


def _taught(allocation: Allocation) -> int:
    return sum(choice.source == "teacher" for choice in allocation.choices)
