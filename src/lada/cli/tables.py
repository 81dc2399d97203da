"""Tables of methods and tasks for the terminal."""

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from lada.core.docstrings import field_docstrings
from lada.core.errors import InputError, nearest
from lada.core.plural import MANY
from lada.core.registry import Options
from lada.core.terms import Sample
from lada.hosts.base import HOSTS
from lada.points import POINTS
from lada.tasks.data import TaskData

EXAMPLES = 3
"""Of many clients, the samples of so many are listed by themselves."""


def method_tables() -> Iterator[Table]:
    """Yield one table per kind of method."""
    for kind, point in POINTS.items():
        table = Table(
            Column("name", no_wrap=True),
            "what it does",
            "paper",
            "facts",
            "needs of a learner",
            "options",
            title=kind,
        )
        for method in point.registry:
            options = ", ".join(
                name if field.is_required() else f"{name}={field.get_default(call_default_factory=True)!r}"
                for name, field in method.options.model_fields.items()
            )
            table.add_row(
                method.name,
                method.summary,
                method.paper or "–",
                method.status,
                ", ".join(sorted(method.default_needs.teacher | method.default_needs.student)) or "–",
                Text(options or "–"),
            )
        yield table


def method_told(name: str) -> Iterator[RenderableType]:
    """Yield what there is to say of each method of that name: methods of several kinds may share one.

    Raises InputError with the nearest names where there is none.
    """
    found = [(kind, method) for kind, point in POINTS.items() for method in point.registry if method.name == name]
    if not found:
        known = sorted({name for point in POINTS.values() for name in point.registry.names()})
        raise InputError(f"methods: unknown name {name!r}; expected one of {', '.join(known)}{nearest(name, known)}")
    for kind, method in found:
        yield Text(f"{kind} {name}: {inspect.cleandoc(method.make.__doc__ or '')}")
        yield Text(f"paper: {method.paper or 'none'}")
        yield Text(f"facts: {method.status}")
        for side, needs in (("teacher", method.default_needs.teacher), ("student", method.default_needs.student)):
            yield Text(f"needs of a {side}: {', '.join(sorted(needs)) or 'nothing'}")
        if method.options.model_fields:
            yield _options(method.options)
        if kind == HOSTS.kind:
            from lada.cli.rounds import round_table  # here, since a list of methods takes nothing of what it imports

            yield round_table(method)


def _options(options: type[Options]) -> Table:
    table = Table(Column("option", no_wrap=True), "default", "what it is", title="options")
    told = field_docstrings(options)
    for name, field in options.model_fields.items():
        default = "none: set it" if field.is_required() else repr(field.get_default(call_default_factory=True))
        table.add_row(name, default, " ".join(told.get(name, "–").split()))
    return table


def task_tables(task: TaskData, count: int) -> Iterator[RenderableType]:
    """Yield sizes and domains of each group of samples, then `count` samples of each."""
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
