"""`--set key.path=value` over plain data."""

import json
from typing import Any

import yaml

from lada.core.errors import InputError, nearest


def plain(data: Any) -> Any:
    """Return a copy as JSON would hold it; values without a JSON form, such as dates, become strings."""
    try:
        return json.loads(json.dumps(data, default=str))
    except (TypeError, ValueError, RecursionError) as error:  # a YAML alias may make a cycle
        raise InputError(f"configuration: {error}; expected plain YAML or JSON values") from None


def apply_override(data: Any, override: str) -> None:
    """Set one key of plain data by `key.path=value`; the value is YAML. Raises InputError for any fault."""
    key, equals, text = override.partition("=")
    *parents, last = key.split(".")
    if not equals or not all((*parents, last)):
        raise InputError(f"--set {override!r}: expected key=value, such as rounds=3 or allocator.name=random")
    node = data
    for parent in parents:
        if isinstance(node, list):
            node = node[_index(node, parent, override)]
        else:
            if isinstance(node.get(parent), str):  # the short form of a method
                node[parent] = {"name": node[parent]}
            elif node.get(parent) is None:
                node[parent] = {}
            node = node[parent]
        if not isinstance(node, (dict, list)):
            raise InputError(f"--set {override!r}: {parent!r} is {node!r} and has no keys below it")
    try:
        value = plain(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"--set {override!r}: {text!r} is not valid YAML") from None
    if isinstance(node, list):
        node[_index(node, last, override)] = value
    else:
        node[last] = value


def _index(node: list[Any], part: str, override: str) -> int:
    """Return the position a path part names: a number, or the `name` of an entry."""
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in node]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(node):
        return int(part)
    known = [name if isinstance(name, str) else str(number) for number, name in enumerate(names)]
    expected = f"expected one of {', '.join(known)}" if known else "the list is empty"
    raise InputError(f"--set {override!r}: no entry {part!r}; {expected}{nearest(part, known)}")
