"""Tables lose nothing: on a narrow terminal words are folded, and what is piped has all the width that it needs."""

import io
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Column, Table
from typer.testing import CliRunner

from lada.cli.main import app
from lada.cli.rounds import round_rows
from lada.cli.tables import method_tables
from lada.core.console import PlainConsole, console
from lada.core.docstrings import field_docstrings
from lada.hosts.base import HOSTS
from lada.points import POINTS

WORDS = st.text(alphabet="abcXYZ019-_./ ", min_size=1, max_size=60)


def printed(table: Table, *, width: int | None, terminal: bool) -> str:
    out = io.StringIO()
    PlainConsole(file=out, width=width, force_terminal=terminal, color_system=None, _environ={}).print(table)
    return out.getvalue()


def letters(text: str) -> Counter[str]:
    return Counter(c for c in text if c.isalnum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(20, 120), st.booleans())
def test_every_letter_is_there(rows: list[tuple[str, str, str]], width: int, terminal: bool):
    table = Table(Column("q", no_wrap=True), "w", "e")
    for row in rows:
        table.add_row(*row)
    expected = letters("qwe" + "".join("".join(row) for row in rows))
    assert letters(printed(table, width=width, terminal=terminal)) == expected


def test_what_is_piped_has_a_row_a_line():
    table = Table("name", "what")
    table.add_row("a" * 300, "b " * 300)
    told = printed(table, width=None, terminal=False)
    assert len(told.splitlines()) == 5
    assert "a" * 300 in told
    assert ("b " * 300).strip() in told


@pytest.mark.parametrize("width", [40, 80, None])
def test_the_methods_are_told_whole(width: int | None):
    for table in method_tables():
        cells = "".join(str(cell) for column in table.columns for cell in (column.header, *column.cells))
        told = printed(table, width=width, terminal=width is not None)
        assert "…" not in told
        assert letters(told) == letters(cells + str(table.title))


def told_of(name: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "_width", 2000)
        done = CliRunner().invoke(app, ["methods", name])
    assert done.exit_code == 0
    return done.output


def test_one_method_is_told_with_all_its_options():
    told = told_of("fedmkt")
    assert told.startswith("host fedmkt: ")
    assert f"paper: {HOSTS.get('fedmkt').paper}" in told
    meanings = field_docstrings(HOSTS.get("fedmkt").options)
    for name, field in HOSTS.get("fedmkt").options.model_fields.items():
        (row,) = [line for line in told.splitlines() if line.startswith(f"│ {name} ")]
        assert " ".join(meanings[name].split()) in row
        assert repr(field.get_default(call_default_factory=True)) in row


@pytest.mark.parametrize("registry", [point.registry for point in POINTS.values()], ids=lambda registry: registry.kind)
def test_every_method_is_told(registry: Any):
    for method in registry:
        told = told_of(method.name)
        assert f"{registry.kind} {method.name}: {method.summary}" in told
        for name in method.options.model_fields:
            assert f"│ {name} " in told


@pytest.mark.parametrize(
    ("host", "rows"),
    [
        ("standalone", [("study", "private; private-more; evaluate", "–")]),
        ("fedcot", [("contribute", "private; answer", "answer → paths"), ("learn", "judge; distil; evaluate", "–")]),
        (
            "centralized",
            [
                ("pool", "pool → samples", "–"),
                ("–", "–", "pool → samples"),
                ("study", "pooled; pooled-more; evaluate", "pooled; evaluate"),
            ],
        ),
    ],
)
def test_the_round_of_a_host_is_told_from_its_steps(host: str, rows: list[tuple[str, str, str]]):
    assert list(round_rows(HOSTS.get(host))) == rows
    told = [" ".join(line.split()) for line in told_of(host).splitlines()]
    for cells in rows:
        assert f"│ {' │ '.join(cells)} │" in told


def test_a_method_that_there_is_not_has_neighbours():
    done = CliRunner().invoke(app, ["methods", "fedmk"])
    assert done.exit_code == 2
    assert "unknown name 'fedmk'" in done.stderr
    assert "did you mean 'fedmkt'?" in done.stderr
