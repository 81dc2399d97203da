"""JSON Schema in words: the type, default and meaning of each key."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "object": "mapping",
    "null": "`null`",
}
"""Plain names for the types of JSON."""


def meaning(node: Schema) -> str:
    """Return the docstring of a field or an object, with YAML's `null` for Python's None; "" where there is none."""
    return re.sub(r"\bNone\b", "`null`", node.get("description", ""))


def anchor(name: str) -> str:
    """Return the anchor of an object's section: `ModelOptions` is at `model-options`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def in_words(name: str) -> str:
    """Return `ModelOptions` as `model options`."""
    return anchor(name).replace("-", " ")


def type_in_words(schema: Schema, field: Schema, refer: Callable[[str], str] = in_words) -> str:
    """Return the type and range of a field in words; `refer` names an object that is described elsewhere."""
    if members := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(type_in_words(schema, member, refer) for member in members)
    if "$ref" in field:
        name = _target(field)
        node = schema["$defs"][name]
        return refer(name) if "properties" in node else type_in_words(schema, node, refer)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum") or [field["const"]])
    if field["type"] == "array":
        if several := field.get("prefixItems"):
            return f"{len(several)} × {type_in_words(schema, several[0], refer)}"
        return f"list of {type_in_words(schema, field['items'], refer)}"
    return WORDS[field["type"]] + _bounds(field)


def default(schema: Schema, field: Schema) -> str:
    """Return a field's default as YAML; for an object, only what differs from the object's own defaults."""
    return _plain(_own(schema, field))


def targets(field: Schema) -> Iterator[tuple[str, bool]]:
    """Yield the names of the objects that a field may hold, and whether it holds a list of them."""
    if "$ref" in field:
        yield _target(field), False
    if "$ref" in field.get("items", {}):
        yield _target(field["items"]), True
    for member in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from targets(member)


def _target(field: Schema) -> str:
    return field["$ref"].rsplit("/", 1)[-1]


def _bounds(field: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f", {sign} {field[key]:g}" for key, sign in signs.items() if key in field)


def _own(schema: Schema, field: Schema) -> Any:
    value = field.get("default", {})
    told_apart_by = field.get("discriminator", {}).get("propertyName")
    for name, many in targets(field):
        properties = schema["$defs"][name].get("properties", {})
        if isinstance(value, dict) and not many and value.keys() <= properties.keys():
            return {
                key: _own(schema, {**properties[key], "default": inner})
                for key, inner in value.items()
                if inner != properties[key].get("default", {}) or "const" in properties[key] or key == told_apart_by
            }
    return value


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or not value.isidentifier() else value
