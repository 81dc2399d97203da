"""JSON Schema as tables for people: key, type, default, meaning."""

import json
import re
from collections.abc import Iterator
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
"""What people call the types of JSON."""


def table(schema: Schema, node: Schema) -> str:
    """Return the keys of an object `node` of `schema` as a Markdown table."""
    required = node.get("required", [])
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in node["properties"].items():
        default = "*needed*" if key in required else f"`{_plain(_own(schema, field))}`"
        cells = (f"`{key}`", kind(schema, field), default, meaning(field))
        rows.append("| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def meaning(node: Schema) -> str:
    """Return the docstring of a field or an object, with YAML's `null` for Python's None; "" where there is none."""
    return re.sub(r"\bNone\b", "`null`", node.get("description", ""))


def targets(field: Schema) -> Iterator[tuple[str, bool]]:
    """Yield the names of the objects that a field may hold, and whether it holds a list of them."""
    if "$ref" in field:
        yield field["$ref"].rsplit("/", 1)[-1], False
    if "$ref" in field.get("items", {}):
        yield field["items"]["$ref"].rsplit("/", 1)[-1], True
    for member in (*field.get("anyOf", ()), *field.get("oneOf", ())):
        yield from targets(member)


def anchor(name: str) -> str:
    """Return the anchor of an object's section: `ModelOptions` is at `model-options`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def kind(schema: Schema, field: Schema) -> str:
    """Return the type of a field in words; objects are links to their sections."""
    if members := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(kind(schema, member) for member in members)
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        node = schema["$defs"][name]
        return f"[{_words(name)}](#{anchor(name)})" if "properties" in node else kind(schema, node)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum") or [field["const"]])
    if field["type"] == "array":
        several = field.get("prefixItems")
        return f"{len(several)} × {kind(schema, several[0])}" if several else f"list of {kind(schema, field['items'])}"
    return WORDS[field["type"]] + _bounds(field)


def _bounds(field: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return "".join(f", {sign} {field[key]:g}" for key, sign in signs.items() if key in field)


def _words(name: str) -> str:
    """`ModelOptions` as `model options`."""
    return anchor(name).replace("-", " ")


def _own(schema: Schema, field: Schema) -> Any:
    """Return a field's default; of an object, what differs from the object's own defaults."""
    default = field.get("default", {})
    told_apart_by = field.get("discriminator", {}).get("propertyName")
    for name, many in targets(field):
        properties = schema["$defs"][name].get("properties", {})
        if isinstance(default, dict) and not many and default.keys() <= properties.keys():
            return {
                key: _own(schema, {**properties[key], "default": value})
                for key, value in default.items()
                if value != properties[key].get("default", {}) or "const" in properties[key] or key == told_apart_by
            }
    return default


def _plain(value: Any) -> str:
    """Return a value as one would write it in YAML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) or not value.isidentifier() else value
