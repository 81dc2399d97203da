"""Every registered method: paper, facts, needs and options, from the registries."""

from collections.abc import Iterator

from blocks.schema import table
from lada.cli.rounds import HEADER, round_rows
from lada.cli.schema import anchor, meaning
from lada.core.registry import Method
from lada.core.taxonomy import ELICITATION, LEARNING, elicitation, learning
from lada.core.terms import Verb
from lada.hosts.base import HOSTS
from lada.points import POINTS


def methods() -> str:
    """Return one section per kind of method, with one below it per method."""
    parts = []
    for kind, point in POINTS.items():
        parts.append(f"## {kind} {{ #kind-{kind} }}")
        for method in point.registry:
            parts += _method(kind, method)
    return "\n\n".join(parts)


def tags() -> str:
    """Return a table of all tags, each with its meaning and the methods that have it."""
    found = [(kind, method) for kind, point in POINTS.items() for method in point.registry]
    rows = [("tag", "meaning", "methods"), ("---",) * 3]
    for tag, means in {**ELICITATION, **LEARNING}.items():
        named = [f"[`{m.name}`](options.md#{kind}-{m.name})" for kind, m in found if tag in m.tags]
        rows.append((f"`{tag}`", means, ", ".join(named) or "–"))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _method(kind: str, method: Method) -> Iterator[str]:
    schema = method.options.model_json_schema()
    yield f"### `{method.name}` {{ #{kind}-{method.name} }}"
    yield method.summary
    needs = method.default_needs
    yield (
        f"Paper: {_paper(method.paper)}. Facts: [{method.status}](methods.md#{kind}-{method.name}). "
        f"Needs of the teacher: {_verbs(needs.teacher)}; of the student: {_verbs(needs.student)}. "
        f"Knowledge: {elicitation(method.tags) or 'of no kind'}; "
        f"learnt by: {learning(method.tags) or 'no rule of its own'}."
    )
    if method.by_order:
        yield f"The order of samples matters: {method.by_order}."
    if kind == HOSTS.kind:
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in (HEADER, ("---",) * len(HEADER), *round_rows(method)))
    if not schema.get("properties"):
        yield "No options."
        return
    if schema.get("description"):
        yield meaning(schema)
    # Objects within the options are shown below them; their anchors are the method's own.
    inner = schema.get("$defs", {})
    within = f"](#{kind}-{method.name}-"
    yield table(schema, schema).replace("](#", within)
    for name, node in inner.items():
        if "properties" not in node:  # a choice of words, which the table spells out
            continue
        yield f"#### {method.name}: {anchor(name).replace('-', ' ')} {{ #{kind}-{method.name}-{anchor(name)} }}"
        yield meaning(node)
        yield table(schema, node).replace("](#", within)


def _paper(paper: str) -> str:
    archive, _, number = paper.partition(" ")
    return f"[{paper}](https://arxiv.org/abs/{number})" if archive == "arXiv" else paper or "none"


def _verbs(verbs: frozenset[Verb]) -> str:
    return ", ".join(f"`{verb}`" for verb in sorted(verbs)) or "nothing"
