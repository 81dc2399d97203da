"""Every registered method with every choice that its options leave: what the suite is parametrised by.

Methods of plug-ins that LADA_PLUGINS names are among them, and so are this project's examples of plug-ins.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from own_methods import EXAMPLES, registered
from pydantic import ValidationError

from lada.core.plugins import VARIABLE
from lada.core.registry import Method
from lada.points import POINTS

named = os.environ.get(VARIABLE, "").split(os.pathsep)
with registered(*(name for name, file in EXAMPLES.items() if str(file) not in named)):
    METHODS: dict[str, tuple[Method[Any], ...]] = {kind: tuple(point.registry) for kind, point in POINTS.items()}


@dataclass(frozen=True)
class Case:
    """A method with some options."""

    kind: str
    method: Method[Any]
    options: dict[str, Any]

    def make(self) -> Any:
        return self.method.made(self.options)

    def __str__(self) -> str:
        return "-".join([self.kind, self.method.name, *(f"{key}={value}" for key, value in self.options.items())])


def cases(*kinds: str) -> Any:
    """Return a decorator that gives a test the `case` of each method of these kinds with each choice of its options."""
    found = [Case(kind, method, options) for kind in kinds for method in METHODS[kind] for options in choices(method)]
    return pytest.mark.parametrize("case", found, ids=str)


def each(*kinds: str) -> Any:
    """Return a decorator that gives a test the `case` of each method of these kinds with its default options."""
    found = [Case(kind, method, {}) for kind in kinds for method in METHODS[kind]]
    return pytest.mark.parametrize("case", found, ids=str)


def choices(method: Method[Any]) -> Iterator[dict[str, Any]]:
    """Yield the default options and those that differ from them in one choice among words or of true and false.

    That is nothing where an option has no default: it says where something is, which only a user knows. Noise is drawn
    from the seed wherever a method can do that.
    """
    if any(field.is_required() for field in method.options.model_fields.values()):
        return
    base = {"seeded": True} if "seeded" in method.options.model_fields else {}
    yield base
    for name, field in method.options.model_json_schema().get("properties", {}).items():
        values = field.get("enum", [True, False] if field.get("type") == "boolean" else [])
        for value in values:
            if value != field.get("default"):
                try:
                    method.read(base | {name: value})
                except ValidationError:  # it takes another choice beside it
                    continue
                yield base | {name: value}
