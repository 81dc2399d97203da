"""What a party knows as long as its weights are what they are: it is asked once, and not again.

What is kept lies in the party's memory, so that a resumed run has it too, and goes when the weights change
(Party.weights_changed). Who reads it later reads the same bits.
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
    """Return what `find` says of `samples`, as of this round: what it said before, if the weights are still the same.

    `how` is what else it depends on, as JSON has it. Sampled paths, too, stay those of the first time. Fewer than
    `least` are not kept: what is lacking, as where an API gave no answer, may come another time.
    """
    asked = [[sample.id, sample.question, sample.answer] for sample in samples]
    key = party.knows(hashlib.sha256(json.dumps([asked, *how]).encode()).hexdigest())
    if key in party.memory:
        # JSON keeps floats to the bit, and texts as they are.
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
