"""Nothing that a model, a sample or another party wrote steers a terminal, breaks a line or turns one around."""

import io
import json
import logging
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lada.core import logs
from lada.core.console import PlainConsole, console, errors
from lada.core.shown import in_one_line, shown, shown_json
from lada.federation.client_app import ERROR_LOG, _log
from lada.federation.messages import Envelope
from lada.report.page import _environment
from lada.watching.live import LiveView

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\x00\x08\x7f\r\u202eevil\u2066\u2028\U000e0041\ud800[bold red]x[/] :smile:"
ACTING = [c for c in HOSTILE if ord(c) < 32 or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")]


def acts(text: str) -> list[str]:
    return [c for c in ACTING if c in text]


def test_what_acts_is_spelled_out_and_all_else_stays():
    assert shown("\x1b[2J\x9b\u202e\U000e0041\ud800 a\tb\n") == "\\x1b[2J\\x9b\\u202e\\U000e0041\\ud800 a\tb\n"
    assert in_one_line("a\nb\tc\r\n") == "a\\nb\\tc\\r\\n"
    kept = "naïve 日本 עברית می\u200cخواهم क्\u200dष 👩\u200d🚀 [b] <i>"
    assert shown(kept) == kept
    page = shown(Markup("<b>\u202e</b>"))
    assert (page, type(page)) == ("<b>\\u202e</b>", Markup)


# Format characters that have a shape of their own or give others theirs.
SEEN = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"


def test_of_all_format_characters_those_alone_stay_that_are_seen():
    formats = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cf"]
    assert [c for c in formats if shown(c) == c] == sorted(set(SEEN) & set(formats))
    assert shown("pay \u200e\u200f\u061cme") == "pay \\u200e\\u200f\\u061cme"
    assert in_one_line("a\xadb\u200bc\ufeff") == "a\\xadb\\u200bc\\ufeff"


def test_of_all_that_is_drawn_as_nothing_the_joiners_alone_stay():
    ignorable = regex.findall(r"\p{Default_Ignorable_Code_Point}", "".join(map(chr, range(0x110000))))
    assert len(ignorable) > 4000
    assert {"\u034f", "\u3164", "\ufe0f", "\U000e01ef", "\U000e0fff"} < set(ignorable)
    assert [c for c in ignorable if shown(f"a{c}b") == f"a{c}b"] == ["\u200c", "\u200d"]
    hieroglyphs = list(map(chr, range(0x13430, 0x13440)))
    assert [c for c in hieroglyphs if in_one_line(c) == c] == []
    assert shown_json('"\U000e0100"') == '"\\udb40\\udd00"'


@pytest.mark.parametrize(
    "emoji", ["❤\ufe0f", "1\ufe0f\u20e3", "#\ufe0f\u20e3", "👁\ufe0f\u200d🗨\ufe0f", "🏳\ufe0f\u200d🌈", "©\ufe0f"]
)
def test_the_selector_of_emoji_stays_where_it_selects_one(emoji: str):
    assert shown(emoji) == in_one_line(emoji) == emoji
    assert shown(f"{emoji[:1]}\ufe0e") == f"{emoji[:1]}\\ufe0e"


@pytest.mark.parametrize("before", ["", "a", "1", "#", " ", "é", "日", "\n", "❤\ufe0f", "\u200d"])
def test_elsewhere_it_is_spelled_out(before: str):
    assert shown(f"{before}\ufe0f") == f"{before}\\ufe0f"


@given(st.text() | st.text(alphabet=HOSTILE) | st.text(alphabet="1#a❤\ufe0f\u20e3\u200d\ufe0e\u3164"))
def test_nothing_acts_afterwards_and_a_second_time_changes_nothing(text):
    for make in (shown, in_one_line):
        told = make(text)
        assert not any(unicodedata.category(c) in ("Cs", "Zl", "Zp") for c in told)
        assert not any(unicodedata.category(c) == "Cc" for c in told if c not in "\n\t" or make is in_one_line)
        assert make(told) == told
        told.encode()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_says_the_same(text):
    told = shown_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(told) == {text: [text]}
    assert not acts(told)


def printed(*what, terminal=False) -> str:
    out = io.StringIO()
    plain = PlainConsole(file=out, force_terminal=terminal, width=200, color_system="truecolor" if terminal else None)
    for each in what:
        plain.print(each)
    return out.getvalue()


def test_a_console_shows_it_in_every_place():
    table = Table("head", title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    told = printed(HOSTILE, Text(HOSTILE), table)
    assert not acts(told)
    assert told.count("\\x1b[2J") == 6
    assert told.count("[bold red]x[/] :smile:") == 6
    assert isinstance(console, PlainConsole)
    assert isinstance(errors, PlainConsole)


def test_a_terminal_gets_rich_s_own_codes_and_no_others():
    told = printed(Text("styled", style="bold"), terminal=True)
    assert told == "\x1b[1mstyled\x1b[0m\n"
    out = io.StringIO()
    with Live(Text(HOSTILE), console=PlainConsole(file=out, force_terminal=True, width=200), auto_refresh=False):
        pass
    assert "\\x1b[2J" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_the_live_view_keeps_an_event_in_its_line():
    out = io.StringIO()
    view = LiveView(PlainConsole(file=out, force_terminal=False))
    view.emit({"kind": "phase", "time": 0.0, "party": f"a\nerror: {HOSTILE}", "phase": "x"})
    assert len(out.getvalue().splitlines()) == 1
    assert not acts(out.getvalue())


@pytest.mark.parametrize("form", [logs.Lines("%(asctime)s %(message)s"), logs.JsonLines()])
def test_a_log_line_stays_one(form):
    text = f"refused: x\n2026-01-01 00:00:00 all is well {HOSTILE}"
    told = form.format(logging.LogRecord("lada.worker", logging.ERROR, "", 0, "%s", (text,), None))
    assert len(told.splitlines()) == 1
    assert "all is well" in told
    assert not acts(told)


def test_an_error_s_text_cannot_pass_for_another_entry_of_the_log(tmp_path):
    text = f"ValueError: x\n2026-01-01T00:00:00+00:00 reference 00000000, run r, round 1, phase p\n{HOSTILE}"
    _log(tmp_path, Envelope("run", "learn", 1, "clinic"), "abcd1234", text)
    lines = (tmp_path / ERROR_LOG).read_text().splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [lines[0]]
    assert not acts("\n".join(lines))


def test_a_page_spells_it_out():
    page = _environment().from_string("{{ text }} {% for t in [text] %}{{ t }}{% endfor %} {{ markup }}")
    told = page.render(text=f"<i>{HOSTILE}", markup=Markup("<b>{}</b>").format(HOSTILE))
    assert not acts(told)
    assert told.count("\\x1b[2J") == 3
    assert "&lt;i&gt;" in told
    assert "<b>" in told
