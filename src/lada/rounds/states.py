"""The states of a party's methods between rounds, addressed by kind, name and scope."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from lada.core.errors import InputError
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
    """Return a method's state, initially that of `init`."""
    return party.states.get(key) or method.init(seed_of(party.seed, key))


def keep_state(party: Party, key: str, state: State) -> None:
    """Keep a method's state, if it has one. Raises InputError as `check_state` does."""
    check_state(key, state)
    if state or key in party.states:
        party.states[key] = state


def check_state(key: str, state: Any) -> None:
    """Raise InputError for a state that no checkpoint can hold; `key` says whose it is."""
    if not isinstance(state, Mapping):
        raise InputError(f"state of {key!r}: the method returned a {type(state).__name__}; expected named arrays")
    for name, array in state.items():
        if not isinstance(name, str) or not _holds_numbers(array):
            raise InputError(f"state of {key!r}: {name!r} does not name an array of numbers; expected a NumPy array")


def _holds_numbers(array: Any) -> bool:
    try:
        kind = np.asarray(array).dtype
    except ValueError:  # rows of different lengths
        return False
    return kind.kind in "biuf" and kind.itemsize <= 8  # safetensors knows no wider ones
