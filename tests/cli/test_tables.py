"""What commands print loses nothing: long words are folded, brackets stay, and pipes are 80 columns wide."""

import io
from collections import Counter
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

import click
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group, RenderableType
from rich.progress import MofNCompleteColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text
from synthetic_run import make_results
from typer.main import get_command
from typer.testing import CliRunner

from lada.cli.explained import explained
from lada.cli.export import ExportView
from lada.cli.main import app
from lada.cli.planned import plan_tables
from lada.cli.rounds import round_rows
from lada.cli.summary import summary
from lada.cli.tables import method_tables
from lada.core.console import PlainConsole, console
from lada.core.docstrings import field_docstrings
from lada.core.errors import InputError
from lada.hosts.base import HOSTS
from lada.planning.compose import plan
from lada.points import POINTS
from lada.watching.live import LiveView

WORDS = st.text(alphabet="abcXYZ019-_./ ", min_size=1, max_size=60)


def printed(table: RenderableType, *, width: int | None, terminal: bool) -> str:
    out = io.StringIO()
    PlainConsole(file=out, width=width, force_terminal=terminal, color_system=None, _environ={}).print(table)
    return out.getvalue()


def letters(text: str) -> Counter[str]:
    return Counter(c for c in text if c.isalnum())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), st.integers(20, 120), st.booleans())
def test_every_letter_is_there(rows: list[tuple[str, str, str]], width: int, terminal: bool):
    table = Table(Column("q", no_wrap=True), "w", "e")
    for row in rows:
        table.add_row(*row)
    expected = letters("qwe" + "".join("".join(row) for row in rows))
    assert letters(printed(table, width=width, terminal=terminal)) == expected


def test_what_is_piped_fits_80_columns():
    table = Table("name", "what")
    table.add_row("a" * 300, "b " * 300)
    told = printed(table, width=None, terminal=False)
    assert max(map(len, told.splitlines())) == 80
    assert letters(told) == letters("name what" + "a" * 300 + "b" * 300)


def test_columns_says_how_wide_what_is_piped_is():
    out = io.StringIO()
    PlainConsole(file=out, _environ={"COLUMNS": "200"}).print("c" * 300)
    assert max(map(len, out.getvalue().splitlines())) == 200


@pytest.mark.parametrize("width", [40, 80, None])
def test_the_methods_are_told_whole(width: int | None):
    *tables, hint = method_tables()
    assert "lada methods NAME" in str(hint)
    for table in tables:
        assert isinstance(table, Table)
        cells = "".join(str(cell) for column in table.columns for cell in (column.header, *column.cells))
        told = printed(table, width=width, terminal=width is not None)
        assert "…" not in told
        assert letters(told) == letters(cells + str(table.title))
        assert max(map(len, told.splitlines())) <= (width or 80)


def told_of(name: str) -> str:
    """Return what is said of a method, on one line."""
    done = CliRunner().invoke(app, ["methods", name])
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    return " ".join(done.output.split())


def test_one_method_is_told_with_all_its_options():
    told = told_of("fedmkt")
    assert told.startswith("host fedmkt: ")
    assert f"paper: {HOSTS.get('fedmkt').paper}, https://arxiv.org/abs/2406.02224" in told
    assert "formulas: docs/methods.md#host-fedmkt" in told
    assert "needs of a student: answer, judge, study" in told
    assert "tries: whole number, ≥ 1, ≤ 1024; default 1 Maximum number of paths a party writes" in told
    assert "directions: `both`, `llm_to_slm`, `slm_to_llm`; default both" in told
    assert "server_replay: replay; default {private: 0.0, paths: 0.5, general: 0.3}" in told
    assert "replay: Shares (0 to 1)" in told
    assert "private: number, ≥ 0, < 1; required Share of private samples" in told


def test_formulas_keep_their_lines():
    lines = CliRunner().invoke(app, ["methods", "pld"]).output.splitlines()
    assert "    L = Σ_k softmax(t / τ)_π_k · (log Σ_{j ≥ k} exp(s_π_j) - s_π_k)" in lines
    lines = CliRunner().invoke(app, ["methods", "bd_kd"]).output.splitlines()
    assert lines[lines.index("    student:  w_f KL(p ‖ q) + w_r KL(q ‖ p)") + 2] == "    teacher:  KL(q ‖ p)"


@pytest.mark.parametrize("registry", [point.registry for point in POINTS.values()], ids=lambda registry: registry.kind)
def test_every_method_is_told(registry: Any):
    for method in registry:
        told = told_of(method.name)
        assert f"{registry.kind} {method.name}: {' '.join(method.summary.split())}" in told
        assert method.by_order in told
        meanings = field_docstrings(method.options)
        for name in method.options.model_fields:
            assert f" {name}: " in told
            assert " ".join(meanings[name].split()).replace("None", "`null`") in told


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
    told = told_of(host)
    for cells in rows:
        assert f"│ {' │ '.join(cells)} │" in told


def test_a_method_that_there_is_not_has_neighbours():
    done = CliRunner().invoke(app, ["methods", "fedmk"])
    assert done.exit_code == 2
    assert "unknown name 'fedmk'" in done.stderr
    assert "did you mean 'fedmkt'?" in done.stderr


BRACKETS = "pip install 'lada-fed[hub]' runs/[bold]x[/bold] [link=http://a]:smile:"


def test_brackets_are_kept_wherever_a_text_stands():
    table = Table("a [hub]", title="b [hub]", caption="c [hub]")
    table.add_row(BRACKETS)
    told = printed(Group("d [hub]", BRACKETS, table), width=200, terminal=True)
    assert told.count(BRACKETS) == 2
    assert [told.count(f"{letter} [hub]") for letter in "abcd"] == [1, 1, 1, 1]


def test_an_error_keeps_its_brackets(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit), explained():
        raise InputError(BRACKETS)
    assert capsys.readouterr().err == f"error: {BRACKETS}\n"


def test_the_bars_of_commands_take_no_markup():
    for view in (LiveView(console), ExportView(console)):
        columns = [column for column in view._progress.columns if isinstance(column, TextColumn)]
        assert columns
        assert [column.markup for column in columns if not isinstance(column, MofNCompleteColumn)] == [False] * len(
            columns
        )


def every(command: click.Command) -> Iterator[click.Command]:
    yield command
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        yield from every(below)


def test_the_help_of_commands_has_no_markup_to_take():
    for command in every(get_command(app)):
        texts = [command.help or "", *(getattr(option, "help", None) or "" for option in command.params)]
        assert [text for text in texts if Text.from_markup(text).plain != text] == []


def test_the_plan_of_the_demo_fits_80_columns_with_whole_words():
    with as_file(files("lada.examples") / "demo.yaml") as demo:
        parts = list(plan_tables(plan(demo)))
    tables = [part for part in parts if isinstance(part, Table)]
    assert "approximate time of all rounds" in [table.title for table in tables]
    for table in tables:
        told = printed(table, width=80, terminal=True)
        assert max(map(len, told.splitlines())) <= 80
        cells = [str(cell) for column in table.columns for cell in (column.header, *column.cells)]
        words = {word for cell in cells for word in cell.split()}
        assert [word for word in sorted(words) if word not in told] == []


def test_a_run_closes_with_a_table_of_80_columns():
    lines = printed(summary(make_results(("warehouse", "clinic", "kitchen"))), width=80, terminal=True).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if " → " in line and "accuracy" not in line]
    assert [line.split()[0] for line in rows] == ["llm", "clinic", "kitchen", "warehouse"]
    assert [line.count(" → ") for line in rows] == [4] * 4
