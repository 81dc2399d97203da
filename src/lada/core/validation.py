"""Strict validation of plain data by a pydantic model. Errors name key, value, expectation and nearest name."""

import json
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from lada.core.errors import InputError, nearest

SECRET = re.compile("key|token|secret|password|auth", re.IGNORECASE)
"""Unknown keys whose values are not repeated."""


def validate(model: type[BaseModel], value: Any, where: str = "") -> Any:
    """Validate plain data strictly with a model. Raises InputError that lists every fault by key, value and
    expectation."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:  # such as a number with more digits than Python writes
        raise InputError(f"{where or 'configuration'}: {error}; expected plain YAML or JSON values") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            key, what = _explain(model, fault, value)
            faults.setdefault(".".join(part for part in (where, key) if part), []).append(what)
        # Each member of a union reports its own fault for one key.
        lines = [": ".join(part for part in (key, "; or ".join(whats)) if part) for key, whats in faults.items()]
        raise InputError("\n".join(lines)) from None


def _explain(model: type[BaseModel], fault: Any, value: Any) -> tuple[str, str]:
    """Return the key at fault and what is wrong with it."""
    path, given = [str(part) for part in fault["loc"]], fault["input"]
    key = _key(fault["loc"], value)
    match fault["type"]:
        case "extra_forbidden":
            known = sorted({name for kind in _kinds_at(model, path[:-1]) for name in _fields(kind)})
            expected = f"; expected one of {', '.join(known)}" if known else ""
            shown = "not shown" if SECRET.search(path[-1]) else repr(given)
            return key, f"unknown key (its value is {shown}){expected}{nearest(path[-1], known)}"
        case "missing":
            return f"{key}.{path[-1]}".lstrip("."), "missing; it has no default, so set it"
        case "union_tag_invalid" | "union_tag_not_found":
            name, tag = fault["ctx"]["discriminator"].strip("'"), fault["ctx"].get("tag")
            known = sorted({told for kind in _kinds_at(model, path) for told in _tags(kind, name)})
            what = "missing" if tag is None else f"{tag!r} is not valid"
            return f"{key}.{name}", f"{what}; expected one of {', '.join(known)}{nearest(tag or '', known)}"
        case "literal_error" | "enum":
            expected = fault["ctx"]["expected"]
            hint = nearest(given, re.findall(r"'([^']*)'", expected)) if isinstance(given, str) else ""
            return key, f"{given!r} is not valid; expected {expected}{hint}"
        case "value_error":
            return key, str(fault["ctx"]["error"])
        case _:
            message = fault["msg"]
            return key, f"{given!r} is not valid: {message[:1].lower()}{message[1:]}"


def _key(location: tuple[str | int, ...], value: Any) -> str:
    """Return a fault's location as the user's key; pydantic also names the members of unions."""
    parts = []
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _kinds_at(model: type[BaseModel], path: list[str]) -> list[Any]:
    """Return the possible types at `path` below `model`; none if unknown.

    It reads the models' own fields. pydantic's JSON Schema has the same, but takes longer than everything else before a
    run.
    """
    kinds: list[Any] = [model]
    for part in path:
        # With several types, a location names the one that was tried; its tag may also be the name of a field.
        chosen = [kind for kind in kinds if part in _names(kind)] if kinds[1:] else []
        kinds = chosen or [below for kind in kinds for below in _below(kind, part)]
    return kinds


def _names(kind: Any) -> set[str]:
    """Return how a location may refer to a member of a union: by its class, or by its tag."""
    return {getattr(kind, "__name__", ""), *(tag for name in _fields(kind) for tag in _tags(kind, name))}


def _below(kind: Any, part: str) -> list[Any]:
    if part in (fields := _fields(kind)):
        return _members(fields[part].annotation)
    return _members(get_args(kind)[0]) if get_origin(kind) in (tuple, list) else []


def _members(kind: Any) -> list[Any]:
    """Return the types of a union, or the single type, without None and annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [member for each in get_args(kind) for member in _members(each)]
    return [] if kind is NoneType else [kind]


def _fields(kind: Any) -> dict[str, FieldInfo]:
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _tags(kind: Any, name: str) -> tuple[Any, ...]:
    """Return the values that a model's field may have, if they are listed."""
    field = _fields(kind).get(name)
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
