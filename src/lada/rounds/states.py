"""What a party's methods remember between rounds, addressed by kind, name and what it belongs to."""

from typing import Protocol

from lada.core.needs import State
from lada.core.seeds import seed_of
from lada.rounds.party import Party


class Remembers(Protocol):
    """A method with a state."""

    def init(self, seed: int) -> State:
        """Return the state before round 1."""
        ...


def address(kind: str, name: str, scope: str) -> str:
    """Return the key of a state among a party's; `scope` is the run, a party, or a pair as `teacher>student`."""
    return f"{kind}/{name}/{scope}"


def state_of(party: Party, method: Remembers, key: str) -> State:
    """Return a method's state, at first the one of `init`."""
    return party.states.get(key) or method.init(seed_of(party.seed, key))


def keep_state(party: Party, key: str, state: State) -> None:
    """Keep a method's state; one without a state leaves nothing."""
    if state or key in party.states:
        party.states[key] = state
