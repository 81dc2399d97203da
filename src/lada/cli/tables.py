"""Tables of methods and tasks for the terminal."""

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from lada.cli.schema import Schema, default, in_words, meaning, type_in_words
from lada.core.errors import InputError, nearest
from lada.core.needs import Needs
from lada.core.plural import MANY
from lada.core.registry import Method
from lada.core.taxonomy import elicitation, learning
from lada.core.terms import Sample
from lada.hosts.base import HOSTS
from lada.points import POINTS
from lada.tasks.data import TaskData

INDENTED = "\n\n    "
"""How a formula begins in a docstring."""
LABELS = "public samples with gold answers"
MORE = {
    "couples_batch": "batches that are never split, so no dp",
    "observes": "batches in their order, so no dp and no parallel studies",
    "lesson_losses": "the losses of lessons step by step, so no dp and no parallel studies",
    "tries": "trial studies, so no dp",
    "own_vectors": "embeddings of the client's private questions, which stay there",
    "rejected": "a second path of each question",
    "own_paths": "both parties' own paths",
    "pools_private": "private samples of all clients in one place",
}
"""What fields of Needs mean for a user."""
EXAMPLES = 3
"""How many clients' samples are listed separately if there are many clients."""


def method_tables() -> Iterator[RenderableType]:
    """Yield one table per kind of method, then a hint on how to read more."""
    for kind, point in POINTS.items():
        table = Table(Column("name", no_wrap=True), "what it does", "paper", "facts", "tags", title=kind)
        for method in point.registry:
            table.add_row(method.name, method.summary, method.paper or "–", method.facts, ", ".join(method.tags) or "–")
        yield table
    yield Text("`lada methods NAME` shows what a method needs and what its options mean.")


def method_told(name: str) -> Iterator[RenderableType]:
    """Yield the description of each method of that name; methods of different kinds may share a name.

    Raises InputError with the nearest names if there is no such method.
    """
    found = [(kind, method) for kind, point in POINTS.items() for method in point.registry if method.name == name]
    if not found:
        known = sorted({name for point in POINTS.values() for name in point.registry.names()})
        raise InputError(f"methods: unknown name {name!r}{nearest(name, known)}; `lada methods` lists all names")
    for kind, method in found:
        yield Text(f"{kind} {name}: {_reflowed(_described(method))}")
        yield Text(f"\npaper: {_paper(method.paper)}")
        yield Text(f"facts: {method.facts}")
        yield Text(f"knowledge: {elicitation(method.tags) or 'of no kind'}")
        yield Text(f"learnt by: {learning(method.tags) or 'no rule of its own'}")
        yield Text(f"formulas: docs/methods.md#{kind}-{name}")
        for side, needs in (("teacher", method.default_needs.teacher), ("student", method.default_needs.student)):
            yield Text(f"needs of a {side}: {', '.join(sorted(needs)) or 'nothing'}")
        if more := [*_more(method.default_needs), *([LABELS] if getattr(method.make, "labels", False) else [])]:
            yield Text(f"also needs: {'; '.join(more)}")
        if method.by_order:
            yield Text(f"order: it matters, since {method.by_order}")
        if method.options.model_fields:
            yield from _options(method.options.model_json_schema())
        if kind == HOSTS.kind:
            from lada.cli.rounds import round_table  # imported here, since a list of methods does not need it

            yield Text()
            yield round_table(method)


def _described(method: Method[Any]) -> str:
    """Return a method's docstring, followed by that of its file if only the file has a formula."""
    told, module = inspect.cleandoc(method.make.__doc__ or ""), inspect.getmodule(method.make)
    if INDENTED in told or module is None or module.__name__.rpartition(".")[2] != method.name:
        return told
    _, _, more = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return f"{told}\n\n{more}" if INDENTED in f"\n\n{more}" else told


def _more(needs: Needs) -> Iterator[str]:
    """Yield in words what a method needs besides verbs."""
    if needs.signal is not None:
        what = "log-probs of shared chunks" if needs.signal.as_chunks else f"its {needs.signal.k} likeliest tokens"
        yield f"from a teacher, {what} along the {' and the '.join(needs.signal.texts)}'s texts"
    if needs.exits:
        yield f"hidden states of the student at depths {', '.join(f'{depth:g}' for depth in needs.exits)}"
    yield from (words for field, words in MORE.items() if getattr(needs, field))


def _paper(paper: str) -> str:
    archive, _, number = paper.partition(" ")
    return f"{paper}, https://arxiv.org/abs/{number}" if archive == "arXiv" else paper or "none"


def _reflowed(text: str) -> str:
    """Return a docstring with one line per paragraph, so that a terminal wraps it at its own width.

    Indented paragraphs, which hold formulas, keep their lines.
    """
    paragraphs = text.split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else " ".join(each.split()) for each in paragraphs)


def _options(schema: Schema) -> Iterator[RenderableType]:
    """Yield a method's options, then those of nested objects."""
    yield Text("\noptions", style="bold")
    yield from _fields(schema, schema)
    for name, node in schema.get("$defs", {}).items():
        if "properties" in node:
            yield Text(f"\n{in_words(name)}: {_reflowed(meaning(node))}")
            yield from _fields(schema, node)


def _fields(schema: Schema, node: Schema) -> Iterator[RenderableType]:
    required = node.get("required", ())
    for name, field in node["properties"].items():
        value = "required" if name in required else f"default {default(schema, field)}"
        yield Padding(Text(f"{name}: {type_in_words(schema, field)}; {value}"), (0, 0, 0, 2), expand=False)
        yield Padding(Text(_reflowed(meaning(field))), (0, 0, 0, 6), expand=False)


def task_tables(task: TaskData, count: int) -> Iterator[RenderableType]:
    """Yield the size and domains of each group of samples, then `count` samples of each."""
    groups: dict[str, Sequence[Sample]] = {"public": task.public, "test": task.test, "replay": task.replay}
    groups |= {f"private of {client}": samples for client, samples in sorted(task.private.items())}
    clients = sorted(task.private)
    if len(clients) > MANY:
        for client in clients[EXAMPLES:]:
            del groups[f"private of {client}"]
        groups[f"private of {len(clients) - EXAMPLES} more clients"] = [
            sample for client in clients[EXAMPLES:] for sample in task.private[client]
        ]
    table = Table("group", "samples", "domains", title="task")
    for name, samples in groups.items():
        domains = Counter(sample.domain or "–" for sample in samples)
        table.add_row(name, str(len(samples)), ", ".join(f"{domain} {n}" for domain, n in sorted(domains.items())))
    yield table
    yield from (Text(notice) for notice in task.notices)
    for name, samples in groups.items():
        for sample in samples[:count]:
            yield Text(f"{name} {sample.id}\n  {sample.question}\n  {sample.rationale or ''} [{sample.answer}]")
