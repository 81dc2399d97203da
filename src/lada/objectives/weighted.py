"""A weighted sum of objectives, for which a list in the configuration is short."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, model_validator

from lada.core.bounds import STEEPEST
from lada.core.errors import InputError
from lada.core.needs import Needs, State
from lada.core.registry import Options
from lada.core.seeds import seed_of
from lada.core.validation import validate
from lada.models.objective import Done, Objective, Scored, Sizes
from lada.objectives.base import OBJECTIVES

if TYPE_CHECKING:
    from torch import Tensor

    from lada.core.terms import Lesson, Path, Sample

T = TypeVar("T")
NAME = "weighted"
DEEPEST = 4
"""Maximum nesting of sums. Each level is read several times, so the cost grows exponentially with depth."""


class Part(Options):
    """One objective of a sum: `{name: soft_targets, options: {k: 8}, weight: 0.5}`."""

    name: str
    """The objective's registered name."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The objective's options. Options left out keep their defaults."""
    weight: float = Field(default=1.0, ge=0, le=STEEPEST, allow_inf_nan=False)
    """Factor of its loss, at least 0."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            return value
        if _depth([value]) >= DEEPEST:
            raise ValueError(f"sums are nested more than {DEEPEST} deep; list all objectives in one sum")
        try:
            options = _read(value["name"], value.get("options", {}))
        except InputError as error:
            raise ValueError(str(error)) from None
        return {**value, "options": options.model_dump(mode="json")}

    def make(self) -> Objective:
        """Return the objective."""
        return OBJECTIVES.get(self.name).make(_read(self.name, self.options))


def _read(name: str, options: Any) -> Options:
    return validate(OBJECTIVES.get(name).options, options, "options")


class WeightedOptions(Options):
    """`loss = Σ weight · loss of each objective`. A list under `objective` is short for this."""

    objectives: tuple[Part, ...] = Field(default_factory=lambda: (Part(name="sft"),))
    """The objectives with their weights. All that need a teacher's signal must need the same one."""

    @model_validator(mode="after")
    def _possible(self) -> WeightedOptions:
        if not self.objectives:
            raise ValueError("there is no objective; expected at least one")
        asks(self)
        return self


def _depth(parts: list[Any]) -> int:
    """Return how deeply sums are nested in the parts of one, before any validation."""
    depth = 0
    while sums := [part for part in parts if isinstance(part, Mapping) and part.get("name") == NAME]:
        inner = [options.get("objectives") for part in sums if isinstance(options := part.get("options"), Mapping)]
        parts = [part for each in inner if isinstance(each, (list, tuple)) for part in each]
        depth += 1
    return depth


def asks(options: WeightedOptions) -> Needs:
    """Return what all objectives need together. Raises ValueError if their signals differ."""
    return reduce(Needs.__or__, (part.make().needs for part in options.objectives))


def names_in(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the name of a chosen objective and, for a sum, those of its objectives."""
    parts = WeightedOptions.model_validate_json(json.dumps(options)).objectives if name == NAME else ()
    return (name, *(inner for part in parts for inner in names_in(part.name, part.options)))


@OBJECTIVES.register(
    NAME,
    options=WeightedOptions,
    needs=asks,
    tags=("labels", "feature", "self-knowledge", "supervised", "divergence", "ranking"),
)
class Weighted(Objective):
    """A weighted sum of objectives, each with a state of its own."""

    options: WeightedOptions

    def __init__(self, options: WeightedOptions) -> None:
        super().__init__(options)
        self.parts = {f"{place}.": part.make() for place, part in enumerate(options.objectives)}
        self.trained = tuple(f"{key}{name}" for key, part in self.parts.items() for name in part.trained)

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        """See Objective.init."""
        states = {key: part.init(seed_of(seed, key), sizes) for key, part in self.parts.items()}
        return {f"{key}{name}": array for key, state in states.items() for name, array in state.items()}

    def __call__(self, scored: Scored) -> Tensor:
        """See Objective."""
        weights = [part.weight for part in self.options.objectives]
        losses = [
            weight * part(_seen_by(key, scored))
            for weight, (key, part) in zip(weights, self.parts.items(), strict=True)
        ]
        return sum(losses[1:], losses[0])

    def after_step(self, state: State, done: Done) -> State:
        """See Objective.after_step."""
        result: dict[str, Any] = {}
        for key, part in self.parts.items():
            its = part.after_step(_of(key, state), replace(done, observed=_of(key, done.observed)))
            result |= {f"{key}{name}": array for name, array in its.items()}
        return result

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        """See Objective.lesson: the first objective with its own `lesson` decides, if there is one."""
        for part in self.parts.values():
            if type(part).lesson is not Objective.lesson:
                return part.lesson(sample, chosen, other)
        return super().lesson(sample, chosen, other)


def _seen_by(key: str, scored: Scored) -> Scored:
    """Return one objective's view of a micro-batch."""

    def observe(name: str, value: Tensor) -> None:
        scored.observe(f"{key}{name}", value)

    return replace(scored, state=_of(key, scored.state), parameters=_of(key, scored.parameters), observe=observe)


def _of(key: str, named: Mapping[str, T]) -> dict[str, T]:
    return {name.removeprefix(key): value for name, value in named.items() if name.startswith(key)}
