"""How a configuration chooses methods: a field for each point, complete options, and the methods built from them."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from lada.core.choice import MethodChoice
from lada.core.errors import InputError
from lada.core.registry import Options, Registry
from lada.core.validation import validate
from lada.hosts.base import PaperDefaults
from lada.overrides import apply_override
from lada.points import Point

T = TypeVar("T")
M = TypeVar("M", bound=Options)


def choosing(points: Iterable[Point], field: Callable[[Point], tuple[Any, Any]]) -> Callable[[type[M]], type[M]]:
    """Class decorator: give a model a field for each of these points, by its key.

    `field` is one of the functions below, for the model's use of the choice.
    """
    fields: dict[str, Any] = {point.key: field(point) for point in points}

    def add(model: type[M]) -> type[M]:
        name, module, doc = model.__name__, model.__module__, model.__doc__
        return create_model(name, __base__=model, __module__=module, __doc__=doc, **fields)

    return add


def of_the_run(point: Point) -> tuple[Any, Any]:
    """Return the field of a run's configuration, which takes precedence over any default."""
    if point.several:
        return _kind(point), Field((), description=point.about)
    if point.decides and point.default:
        return _kind(point), Field(MethodChoice(name=point.default), description=point.about)
    return _kind(point) | None, Field(None, description=point.about)


def of_a_party(point: Point) -> tuple[Any, Any]:
    """Return the field of a party, which may leave the choice to the run."""
    return _kind(point) | None, Field(None, description=f"This party's own {point.key}. None means the run's.")


def settled(point: Point) -> tuple[Any, Any]:
    """Return the field of a choice that is already resolved."""
    if point.several:
        return _kind(point), Field((), description=point.about, exclude_if=_none)
    if point.default is None:
        return _kind(point) | None, Field(None, description=point.about, exclude_if=_none)
    return _kind(point), Field(description=point.about)


def _none(chosen: tuple[MethodChoice, ...] | MethodChoice | None) -> bool:
    return not chosen


def _kind(point: Point) -> Any:
    if point.several:
        return Annotated[tuple[MethodChoice, ...], AfterValidator(_each_once(point))]
    return Annotated[MethodChoice, BeforeValidator(_combined(point))] if point.combined else MethodChoice


def _combined(point: Point) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        return {"name": point.combined, "options": {f"{point.key}s": value}} if isinstance(value, list) else value

    return read


def _each_once(point: Point) -> Callable[[tuple[MethodChoice, ...]], tuple[MethodChoice, ...]]:
    def check(choices: tuple[MethodChoice, ...]) -> tuple[MethodChoice, ...]:
        names = [choice.name for choice in choices]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is named twice; name each {point.kind} once")
        return choices

    return check


def spelled_out(registry: Registry[Any], choice: MethodChoice, where: str) -> MethodChoice:
    """Return a choice with all its options. Raises InputError for faulty ones, naming the key `where`."""
    try:
        method = registry.get(choice.name)
    except InputError as error:  # which names the kind
        key = where.removesuffix(f".{choice.name}")
        raise InputError(str(error) if key == registry.kind else f"{key}: {error}") from None
    options = validate(method.options, choice.options, f"{where}.options")
    return MethodChoice(name=choice.name, options=options.model_dump(mode="json"))


def host_default(bare: PaperDefaults, point: Point) -> MethodChoice | None:
    """Return the host's default at a point, else the point's own; None if there is neither."""
    return bare.methods.get(point.kind) or (MethodChoice(name=point.default) if point.default else None)


def make_method(registry: Registry[T], name: str, overrides: tuple[str, ...] = ()) -> T:
    """Build a method from `option=value` strings. Raises InputError for any fault or a missing package."""
    options: dict[str, Any] = {}
    for override in overrides:
        apply_override(options, override)
    choice = spelled_out(registry, MethodChoice(name=name, options=options), f"{registry.kind}s.{name}")
    return registry.make(choice.name, choice.options)
