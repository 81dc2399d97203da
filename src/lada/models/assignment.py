"""A study as bytes, without pickles: everything that another process needs for its share of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Any

import numpy as np
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as write_arrays

from lada.core.errors import InputError
from lada.core.plugins import load_plugins
from lada.core.terms import Alternative, ChunkLogProbs, Lesson, SparseLogProbs
from lada.models.base import Course, Study
from lada.models.objective import Objective

TOLD, STATE = "told", "state."
"""The name of the entry, as JSON, for everything that is not an array, and the prefix of the objective's state."""
ARRAYS = {"soft": SparseLogProbs, "chunks": ChunkLogProbs}
"""The parts of a lesson that consist of arrays."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The arguments of `Learner.study`."""

    lessons: Sequence[Lesson]
    objective: Objective
    study: Study
    seed: int
    course: Course = field(default_factory=Course)

    def to_bytes(self) -> bytes:
        """Return the bytes for `read`. Raises InputError for an objective that another process could not build."""
        plain = [field.name for field in fields(Lesson) if field.name not in ARRAYS]
        arrays = {
            f"{number}.{part}.{field.name}": np.ascontiguousarray(getattr(value, field.name))
            for number, lesson in enumerate(self.lessons)
            for part, kind in ARRAYS.items()
            if (value := getattr(lesson, part)) is not None
            for field in fields(kind)
        }
        state = self.course.state
        arrays |= {f"{STATE}{name}": np.asarray(array, order="C") for name, array in (state or {}).items()}
        told = {
            "lessons": [{name: getattr(lesson, name) for name in plain} for lesson in self.lessons],
            "objective": _named(self.objective),
            "study": self.study.model_dump_json(),
            "seed": self.seed,
            "course": [state is not None, self.course.seed, self.course.run_step, self.course.rounds_left],
        }
        arrays[TOLD] = np.frombuffer(json.dumps(told).encode(), np.uint8)
        return write_arrays(arrays)

    @classmethod
    def read(cls, data: bytes) -> "Assignment":
        """Return the assignment that `to_bytes` was called on."""
        arrays = read_arrays(data)
        told = json.loads(arrays.pop(TOLD).tobytes())

        def part(number: int, name: str) -> Any:
            kind = ARRAYS[name]
            found = {field.name: arrays.get(f"{number}.{name}.{field.name}") for field in fields(kind)}
            return None if any(array is None for array in found.values()) else kind(**found)

        for lesson in told["lessons"]:
            lesson["alternatives"] = tuple(Alternative(*each) for each in lesson["alternatives"])
        lessons = [
            Lesson(**lesson, **{name: part(number, name) for name in ARRAYS})
            for number, lesson in enumerate(told["lessons"])
        ]
        study, (remembers, *numbers) = Study.model_validate_json(told["study"]), told["course"]
        state = {name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}
        course = Course(state if remembers else None, *numbers)
        return cls(lessons, _made(*told["objective"]), study, told["seed"], course)


def _named(objective: Objective) -> tuple[str, str, str]:
    """Return the names of an objective's class and of its options', and the options as JSON."""
    options = getattr(objective, "options", None)
    if options is None:
        raise InputError(
            f"model.parallel: the objective {type(objective).__name__!r} has no attribute `options`, from which each "
            "process could make its own; expected self.options = options in it, or a model without parallel"
        )
    return _path(type(objective)), _path(type(options)), options.model_dump_json()


def _made(kind: str, options: str, values: str) -> Objective:
    load_plugins()
    return _found(kind)(_found(options).model_validate_json(values))


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _found(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
