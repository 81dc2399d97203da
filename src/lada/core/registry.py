"""Methods register themselves here: name, options, paper, what they need of a learner, what is our reading."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from lada.core.docstrings import field_docstrings
from lada.core.errors import InputError, nearest
from lada.core.needs import NOTHING, Needs, State
from lada.core.plugins import load_plugins

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Of a method: what divides the addresses of states, such as `/` and `|`, would give one the state of another."""
Status = Literal["confirmed", "our reading"]


class Options(BaseModel):
    """Base of all options: strict types, no unknown key, immutable. A field's docstring goes into the schema."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema with the fields' docstrings. pydantic itself would read them whenever a class is made."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        told = field_docstrings(cls)
        for name in told.keys() & properties.keys():
            properties[name]["description"] = told[name]
        return schema


class Pluggable:
    """Base of methods: explicit state, pure verbs, declared needs. A registry sets `needs` of what it makes."""

    needs: Needs = NOTHING

    def init(self, seed: int) -> State:
        """Return the state before round 1; empty for a method that remembers nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Method(Generic[T]):
    """One row of the method index: `make(options)` builds the method."""

    name: str
    make: Callable[[Any], T]
    options: type[Options]
    paper: str
    status: Status
    summary: str
    needs: Callable[[Any], Needs]
    """What the method needs with given options."""
    by_order: str = ""
    """Why its result hangs on the order of samples or parties; empty for one that gives the same in any order."""

    @property
    def default_needs(self) -> Needs:
        """What it needs with its default options."""
        return self.needs(self.options.model_construct())

    def read(self, options: Mapping[str, Any]) -> Options:
        """Return plain options as the method's own. Raises pydantic's ValidationError for faulty ones."""
        return self.options.model_validate_json(json.dumps(options))

    def needs_of(self, options: Mapping[str, Any]) -> Needs:
        """Return what the method needs with plain options."""
        return self.needs(self.read(options))

    def made(self, options: Mapping[str, Any]) -> T:
        """Return the method with plain options; what it needs with them is its attribute `needs`."""
        read = self.read(options)
        made: Any = self.make(read)
        told = self.needs(read) | getattr(made, "needs", NOTHING)
        if told != getattr(made, "needs", None):
            made.needs = told
        return made


class Registry(Generic[T]):
    """The methods of one kind. They are found by importing every module of `package`, and plug-ins, on first use."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._methods: dict[str, Method[T]] = {}
        self._loaded = False
        self._runs = 0

    def register(
        self,
        name: str,
        *,
        options: type[Options] = Options,
        paper: str = "",
        status: Status = "confirmed",
        needs: Needs | Callable[[Any], Needs] = NOTHING,
        by_order: str = "",
    ) -> Callable[[Callable[[Any], T]], Callable[[Any], T]]:
        """Class or function decorator. Its docstring's first line becomes the summary.

        `needs` may be a function of the options; `by_order` says why, where the order of samples or parties matters.

        Raises ValueError for a name that cannot be one and for a second method of it, InputError while a run is under
        way.
        """

        def add(make: Callable[[Any], T]) -> Callable[[Any], T]:
            if self._runs:
                raise InputError(
                    f"{self.kind}: {name!r} is registered during a run, so that not all parties would know it; "
                    "register it before the run, in a file named by --plugin or LADA_PLUGINS"
                )
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"{self.kind}: {name!r} cannot be a name; expected letters, digits, '_', '-' and '.', starting "
                    "with a letter or digit"
                )
            if name in self._methods:
                raise ValueError(f"two {self.kind}s are named {name!r}")
            summary = (make.__doc__ or "").strip().partition("\n")[0]
            asks = _always(needs) if isinstance(needs, Needs) else needs
            self._methods[name] = Method(name, make, options, paper, status, summary, asks, by_order)
            if hasattr(make, "declared"):  # a class whose instances say what they need, whoever makes them
                made: Any = make
                made.name, made.declared = name, staticmethod(asks)
            return make

        return add

    def _load(self) -> None:
        if not self._loaded:
            package = import_module(self._package)
            for module in iter_modules(package.__path__):
                import_module(f"{self._package}.{module.name}")
            self._loaded = True
            load_plugins()

    def __iter__(self) -> Iterator[Method[T]]:
        self._load()
        return iter(sorted(self._methods.values(), key=lambda method: method.name))

    def names(self) -> list[str]:
        """Return the sorted names of all methods of this kind."""
        return [method.name for method in self]

    def get(self, name: str) -> Method[T]:
        """Return the method called `name`; InputError with the nearest valid name where there is none."""
        self._load()
        if name not in self._methods:
            raise InputError(
                f"{self.kind}: unknown name {name!r}; expected one of {', '.join(self.names())}"
                f"{nearest(name, self.names())}"
            )
        return self._methods[name]

    def make(self, name: str, options: Mapping[str, Any]) -> T:
        """Return the method called `name` with plain options; see Method.made, and `get` for what is raised."""
        return self.get(name).made(options)

    def __enter__(self) -> Registry[T]:
        """Take no further method, once those that there are have registered themselves."""
        self._load()
        self._runs += 1
        return self

    def __exit__(self, *raised: object) -> None:
        """Take methods again, unless another run goes on."""
        self._runs -= 1


def _always(needs: Needs) -> Callable[[Any], Needs]:
    return lambda _: needs
