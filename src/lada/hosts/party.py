"""A party: one learner, its data and its plug-ins' state. It knows nothing of another party but its messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lada.allocators.base import Allocator, State
from lada.core.terms import Sample
from lada.models.base import Learner, Study
from lada.models.objective import Objective
from lada.tasks.data import TaskData

Emit = Callable[[dict[str, Any]], None]
"""Takes one event, a flat JSON object with at least `kind`, for events.jsonl and the live view."""


@dataclass
class Party:
    """Server or client. `states` and `memory` are what survives between phases beside the learner's weights."""

    name: str
    role: str
    learner: Learner
    task: TaskData
    private: tuple[Sample, ...]
    allocator: Allocator
    objective: Objective
    private_study: Study
    distil_study: Study
    seed: int
    emit: Emit
    states: dict[str, State] = field(default_factory=dict)
    """Allocator state by `teacher>student`."""
    memory: dict[str, bytes] = field(default_factory=dict)
    """Encoded knowledge that a later phase needs."""
