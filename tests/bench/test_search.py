"""Searches in development worlds: which configurations are tried, which is best, and what the pages say about it."""

import json
from pathlib import Path

import pytest
from made import WORK, of, right, suite_file
from typer.testing import CliRunner

from lada.bench import running, search
from lada.bench.cell import CellKey
from lada.bench.pages import write_pages
from lada.bench.suite import Suite, read_suite
from lada.bench.verdicts import verdicts
from lada.cli.main import app
from lada.core.errors import InputError

SLOW = {"each_client": {"distil": {"steps": 2}}}
LONG = {"each_client": {"distil": {"steps": 3}}}
TOLD = {
    "worlds": [1, 2],
    "development": [8, 9],
    "scenarios": {"a": {"config": WORK}},
    "rows": {
        "ours": {"tracks": ["answers", "unlabelled"], "config": {"plugin": "lada"}},
        "plain": {"tracks": ["answers"], "config": {"allocator": "random", "objective": "sft"}},
    },
    "search": {"rows": {"ours": {"slow": SLOW, "long": LONG}, "plain": {"slow": SLOW}}},
    "hypotheses": [{"name": "wins", "row": "ours, best", "against": "plain, best"}],
    "tables": [{"title": "T", "rows": ["ours", "plain"], "against": "plain", "track": "answers"}],
}


def search_suite(folder: Path, **changes) -> Suite:
    return read_suite(suite_file(folder, **TOLD | changes))


def shares(key: CellKey) -> int:
    """`long` is the best of ours with answers, `default` without (and `slow` its equal); `plain` is best as it is."""
    if key.row == "plain":
        return {"default": 2, "slow": 1}[key.setting]
    if key.track == "unlabelled":
        return {"default": 3, "slow": 3, "long": 1}[key.setting]
    return {"default": 1, "slow": 2, "long": 4 if key.world == 8 else 1}[key.setting]


def found(suite: Suite) -> search.Frozen:
    return search.decide(suite, {key: of(key, right(shares(key))) for key in suite.searched()})


def test_what_is_tried_is_of_development_worlds_alone_and_the_row_as_it_stands_is_among_it(tmp_path):
    suite = search_suite(tmp_path)
    keys = list(suite.searched())
    assert {key.world for key in keys} == {8, 9}
    assert len(keys) == len(set(keys)) == 2 * (2 * 3 + 2)
    cells = {cell.key: cell.config.clients[0].distil.steps for cell in suite.cells(keys)}
    assert [cells[CellKey("a", "ours", 8, 0, "answers", setting=name)] for name in ("default", "slow", "long")] == [
        1,
        2,
        3,
    ]
    assert {key.world for key in suite.reported()} == {1, 2}


def test_the_best_by_hand(tmp_path):
    suite = search_suite(tmp_path)
    frozen = found(suite)
    told = {(choice.row, choice.track): choice for choice in frozen.choices}
    assert {key: choice.chosen for key, choice in told.items()} == {
        ("ours", "answers"): "long",
        ("ours", "unlabelled"): "default",
        ("plain", "answers"): "default",
    }
    assert [(each.setting, each.mean) for each in told["ours", "answers"].tried] == [
        ("default", 25.0),
        ("slow", 50.0),
        ("long", 62.5),  # 100 in world 8, 25 in world 9
    ]
    assert [(score.world, score.value) for score in told["ours", "answers"].tried[2].scores] == [(8, 100.0), (9, 25.0)]


def test_the_best_runs_in_the_reported_worlds_beside_the_row_as_it_stands(tmp_path):
    suite = search_suite(tmp_path)
    whole = search.with_best(suite, found(suite))
    assert list(whole.rows) == ["ours", "ours, best", "plain"]
    assert whole.tables[0].rows == ("ours", "ours, best", "plain")
    best = [cell for cell in whole.cells() if cell.key.row == "ours, best"]
    assert [(cell.key.world, cell.key.track, cell.config.clients[0].distil.steps) for cell in best] == [
        (1, "answers", 3),
        (2, "answers", 3),
    ]
    plain = search.with_best(suite, None)
    assert list(plain.rows) == ["ours", "plain"]


def test_a_hypothesis_on_the_best_takes_the_row_where_nothing_was_better(tmp_path):
    suite = search_suite(tmp_path)
    frozen = found(suite)
    whole = search.with_best(suite, frozen)
    told = [of(key, right({"ours": 1, "ours, best": 4, "plain": 2}[key.row])) for key in whole.reported()]
    (verdict,) = verdicts(whole, told, frozen)
    assert verdict.rows == ("ours, best", "plain")
    assert verdict.estimate is not None
    assert (verdict.estimate.effect.value, verdict.said) == (50.0, "holds")
    readme = write_pages(whole, told, tmp_path / "out", frozen=frozen)[0].read_text()
    assert "| ours | answers | long | 62.5 | chosen |" in readme
    assert "| ours | answers | the row as it stands | 25.0 |  |" in readme
    assert "| ours, best | public answers, others' paths, log-probs | 2 | 1 | 100.0 [100.0, 100.0] |" in readme
    (verdict,) = verdicts(suite, told, None)
    assert verdict.said == "incomplete"  # as long as nobody searched


def test_a_search_is_read_again_and_one_of_another_file_is_refused(tmp_path):
    suite = search_suite(tmp_path)
    frozen = found(suite)
    search.write(frozen, tmp_path)
    assert search.read(suite, tmp_path) == frozen
    assert search.read(search_suite(tmp_path, search=None, hypotheses=[]), tmp_path) is None
    other = search_suite(tmp_path, search={"rows": {"ours": {"slow": LONG}, "plain": {"slow": SLOW}}})
    with pytest.raises(InputError, match=r"belongs to another search .*--search"):
        search.read(other, tmp_path)
    (tmp_path / search.FILE).write_text("{}")
    with pytest.raises(InputError, match="no search"):
        search.read(suite, tmp_path)


def test_a_search_by_what_nobody_has_is_refused(tmp_path):
    suite = search_suite(tmp_path, search={"area": "mixed", "rows": {"plain": {"slow": SLOW}}}, hypotheses=[])
    with pytest.raises(InputError, match="have no questions of 'mixed'"):
        search.decide(suite, {key: of(key, right(1)) for key in suite.searched()})


def test_the_command_searches_then_reports(tmp_path, monkeypatch):
    def run(cell, folder, shared, processes):
        share = shares(cell.key) if cell.key.setting else {"ours": 1, "ours, best": 4, "plain": 2}[cell.key.row]
        return of(cell.key, right(share)).model_copy(
            update={"digest": cell.digest, "hypotheses": cell.written.hypotheses}
        )

    monkeypatch.setattr(running, "_run", run)
    file = suite_file(tmp_path, **TOLD)
    where = [
        "--suite",
        file,
        "--results",
        str(tmp_path / "results"),
        "--runs",
        str(tmp_path / "runs"),
        "--parallel",
        "1",
    ]

    def bench(*more: str):
        return CliRunner().invoke(app, ["bench", *where, *more], catch_exceptions=False)

    part = bench("--search", "--only", "plain")
    assert "the best is chosen when the search is finished; 12 cells to go" in part.output
    assert not (tmp_path / "results/tiny/search.json").exists()
    assert bench("--search").exit_code == 0
    chosen = json.loads((tmp_path / "results/tiny/search.json").read_text())["choices"]
    assert [each["chosen"] for each in chosen] == ["long", "default", "default"]
    assert "8 of 8 cells would be run" in bench("--dry-run").output
    done = bench()
    assert done.exit_code == 0, done.output
    readme = (tmp_path / "results/tiny/README.md").read_text()
    assert "8 of 8 cells" in readme
    assert "| **holds** | 4 of 4 |" in readme
    assert len((tmp_path / "results/tiny/search.jsonl").read_text().splitlines()) == 16
    assert "the same to the digit" in bench("--check", "1").output
    refused = CliRunner().invoke(app, ["bench", "--search", "--results", str(tmp_path)])
    assert refused.exit_code == 2
    assert "suite 'quick': it has no `search`" in " ".join(refused.output.split())


def test_models_of_all_worlds_are_trained_by_one_command(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(running.Processes, "call", lambda self, command, log: calls.append(command[-1]) or 0)
    server = {"model": {"model": "zoo:llm-world-{world}"}, "distil": {"steps": 1}}
    file = suite_file(tmp_path, **TOLD | {"scenarios": {"a": {"config": WORK | {"server": server}}}})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["bench", "--suite", file, "--models"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sorted(calls) == [f"llm-world-{world}" for world in (1, 2, 8, 9)]
