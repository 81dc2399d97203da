"""The losses of chosen lessons in a party's last study, kept for an allocator that learns from them.

Replayed lessons are left out: no allocator chose them, and some are private.
"""

from collections.abc import Sequence

import numpy as np

from lada.allocators.base import Studied, lesson_key
from lada.core.needs import State
from lada.core.terms import Lesson
from lada.rounds.party import Party
from lada.rounds.states import address, keep_state


def keep_losses(party: Party, round: int, chosen: Sequence[Lesson], losses: State) -> None:
    """Keep the `losses` (StudyReport.losses) of the `chosen` lessons, which come first among those studied."""
    rows = losses["lessons"] < len(chosen)
    keys = np.array([lesson_key(lesson.sample_id, lesson.chosen) for lesson in chosen], np.int64)
    kept = {
        "round": np.array(round),
        "steps": losses["steps"][rows],
        "keys": keys[losses["lessons"][rows]],
        "losses": losses["losses"][rows],
    }
    keep_state(party, _key(party), kept)


def last_studied(party: Party) -> Studied | None:
    """Return what `keep_losses` kept last; None if there is nothing."""
    state = party.states.get(_key(party))
    if not state:
        return None
    return Studied(int(state["round"]), state["steps"], state["keys"], state["losses"])


def _key(party: Party) -> str:
    return address("study", "distil", party.name)
