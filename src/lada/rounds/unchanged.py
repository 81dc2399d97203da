"""Results that stay valid while a party's weights do not change: it is asked only once.

They are kept in the party's memory, so that a resumed run has them too, and dropped when the weights change
(Party.weights_changed). Later readings are bit-for-bit the same.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from lada.core.terms import Knowledge, Likelihood, Path, Sample
from lada.rounds.party import Party


def while_unchanged(
    party: Party,
    round: int,
    samples: Sequence[Sample],
    how: Sequence[Any],
    find: Callable[[], Knowledge],
    *,
    least: int = 0,
) -> Knowledge:
    """Return what `find` gives for `samples`, as of this round, reusing the earlier result for unchanged weights.

    `how` is everything else that it depends on, as JSON data. Sampled paths are reused too. Results with fewer than
    `least` paths are not kept, since missing ones, for example from an API, may come later.
    """
    asked = [[sample.id, sample.question, sample.answer] for sample in samples]
    key = party.knows(hashlib.sha256(json.dumps([asked, *how]).encode()).hexdigest())
    if key in party.memory:
        # JSON keeps floats bit-for-bit, and texts as they are.
        rows = json.loads(party.memory[key])
        paths = tuple(
            Path(id, writer, text, answer, right, Likelihood(*likelihood), cut)
            for id, writer, text, answer, right, likelihood, cut in rows
        )
        return Knowledge(party.name, round, paths)
    found = find()
    if len(found.paths) >= least:
        party.memory[key] = json.dumps([astuple(path) for path in found.paths]).encode()
    return found
