"""Plain data against a pydantic model, strictly; what is wrong is told by key, value, expectation and nearest name."""

import json
import re
from typing import Any

from pydantic import BaseModel, ValidationError

from lada.core.errors import InputError, nearest

SECRET = re.compile("key|token|secret|password|auth", re.IGNORECASE)
"""In the names of unknown keys whose values are not repeated."""


def validate(model: type[BaseModel], value: Any, where: str = "") -> Any:
    """Validate plain data strictly against a model; InputError lists every fault by key, value and expectation."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:  # such as a number of more digits than Python writes
        raise InputError(f"{where or 'configuration'}: {error}; expected plain YAML or JSON values") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            key, what = _explain(model, fault, value)
            faults.setdefault(".".join(part for part in (where, key) if part), []).append(what)
        # A union's members each have a fault of their own to tell of one key.
        lines = [": ".join(part for part in (key, "; or ".join(whats)) if part) for key, whats in faults.items()]
        raise InputError("\n".join(lines)) from None


def _explain(model: type[BaseModel], fault: Any, value: Any) -> tuple[str, str]:
    """Return the key at fault and what is wrong with it."""
    path, given = [str(part) for part in fault["loc"]], fault["input"]
    key = _key(fault["loc"], value)
    match fault["type"]:
        case "extra_forbidden":
            known = sorted(_node_at(model, path[:-1]).get("properties", {}))
            expected = f"; expected one of {', '.join(known)}" if known else ""
            shown = "not shown" if SECRET.search(path[-1]) else repr(given)
            return key, f"unknown key (its value is {shown}){expected}{nearest(path[-1], known)}"
        case "missing":
            return f"{key}.{path[-1]}".lstrip("."), "missing; it has no default, so set it"
        case "union_tag_invalid" | "union_tag_not_found":
            known = sorted(_node_at(model, path).get("discriminator", {}).get("mapping", {}))
            kind, tag = fault["ctx"]["discriminator"].strip("'"), fault["ctx"].get("tag")
            what = "missing" if tag is None else f"{tag!r} is not valid"
            return f"{key}.{kind}", f"{what}; expected one of {', '.join(known)}{nearest(tag or '', known)}"
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
    """Return a fault's location as the key that its author wrote: pydantic also names the members of unions."""
    parts = []
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _node_at(model: type[BaseModel], path: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of what stands at `path` below `model`; {} where that cannot be told."""
    schema = model.model_json_schema()
    node = schema
    for part in path:
        node = _follow(schema, node)
        if "properties" in node and part in node["properties"]:
            node = node["properties"][part]
        elif "items" in node:
            node = node["items"]
        elif part in (mapping := node.get("discriminator", {}).get("mapping", {})):
            node = {"$ref": mapping[part]}
        elif found := [n for n in node.get("oneOf", []) if n.get("$ref") == f"#/$defs/{part}"]:
            node = found[0]
        else:
            return {}
    return _follow(schema, node)


def _follow(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif options := [n for n in node.get("anyOf", []) if n.get("type") != "null"]:
            if len(options) != 1:
                return node
            node = options[0]
        elif len(node.get("allOf", [])) == 1:
            node = node["allOf"][0]
        else:
            return node
