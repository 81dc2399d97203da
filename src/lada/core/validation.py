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
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names of entries that a key may show instead of their places."""
EXPONENT = re.compile(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)")
"""Numbers that YAML reads as text if they lack a point or the sign of the exponent."""
EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping of keys to values"),
    "string_type": "text",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "string_pattern_mismatch": "text that matches {pattern}",
}
"""What pydantic expected, by the type of its error, in the words of a YAML file."""


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
        lines = [": ".join(part for part in (key, _either(whats)) if part) for key, whats in faults.items()]
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
        case kind:
            return key, f"{given!r} is not valid{_expected(fault)}{_unquoted(given, kind)}"


def _expected(fault: Any) -> str:
    """Return what pydantic expected, in our words if we have some."""
    if expected := EXPECTED.get(fault["type"]):
        return f"; expected {expected.format(**fault.get('ctx', {}))}"
    message = fault["msg"]
    return f": {message[:1].lower()}{message[1:]}"


def _either(whats: list[str]) -> str:
    """Return one text for the faults of one key: each member of a union reports its own."""
    first, *rest = whats
    start = first[: first.find("; expected ") + len("; expected ")]
    if "; expected " in first and all(what.startswith(start) for what in rest):
        return " or ".join([first, *(what.removeprefix(start) for what in rest)])
    return "; or ".join(whats)


def _unquoted(given: Any, fault: str) -> str:
    """Return how to write a number that YAML read as text, or `""`."""
    if not isinstance(given, str) or not fault.startswith(("int", "float")):
        return ""
    if found := EXPONENT.fullmatch(given):
        whole, point, sign, power = found.groups()
        return f"; YAML reads this as text, so write {whole}{point or '.0'}e{sign or '+'}{power}"
    return "; write it without quotes" if re.fullmatch(r"[-+]?\d+(\.\d+)?", given) else ""


def _key(location: tuple[str | int, ...], value: Any) -> str:
    """Return a fault's location as the user's key, with the names of list entries that have one.

    pydantic's location also names the members of unions.
    """
    parts = []
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        name = value.get("name") if isinstance(part, int) and isinstance(value, dict) else None
        parts.append(name if isinstance(name, str) and NAME.fullmatch(name) else str(part))
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
