"""A party's study runs with its hooks: on gradients during it, on weights after it. Their states are journalled."""

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import InputError, of_method
from lada.hooks.base import HOOKS
from lada.models.base import StudyReport
from lada.rounds.party import Party
from lada.rounds.states import address, keep_state, state_of

if TYPE_CHECKING:
    from torch import Tensor

STATES = "hooks.safetensors"
"""In the journal entry of a study: the hooks' states after it."""


def hooked(party: Party, study: Callable[[], StudyReport]) -> StudyReport:
    """Let a party study with its hooks, if it has any."""
    if not party.hooks:
        return study()
    states = {name: state_of(party, hook, _key(party, name)) for name, hook in party.hooks}

    def steer(gradients: Mapping[str, "Tensor"]) -> Mapping[str, "Tensor"]:
        for name, hook in party.hooks:
            with of_method(HOOKS.kind, name):
                found = hook.gradients(states[name], gradients)
                _check_alike(name, "gradients", gradients, found)
            gradients = found
        return gradients

    learner: Any = party.learner
    before = learner.adapter()
    if any(hook.steers for _, hook in party.hooks):
        learner.steer = steer
    try:
        report = study()
    finally:
        learner.steer = None
    weights = learner.adapter()
    for name, hook in party.hooks:
        with of_method(HOOKS.kind, name):
            state, found = hook.after_study(states[name], before, weights)
            _check_alike(name, "weights", weights, found)
            if _finite(weights) and not _finite(found):
                raise InputError(f"hook {name!r}: it returned weights that are not finite; fix the method")
        weights = found
        keep_state(party, _key(party, name), state)
    learner.load_adapter(weights)
    return report


def _check_alike(hook: str, what: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise InputError unless a hook kept all names and shapes."""
    shapes = [{name: tuple(each.shape) for name, each in arrays.items()} for arrays in (given, found)]
    if shapes[0] != shapes[1]:
        odd = min(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise InputError(
            f"hook {hook!r}: it returned {what} with other names or shapes than it was given, such as {odd!r}; "
            "expected the same ones"
        )


def _finite(weights: Mapping[str, np.ndarray]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in weights.values())


def write_states(party: Party, folder: FilePath) -> None:
    """Write the hooks' states into a folder, if there are any."""
    if party.hooks:
        arrays = {
            f"{name}|{part}": array
            for name, hook in party.hooks
            for part, array in state_of(party, hook, _key(party, name)).items()
        }
        (folder / STATES).write_bytes(arrays_to_bytes(arrays))


def read_states(party: Party, folder: FilePath) -> None:
    """Restore the hooks' states from `write_states`."""
    if party.hooks:
        kept = bytes_to_arrays((folder / STATES).read_bytes())
        for name, _ in party.hooks:
            its = {part: kept[key] for key in kept for own, _, part in [key.partition("|")] if own == name}
            keep_state(party, _key(party, name), its)


def _key(party: Party, name: str) -> str:
    return address(HOOKS.kind, name, party.name)
