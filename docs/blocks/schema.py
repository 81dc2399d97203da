"""JSON Schema as Markdown tables: key, type, default, meaning."""

from lada.cli.schema import Schema, anchor, default, in_words, meaning, type_in_words


def table(schema: Schema, node: Schema) -> str:
    """Return the keys of an object `node` of `schema` as a Markdown table; objects are links to their sections."""
    required = node.get("required", [])
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, field in node["properties"].items():
        value = "*needed*" if key in required else f"`{default(schema, field)}`"
        cells = (f"`{key}`", type_in_words(schema, field, _link), value, meaning(field))
        rows.append("| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _link(name: str) -> str:
    return f"[{in_words(name)}](#{anchor(name)})"
