"""Methods register themselves here with their name, options, paper, needs and status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from lada.core.docstrings import field_docstrings
from lada.core.errors import InputError, nearest
from lada.core.needs import NOTHING, Needs, State
from lada.core.plugins import load_plugins
from lada.core.taxonomy import Tag, check_tags

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

    from lada.core.terms import Verb

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Pattern of a method's name. Separators in the addresses of states, such as `/` and `|`, are excluded, so that no two
methods share a state."""
Status = Literal["confirmed", "our reading"]
Level = Literal["", "code read", "paper read", "second-hand", "abstract"]
"""What we read of a method's source, the best of it: the authors' code; the paper; summaries or others' code; no more
than the abstract. Empty: its row in docs/methods.md says it."""


class Options(BaseModel):
    """Base of all options: strict types, no unknown keys, immutable. A field's docstring becomes its description."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema with the fields' docstrings. pydantic itself would read them for every new class."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        told = field_docstrings(cls)
        for name in told.keys() & properties.keys():
            properties[name]["description"] = told[name]
        return schema


class Pluggable:
    """Base of methods: explicit state, no side effects, declared needs. A registry sets `needs` of what it makes."""

    needs: Needs = NOTHING

    def init(self, seed: int) -> State:
        """Return the state before round 1; empty for a method without memory."""
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
    """Why its result depends on the order of samples or parties; empty if it does not."""
    tags: tuple[Tag, ...] = ()
    """What knowledge it works with and how it is learnt; see lada.core.taxonomy."""
    level: Level = ""
    """What we read of its source."""

    @property
    def facts(self) -> str:
        """How far its facts are from its source, such as `our reading, code read`."""
        return ", ".join(filter(None, (self.status, self.level)))

    @property
    def default_needs(self) -> Needs:
        """The needs with default options."""
        return self.needs(self.options.model_construct())

    def read(self, options: Mapping[str, Any]) -> Options:
        """Return plain options as the method's own. Raises pydantic's ValidationError for invalid ones."""
        return self.options.model_validate_json(json.dumps(options))

    def needs_of(self, options: Mapping[str, Any]) -> Needs:
        """Return what the method needs with plain options."""
        return self.needs(self.read(options))

    def due_to(self, options: Mapping[str, Any], verbs: Collection[Verb]) -> tuple[str, ...]:
        """Return the options at whose defaults, one at a time, the method needs none of `verbs` from any party."""
        read, fields = self.read(options), self.options.model_fields

        def needed(name: str) -> frozenset[Verb]:
            changed = {name: fields[name].get_default(call_default_factory=True)}
            needs = self.needs(read.model_copy(update=changed))
            return needs.teacher | needs.student

        return tuple(name for name in fields if not fields[name].is_required() and needed(name).isdisjoint(verbs))

    def made(self, options: Mapping[str, Any]) -> T:
        """Return the method with plain options. Its attribute `needs` holds what it needs with them."""
        read = self.read(options)
        made: Any = self.make(read)
        told = self.needs(read) | getattr(made, "needs", NOTHING)
        if told != getattr(made, "needs", None):
            made.needs = told
        return made


class Registry(Generic[T]):
    """The methods of one kind. On first use, it imports all modules of `package`, and plug-ins."""

    def __init__(self, kind: str, package: str, tags: tuple[Tag, ...] = ()) -> None:
        """`tags` are those of all methods of the kind that name none themselves."""
        self.kind = kind
        self._package = package
        self._tags = tags
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
        tags: tuple[Tag, ...] = (),
        level: Level = "",
    ) -> Callable[[Callable[[Any], T]], Callable[[Any], T]]:
        """Class or function decorator. The first line of the docstring becomes the summary.

        `needs` may be a function of the options. `by_order` says why the order of samples or parties matters, if it
        does. `tags` place the method in a taxonomy (lada.core.taxonomy). `level` says what was read of its source.

        Raises ValueError for an invalid or duplicate name or an unknown tag, and InputError during a run.
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
            check_tags(self.kind, name, tags)
            summary = (make.__doc__ or "").strip().partition("\n")[0]
            asks = _always(needs) if isinstance(needs, Needs) else needs
            self._methods[name] = Method(
                name, make, options, paper, status, summary, asks, by_order, tags or self._tags, level
            )
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
        """Return the method called `name`. Raises InputError with the nearest valid name if there is none."""
        self._load()
        if name not in self._methods:
            raise InputError(
                f"{self.kind}: unknown name {name!r}; expected one of {', '.join(self.names())}"
                f"{nearest(name, self.names())}"
            )
        return self._methods[name]

    def make(self, name: str, options: Mapping[str, Any]) -> T:
        """Return the method called `name` with plain options; see Method.made, and `get` for errors."""
        return self.get(name).made(options)

    def __enter__(self) -> Registry[T]:
        """Refuse further methods, after all existing ones have registered themselves."""
        self._load()
        self._runs += 1
        return self

    def __exit__(self, *raised: object) -> None:
        """Accept methods again, unless another run is still going."""
        self._runs -= 1


def _always(needs: Needs) -> Callable[[Any], Needs]:
    return lambda _: needs
