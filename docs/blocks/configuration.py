"""Every key of the configuration, section by section, from the JSON Schema that `lada schema` prints."""

from collections.abc import Iterator

from blocks.schema import table
from lada.cli.schema import Schema, anchor, meaning, targets
from lada.config import full_schema


def configuration() -> str:
    """Return one section per object of the configuration, in the order in which one meets them."""
    schema = full_schema()
    parts = ["## The file { #the-file }", meaning(schema), table(schema, schema)]
    places: dict[str, list[str]] = {}
    for name, place in _places(schema, schema, ""):
        places.setdefault(name, []).append(place)
    for name, where in places.items():
        node = schema["$defs"][name]
        first, *others = dict.fromkeys(where)
        rivals = [other for other in places if other != name and places[other][0] == first]
        parts.append(f"## `{first}`{_told_apart(node) if rivals else ''} {{ #{anchor(name)} }}")
        if others:
            parts.append("Also " + ", ".join(f"`{place}`" for place in others) + ".")
        parts += [meaning(node), table(schema, node)]
    return "\n\n".join(parts)


def _places(schema: Schema, node: Schema, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield each object below `node` with the key it stands at, depth first."""
    for key, field in node["properties"].items():
        for name, many in targets(field):
            inner = schema["$defs"][name]
            if "properties" in inner:
                place = f"{prefix}{key}" + (".NAME" if many else "")
                yield name, place
                yield from _places(schema, inner, f"{place}.")


def _told_apart(node: Schema) -> str:
    """Return what tells an object from the others that may stand at its key."""
    kind = node["properties"].get("kind", {})
    if kinds := kind.get("enum", [kind["const"]] if "const" in kind else []):
        return " with " + " or ".join(f"`kind: {name}`" for name in kinds)
    return f" with `{node['required'][0]}`"
