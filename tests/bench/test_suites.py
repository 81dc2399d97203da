"""Suites: from YAML to cells, through real runs to tables that are the same when they are made again."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import warm
from made import SUITE, WORK, made, suite_file
from markupsafe import escape
from typer.testing import CliRunner

from lada.allocators.base import ALLOCATORS
from lada.bench import leaderboard
from lada.bench.bounded import AVX2, bounded
from lada.bench.layers import merged
from lada.bench.outcome import Outcome, outcome
from lada.bench.pages import write_pages
from lada.bench.pretraining import pretrain, untrained
from lada.bench.running import SAME, Processes, Store, _verdict, at_once, comparable
from lada.bench.standings import EVERYWHERE, sections
from lada.bench.suite import read_suite, shipped
from lada.cli.main import app
from lada.codecs import times
from lada.core.errors import InputError, LadaError
from lada.core.plugins import add_plugins, load_plugins
from lada.federation import ledger
from lada.federation.run_folder import newest


def lada(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    """Let cells run in forks of an interpreter that has imported what they need."""

    def call(self: Processes, command: Sequence[str], log: Path) -> int:
        return warm.start(*command[1:], log=log, env=bounded()).wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Processes, "call", call)
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """The folder in which the suite was run by its command."""
    place = tmp_path_factory.mktemp("bench")
    where = ["--results", place / "results", "--runs", place / "runs", "--parallel", 2]
    done = lada("bench", "--suite", suite_file(place, worlds=[1]), *where)
    assert done.exit_code == 0, done.output
    return place


def test_a_suite_leaves_cells_tables_and_reports(ran):
    cells = [Outcome.model_validate_json(line) for line in (ran / "results/tiny/cells.jsonl").read_text().splitlines()]
    told = [(cell.row, cell.world, cell.seed, cell.questions) for cell in cells]
    assert told == [("lada", 1, 0, 14), ("standalone", 1, 0, 14)]
    assert {cell.suite for cell in cells} == {hashlib.sha256((ran / "suite.yaml").read_bytes()).hexdigest()[:16]}
    for cell in cells:
        here = torch.backends.cpu.get_cpu_capability()
        assert cell.environment.instructions.split(", ")[0] == {"AVX512": "AVX2"}.get(here, here)
        for member in cell.members.values():
            assert 100 * member.verdicts(cell.questions).mean() == pytest.approx(member.after["overall"], abs=1e-4)
    readme = (ran / "results/tiny/README.md").read_text()
    assert "| lada | public rationales, others' paths, log-probs | 1 | 1 |" in readme
    assert "Two rows." in readme
    assert "regenerates it: 2 of 2 cells" in readme
    page = (ran / "results/tiny/leaderboard.html").read_text()
    links = re.findall(r'href="([^"#]+report\.html)"', page)
    assert len(links) == 2
    assert all((ran / "results/tiny" / link).resolve().is_file() for link in links)


def test_pages_are_written_of_the_cells_that_are_there_and_none_is_run(ran, tmp_path):
    (tmp_path / "tiny").mkdir()
    first, _ = (ran / "results/tiny/cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "tiny/cells.jsonl").write_text(first)
    done = lada("bench", "--suite", ran / "suite.yaml", "--pages", "--results", tmp_path, "--runs", tmp_path / "runs")
    assert done.exit_code == 0, done.output
    assert "regenerates it: 1 of 2 cells" in (tmp_path / "tiny/README.md").read_text()
    assert (tmp_path / "tiny/leaderboard.html").exists()
    assert (tmp_path / "tiny/cells.jsonl").read_text() == first
    assert not (tmp_path / "runs").exists()


def test_every_number_of_the_tables_follows_from_the_cells(ran, root):
    command = [sys.executable, str(root / "results/recompute.py"), str(ran / "results/tiny")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"(\d+) of \1 numbers are the same\n", done.stdout)


@pytest.mark.parametrize(("capability", "has_it"), [("AVX512", True), ("AVX2", True), ("DEFAULT", False)])
def test_a_cell_uses_no_instructions_newer_than_avx2_and_only_those_that_are_there(monkeypatch, capability, has_it):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for name in AVX2:
        monkeypatch.delenv(name, raising=False)
    assert {name: value for name, value in bounded().items() if name in AVX2} == (AVX2 if has_it else {})
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert bounded()["MKL_CBWR"] == "COMPATIBLE"
    assert bounded()["OMP_NUM_THREADS"] == "1"


def test_what_is_done_is_not_run_again_and_random_cells_come_out_the_same(ran):
    where = ["--results", ran / "results", "--runs", ran / "runs"]
    assert "0 of 2 cells would be run" in lada("bench", "--suite", ran / "suite.yaml", *where, "--dry-run").output
    before = (ran / "results/tiny/cells.jsonl").read_bytes()
    again = lada("bench", "--suite", ran / "suite.yaml", *where, "--check", 1)
    assert (again.exit_code, again.output.count("the same to the digit")) == (0, 1)
    assert "2 of 2 cells are from these versions and this kind of processor\n" in again.output
    assert (ran / "results/tiny/cells.jsonl").read_bytes() == before


def test_cells_of_this_kind_of_processor_are_run_again_before_those_of_others(ran, tmp_path, monkeypatch):
    from lada.bench import running

    suite, store, asked = read_suite(str(ran / "suite.yaml")), Store(tmp_path / "tiny"), []
    monkeypatch.setattr(running, "run_again", lambda cells, *_, **__: asked.append(list(cells)) or {"one": SAME})
    cells = list(suite.cells())
    command = ["bench", "--suite", ran / "suite.yaml", "--results", tmp_path, "--check", 1]
    for moved in range(3):
        for place, cell in enumerate(cells):
            found = Store(ran / "results/tiny").get(cell)
            assert found is not None
            away = found.environment.model_copy(update={"processor": "other"})
            store.add(found.model_copy(update={"environment": away}) if place < moved else found)
        assert comparable(cells, store) == cells[moved:]
        told = f"{2 - moved} of 2 cells are from these versions and this kind of processor"
        assert told + ("; others are run again" if moved == 2 else "\n") in lada(*command).output
    assert asked == [cells, cells[1:], cells]


def test_checking_what_was_never_run_is_an_error_that_says_what_to_do(tmp_path):
    told = lada("bench", "--suite", suite_file(tmp_path), "--results", tmp_path, "--check", 1)
    assert told.exit_code == 2
    assert "has none of these cells; run the suite first" in " ".join(told.output.split())


def test_what_is_sent_again_after_an_interruption_counts_once(ran, tmp_path):
    cell = read_suite(str(ran / "suite.yaml")).cells()[0]
    whole = newest(ran / "runs/tiny" / f"{cell.name}-{cell.digest}", cell.name)
    assert whole is not None
    again = tmp_path / whole.name
    shutil.copytree(whole, again)
    rows = ledger.read(again)
    other = [replace(row, digest="0" * 64) for row in rows if row.kind == times.KIND]  # of another day
    with ledger.Ledger(again, earlier=[*rows, *rows[:5], *other]):
        pass
    assert len(ledger.read(again)) == len(rows) + 5 + len(other)
    assert other
    assert outcome(cell, again) == outcome(cell, whole)
    assert outcome(cell, whole).bytes == sum(row.bytes for row in rows)


def test_a_cell_that_is_run_again_does_not_count_its_messages_twice(ran, tmp_path):
    for part in ("results", "runs"):
        shutil.copytree(ran / part, tmp_path / part)
    where = ["--results", tmp_path / "results", "--runs", tmp_path / "runs"]
    assert lada("bench", "--suite", ran / "suite.yaml", *where, "--only", "standalone", "--fresh").exit_code == 0
    (cell,) = (cell for cell in read_suite(str(ran / "suite.yaml")).cells() if cell.key.row == "standalone")
    old, new = (newest(place / "runs/tiny" / f"{cell.name}-{cell.digest}", cell.name) for place in (ran, tmp_path))
    assert old is not None
    assert new is not None
    assert len(ledger.read(new)) == len(ledger.read(old))


def test_another_configuration_is_another_cell(ran, tmp_path):
    changed = suite_file(tmp_path, worlds=[1], each_client={"private": {"steps": 2}, "distil": {"steps": 1}})
    where = ["--results", ran / "results", "--runs", ran / "runs", "--dry-run"]
    assert "2 of 2 cells would be run" in lada("bench", "--suite", changed, *where).output


PART = ["--only", "race", "--only", "oracle", "--scenario", "lineups"]


def test_a_part_of_a_suite_can_be_run(tmp_path):
    suite = read_suite("skips")
    known = {(row, scenario) for scenario in suite.scenarios for row in suite.rows}
    part = lada("bench", "--suite", "skips", "--results", tmp_path, "--dry-run", *PART).output.splitlines()
    told = {(row, scenario) for row, scenario in known if any(line.startswith(f"{scenario}, {row},") for line in part)}
    assert told == {("race", "lineups"), ("oracle", "lineups")}
    assert "32 of 32 cells would be run" in part[-1]  # two rows, two tracks, eight worlds
    wrong = lada("bench", "--suite", "skips", "--scenario", "lineup")
    assert wrong.exit_code == 2
    assert "--scenario: no scenario 'lineup'; expected some of rulebooks, lineups, learning" in wrong.output


PLUGIN = """from lada.allocators.base import ALLOCATORS
from lada.allocators.all import All
from lada.allocators.selection import Gold


@ALLOCATORS.register("mine", options=Gold)
class Mine(All):
    '''Everything, by another name.'''


@ALLOCATORS.register("broken", options=Gold)
class Broken(All):
    '''Fails.'''

    def apply(self, *arguments, **more):
        raise RuntimeError("out of order")
"""


@pytest.fixture
def unplugged(monkeypatch):
    """Plug-ins are not loaded yet in this process, and what a test adds goes with it."""
    ALLOCATORS.names()
    monkeypatch.setattr(ALLOCATORS, "_methods", dict(ALLOCATORS._methods))
    monkeypatch.setattr(ALLOCATORS, "_loaded", False)
    monkeypatch.setenv("LADA_PLUGINS", "")
    load_plugins.cache_clear()


@pytest.mark.usefixtures("unplugged")
def test_a_method_from_a_file_is_listed_and_runs_in_a_suite_and_one_that_fails_stops_no_other(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(PLUGIN)
    rows = {name: {"config": {"allocator": name, "objective": "sft"}} for name in ("broken", "mine")}
    file = suite_file(tmp_path, rows=rows, tables=[{"title": "Mine", "rows": ["mine"], "against": "mine"}])
    monkeypatch.chdir(tmp_path)
    listed = lada("methods", "--plugin", "mine.py")
    assert "mine" in listed.stdout, listed.output
    done = lada("bench", "--suite", file, "--plugin", "mine.py")
    assert done.exit_code == 1, done.output
    assert "failed: alone, broken, world 0, seed 0; see " in done.stderr
    (log,) = (tmp_path / "runs" / "bench" / "tiny").glob("alone-broken-world-0-seed-0-*/log.txt")
    assert "out of order" in log.read_text()
    assert "| mine | public rationales, others' paths | 1 |" in (tmp_path / "results/tiny/README.md").read_text()


def test_a_plugin_that_is_not_there_is_told_by_name():
    done = lada("methods", "--plugin", "mine.py")
    assert done.exit_code == 2
    assert re.search(r"mine\.py' does not exist; expected the path of a \.py file", done.stderr)


@pytest.mark.parametrize(("text", "told"), [("raise RuntimeError('boom')", "boom"), ("def broken(", "SyntaxError")])
def test_a_plugin_that_cannot_be_imported_is_told_by_name_and_fault(tmp_path, text, told, monkeypatch):
    plugin = tmp_path / "mine.py"
    plugin.write_text(text)
    monkeypatch.setenv("LADA_PLUGINS", "")
    add_plugins([plugin])
    load_plugins.cache_clear()  # an earlier test may have loaded those that there were
    with pytest.raises(InputError, match=rf"mine\.py' cannot be imported: .*{told}.*; fix the file"):
        load_plugins()


@pytest.mark.slow
def test_a_suite_that_is_stopped_goes_on_where_it_was(tmp_path):
    row = {"standalone": SUITE["rows"]["standalone"]}
    table = {"title": "Methods", "rows": ["standalone"], "against": "standalone"}
    slower = {"private": {"steps": 40}, "distil": {"steps": 40}}
    file = suite_file(tmp_path, each_client=slower, rows=row, tables=[table])
    command = [sys.executable, "-m", "lada", "bench", "--suite", file, "--parallel", "1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell's background jobs have it
    )
    events = tmp_path / "runs" / "bench" / "tiny"
    deadline = time.monotonic() + 120
    while not list(events.glob("*/*/events.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "run the same command again for the others" in " ".join(told.split())
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (first,) = events.glob("alone-standalone-world-0-seed-0-*/")
    assert [run.name for run in first.iterdir() if run.is_dir()] == [
        "alone-standalone-world-0-seed-0"
    ]  # resumed, not started again


def test_layers_merge_and_another_method_replaces_the_one_before():
    below = {"host": {"name": "fedmkt", "options": {"directions": "both"}}, "task": {"public": 1, "world": 2}}
    assert merged(below, {"task": {"public": 9}})["task"] == {"public": 9, "world": 2}
    assert merged(below, {"host": {"name": "other"}})["host"] == {"name": "other"}
    assert merged(below, {"host": {"name": "fedmkt", "options": {"trust": "off"}}})["host"]["options"] == {
        "directions": "both",
        "trust": "off",
    }
    assert merged(below, {"host": "other"})["host"] == "other"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": []}, "empty"),
        ({"seeds": [1, 1]}, "twice"),
        ({"rows": {"a": {"scenarios": ["alon"]}}}, "did you mean 'alone'"),
        ({"tables": [{"title": "T", "rows": ["ladder"], "against": "lada"}]}, "did you mean 'lada'"),
        ({"sceanrios": {}}, "scenarios"),
        ({"base": "dmo"}, "no example"),
        ({"rows": {"lada": {"config": {"roundz": 1}}, "standalone": {}}}, "row 'lada', scenario 'alone'"),
    ],
)
def test_a_faulty_suite_is_refused_by_key_value_and_fix(tmp_path, changes, told):
    with pytest.raises(InputError, match=re.escape(told)):
        read_suite(suite_file(tmp_path, **changes)).cells()


def test_a_suite_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(InputError, match="did you mean 'quick'"):
        read_suite("quik")


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_suite_has_only_cells_that_can_run(name):
    suite = read_suite(name)
    assert suite.name == name
    of_one_seed = suite.model_copy(update={"seeds": suite.seeds[:1]})
    names = [cell.name for cell in of_one_seed.cells()]
    assert len(set(names)) == len(names) == len(list(suite.reported())) / len(suite.seeds) > 0


def test_models_that_nobody_trained_are_trained_first_bounded_as_cells_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = {"model": {"model": "zoo:llm-world-1"}}
    work = WORK | {"task": WORK["task"] | {"world": 1}, "server": WORK["server"] | server}
    cells = read_suite(suite_file(tmp_path, scenarios={"alone": {"config": work}})).cells()
    assert untrained(cells) == ["llm-world-1"]
    assert untrained(read_suite("quick").cells()) == []
    calls = []

    def call(self, command, log):
        calls.append((command[1:], log.name))
        return len(calls) - 1

    monkeypatch.setattr(Processes, "call", call)
    pretrain(untrained(cells), tmp_path / "logs", parallel=2)
    assert calls == [(["-m", "lada", "zoo", "build", "llm-world-1"], "llm-world-1.txt")]
    with pytest.raises(LadaError, match=r"could not be trained: llm-world-1 \(see .*llm-world-1\.txt\)"):
        pretrain(untrained(cells), tmp_path / "logs", parallel=2)
    (tmp_path / "zoo/llm-world-1").mkdir(parents=True)
    (tmp_path / "zoo/llm-world-1/card.json").write_text("{}")
    assert untrained(cells) == []


def test_a_model_without_a_recipe_is_told_by_name(tmp_path):
    client = {"name": "warehouse", "domains": ["warehouse"], "model": {"model": "zoo:slm-lama"}}
    file = suite_file(tmp_path, scenarios={"alone": {"config": WORK | {"clients": [client]}}})
    done = lada("bench", "--suite", file, "--results", tmp_path / "results", "--dry-run")
    assert done.exit_code == 2
    assert "did you mean 'slm-llama'" in done.output


def test_memory_bounds_how_many_cells_run_at_once(tmp_path, monkeypatch):
    from lada.bench import running
    from lada.planning.machine import Device

    cells = read_suite(suite_file(tmp_path)).cells()
    monkeypatch.setattr(running, "cores", lambda: 64)
    for free, most in ((1, 1), (5 << 30, 4)):
        monkeypatch.setattr(running, "devices", lambda free=free: (Device("cpu", "cpu", free, free),))
        assert 1 <= at_once(cells) <= most


def test_areas_and_styles_are_told_only_where_the_task_has_them():
    plain = made("lada", 0, "1110")
    assert "styles" not in plain.model_dump()
    assert (plain.mean("overall"), plain.mean("mixed")) == (75.0, None)
    member = plain.members["x"]
    members = {
        name: member.model_copy(update={"role": each.role, "after": each.after | {"mixed": 40.0}})
        for name, each in plain.members.items()
    }
    more = plain.model_copy(update={"members": members, "styles": {"leaps": 3}})
    assert more.mean("mixed") == 40.0
    assert Outcome.model_validate_json(more.model_dump_json()) == more


def test_where_two_outcomes_differ_is_named():
    was = made("lada", 0, "1110")
    assert was.differences(was) == {}
    slower = was.model_copy(update={"wall_clock": was.wall_clock.model_copy(update={"seconds": 9.0})})
    assert was.differences(slower) == {}
    party, member = next(iter(was.members.items()))
    changed = was.members | {party: member.model_copy(update={"after": member.after | {"overall": 12.5}})}
    now = was.model_copy(update={"bytes": 1, "members": changed})
    told = {f"members.{party}.after.overall": (member.after["overall"], 12.5), "bytes": (2_000_000, 1)}
    assert was.differences(now) == told
    assert "bytes was 2000000, is 1; versions and processor are the same" in _verdict(was, now)
    away = was.model_copy(update={"members": {name: was.members[name] for name in was.members if name != party}})
    assert f"members.{party}.role was client, is None" in _verdict(was, away)
    assert re.search(r", \d+ more; versions", _verdict(was, away))
    elsewhere = now.model_copy(
        update={"environment": was.environment.model_copy(update={"processor": "other, AVX512"})}
    )
    assert _verdict(was, elsewhere).endswith(f"; processor was {was.environment.processor}, is other, AVX512")
    assert _verdict(was, None) == "it failed"


def test_standings_by_hand(tmp_path):
    suite = read_suite(suite_file(tmp_path, seeds=[0, 1], scenarios={"a": {"config": WORK}, "b": {"config": WORK}}))
    outcomes = [
        made("lada", 0, "1110", tokens=110),
        made("lada", 1, "1100", tokens=110),
        made("standalone", 0, "0110"),
        made("standalone", 1, "0000"),
        made("lada", 0, "1111", "b", tokens=120),
        made("standalone", 0, "1111", "b"),
    ]
    everywhere, a, b = sections(suite, suite.tables[0], outcomes)
    assert [section.scenario for section in (everywhere, a, b)] == [EVERYWHERE, "a", "b"]
    lada_a, standalone_a = a.standings
    assert (lada_a.row, lada_a.seeds, lada_a.clients.mean.value) == ("lada", 2, 62.5)
    assert lada_a.clients.difference is not None
    assert lada_a.clients.difference.value == 37.5  # (25 + 50) / 2
    assert lada_a.clients.adjusted == lada_a.clients.difference.p  # one comparison: nothing to correct for
    assert (lada_a.clients.tokens, lada_a.llm.tokens) == (220, 110)
    assert lada_a.clients.more_tokens == pytest.approx(10.0)
    assert standalone_a.clients.difference is None
    assert lada_a.figures["traffic, MB"] == 2_000_000
    assert lada_a.figures["worst client"] == 62.5
    assert everywhere.standings[0].clients.mean.value == (75 + 100) / 2  # seed 0, which both scenarios have
    assert everywhere.standings[0].clients.difference is not None
    assert everywhere.standings[0].clients.difference.value == 25 / 2
    assert everywhere.standings[0].figures["worst client"] == (75 + 100) / 2
    assert everywhere.standings[0].clients.tokens == (220 + 240) / 2
    assert everywhere.standings[0].seeds == 1
    readme, _, page = write_pages(suite, outcomes, tmp_path)
    assert "| lada | public rationales, others' paths, log-probs | 2 | 62.5 [" in readme.read_text()
    assert "| lada | 87.5 / 87.5 | 62.5 / 62.5 | 100.0 / 100.0 |" in readme.read_text()  # the overview
    told = page.read_text()
    assert "<title>Suite tiny: accuracy and traffic of 2 methods – LaDa leaderboard</title>" in told
    assert told.index("</svg>") < told.index("<table>"), "the chart comes first"
    assert 'data-tip="lada: 87.5 % (' in told
    summary = escape(ALLOCATORS.get("lada").summary)
    assert re.search(r'href="[^"]*docs/methods.md#host-standalone" title="[^"]+">host standalone</a>', told)
    assert re.search(rf'docs/methods.md#allocator-lada" title="{re.escape(summary)}">allocator lada</a>', told)
    assert "<br>reads public rationales, others&#39; paths, log-probs</small></span>" in told


def test_a_method_without_a_row_in_the_docs_has_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "_anchors", frozenset)
    suite = read_suite(suite_file(tmp_path))
    *_, page = write_pages(suite, [made("lada", 0, "1110", "alone"), made("standalone", 0, "0110", "alone")], tmp_path)
    assert "<small>host fedmkt, allocator lada<br>" in page.read_text()
    assert "methods.md" not in page.read_text()


def test_a_row_that_is_missing_in_a_scenario_is_not_in_the_table_over_all(tmp_path):
    suite = read_suite(suite_file(tmp_path, scenarios={"a": {"config": WORK}, "b": {"config": WORK}}))
    outcomes = [made("lada", 0, "1110"), made("standalone", 0, "0110"), made("standalone", 0, "0110", "b")]
    everywhere, a, b = sections(suite, suite.tables[0], outcomes)
    assert [[s.row for s in section.standings] for section in (everywhere, a, b)] == [
        ["standalone"],
        ["lada", "standalone"],
        ["standalone"],
    ]


def test_a_spoilt_line_of_the_cells_is_told(tmp_path):
    (tmp_path / "cells.jsonl").write_text(json.dumps({"scenario": "a"}) + "\n")
    with pytest.raises(InputError, match="line 1"):
        Store(tmp_path)


def test_no_run_is_left_behind_by_the_module(ran):
    assert not list((ran / "runs" / "tiny").glob("*/*/checkpoints"))
    assert os.listdir(ran / "runs" / "tiny")
