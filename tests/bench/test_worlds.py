"""Worlds, tracks, budgets and hypotheses of a suite: what its file makes of them, and the numbers by hand."""

import json
import re

import pytest
from made import SUITE, WORK, made, of, recompute, right, suite_file

from lada.bench.cell import CellKey
from lada.bench.curves import curves
from lada.bench.information import PRIVATE, information
from lada.bench.pages import write_pages
from lada.bench.standings import sections
from lada.bench.suite import Suite, read_suite
from lada.bench.verdicts import verdicts
from lada.core.errors import InputError

ROWS = {
    "ours": {"tracks": ["answers"], "config": {"plugin": "lada"}},
    "plain": {"tracks": ["answers", "unlabelled"], "config": {"allocator": "random", "objective": "sft"}},
}
TABLES = [{"title": "T", "rows": ["ours"], "against": "plain", "track": "answers"}]
CLAIM = {"name": "ours wins", "row": "ours", "against": "plain"}


def worlds_suite(folder, **changes) -> Suite:
    told = {"worlds": [1, 2, 3], "rows": ROWS, "tables": TABLES, "scenarios": {"a": {"config": WORK}}}
    return read_suite(suite_file(folder, **told | changes))


def outcomes(ours, plain, **more):
    """Cells of a row each in worlds 1, 2, …; shares are of four questions."""
    return [
        made(row, 0, right(share), track="answers", world=world, **more)
        for row, shares in (("ours", ours), ("plain", plain))
        for world, share in enumerate(shares, 1)
    ]


def test_a_cell_is_of_a_world_and_a_track(tmp_path):
    server = {"model": {"model": "zoo:llm-world-{world}"}, "distil": {"steps": 1}}
    suite = worlds_suite(tmp_path, scenarios={"a": {"config": WORK | {"server": server}}})
    cells = suite.cells()
    assert [cell.key for cell in cells[:3]] == [
        CellKey("a", "ours", 1, 0, "answers"),
        CellKey("a", "plain", 1, 0, "answers"),
        CellKey("a", "plain", 1, 0, "unlabelled"),
    ]
    assert len(cells) == 9
    for cell in cells:
        config = cell.config
        assert config.task.world == cell.key.world  # pyright: ignore[reportAttributeAccessIssue]
        assert config.server.model.source == f"zoo:llm-world-{cell.key.world}"
        gold = {"answers": "answers", "unlabelled": "none"}[cell.key.track]
        assert config.task.gold == gold  # pyright: ignore[reportAttributeAccessIssue]
    assert str(cells[2]) == "a, plain, unlabelled, world 1, seed 0"
    assert len({cell.digest for cell in cells}) == 9


def test_a_suite_without_worlds_is_of_the_world_of_its_configuration(tmp_path):
    task = WORK["task"] | {"world": 7}
    suite = read_suite(suite_file(tmp_path, scenarios={"a": {"config": WORK | {"task": task}}, "b": {"config": WORK}}))
    assert [(cell.key.scenario, cell.key.world) for cell in suite.cells()] == [("a", 7)] * 2 + [("b", 0)] * 2
    assert "zoo:slm-gpt2{world}" not in str(suite.cells()[0].config)


def test_a_track_may_change_a_row_and_the_name_of_a_run_is_never_too_long(tmp_path):
    rows = {
        "ours": {"tracks": ["answers", "unlabelled"], "by_track": {"unlabelled": {"config": {"rounds": 3}}}},
        "x" * 120: {"tracks": ["answers"]},
    }
    tables = [{"title": "T", "rows": ["ours"], "against": "x" * 120}]
    cells = worlds_suite(tmp_path, rows=rows, tables=tables).cells()
    assert [cell.config.rounds for cell in cells[:3]] == [1, 3, 1]
    assert max(len(cell.name) for cell in cells) == 100
    assert len({cell.name for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"worlds": [1, 2], "development": [2]}, "2 is in both; a world that a search has seen cannot be reported"),
        ({"worlds": [], "development": [2]}, "worlds: missing, although development is set"),
        ({"worlds": [1, 1]}, "has one twice"),
        ({"budgets": [0.0, 1.0]}, "budgets.0: 0.0 is not valid; expected a number above 0"),
        ({"rows": ROWS | {"plain": {}}}, "rows.plain.tracks: missing"),
        (
            {"tables": [{"title": "T", "rows": ["ours"], "against": "plain", "track": "unlabelled"}]},
            "'ours' has no cells",
        ),
        ({"rows": ROWS | {"plain": {"tracks": ["unlabelled"]}}}, "has no cells on the track 'answers'"),
        (
            {
                "rows": ROWS | {"plain": {"tracks": ["unlabelled"]}},
                "tables": [{"title": "T", "rows": ["ours"], "against": "plain"}],
            },
            "its rows have the tracks answers, unlabelled, and rows that read answers cannot be compared with",
        ),
        ({"tables": [{"title": "T", "rows": ["plain"], "against": "plain"}]}, "name the `track`"),
        ({"rows": ROWS | {"ours": {"tracks": ["answers"], "curve": ["a"]}}}, "the suite has no budgets"),
        (
            {"rows": ROWS | {"ours": {"tracks": ["answers"], "by_track": {"rationales": {}}}}},
            "none of the row's tracks",
        ),
        ({"hypotheses": [CLAIM, CLAIM]}, "share a name"),
        ({"hypotheses": [CLAIM | {"row": "our"}]}, "did you mean 'ours'"),
        ({"hypotheses": [CLAIM | {"claim": "not worse"}]}, "expected a margin, in points"),
        ({"hypotheses": [CLAIM | {"margin": 2.0}]}, "expected a margin, in points"),
        ({"hypotheses": [CLAIM | {"track": "unlabelled"}]}, "has no cells"),
        ({"hypotheses": [CLAIM | {"area": "newer"}]}, "did you mean 'new'"),
        ({"hypotheses": [CLAIM | {"scenarios": ["z"]}]}, "'z' is not there"),
        ({"search": {"rows": {"ours": {"slow": {}}}}}, "development: missing"),
        ({"development": [9], "search": {"rows": {"ours": {"default": {}}}}}, "is always tried"),
        ({"development": [9], "search": {"rows": {"ours": {f"c{i}": {} for i in range(9)}}}}, "expected 1 to 8"),
        ({"development": [9], "search": {"rows": {"our": {"slow": {}}}}}, "did you mean 'ours'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_key_value_and_fix(tmp_path, changes, told):
    with pytest.raises(InputError, match=re.escape(told)):
        worlds_suite(tmp_path, **changes).cells()


def test_a_model_of_another_world_is_refused(tmp_path):
    server = {"model": {"model": "zoo:llm-world-0"}, "distil": {"steps": 1}}
    suite = worlds_suite(tmp_path, scenarios={"a": {"config": WORK | {"server": server}}})
    with pytest.raises(InputError, match=r"to world 0, but the cell to world 1; expected zoo:llm-world-\{world\}"):
        suite.cells()


def test_worlds_that_change_nothing_are_refused(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    task = {"kind": "files", "public": "p.jsonl", "train": "p.jsonl", "test": "p.jsonl"}
    rows = {"ours": {}, "plain": {"config": {"rounds": 2}}}
    suite = worlds_suite(
        tmp_path,
        rows=rows,
        tables=[{"title": "T", "rows": ["ours"], "against": "plain"}],
        base=WORK | {"task": task},
        scenarios={"a": {}},
    )
    with pytest.raises(
        InputError, match=r"'a' is the same in worlds 1 and 2; expected a task with worlds, or \{world\}"
    ):
        suite.cells()


def test_rows_that_know_different_things_are_refused_in_one_table_without_tracks_too(tmp_path):
    rows = {"ours": {}, "plain": {"config": {"task": {"gold": "none"}}}}
    suite = worlds_suite(tmp_path, rows=rows, tables=[{"title": "T", "rows": ["ours"], "against": "plain"}])
    with pytest.raises(InputError, match=r"'T': in 'a' 'ours' has task.gold 'rationales' and 'plain' has 'none'"):
        suite.cells()


def test_budgets_multiply_every_budget_of_tokens_of_the_rows_with_a_curve(tmp_path):
    tokens = {"private": {"tokens": 1000}, "distil": {"tokens": 300}}
    work = {key: value for key, value in WORK.items() if key != "server"}
    server = {"model": {"model": "zoo:slm-gpt2"}, "distil": {"tokens": 500}}
    rows = {**ROWS, "ours": ROWS["ours"] | {"curve": ["a"]}}
    suite = worlds_suite(
        tmp_path,
        budgets=[0.5, 1, 2],
        rows=rows,
        each_client=tokens,
        scenarios={"a": {"config": {**work, "server": server}}},
    )
    cells = {cell.key: cell.config for cell in suite.cells()}
    assert [key.budget for key in cells if key.world == 1] == [1, 1, 1, 0.5, 2]  # the curve comes last
    half = cells[CellKey("a", "ours", 1, 0, "answers", 0.5)]
    assert (half.server.distil.tokens, half.clients[0].private.tokens, half.clients[0].distil.tokens) == (250, 500, 150)
    told = [*outcomes([1, 1, 1], [0, 0, 0]), *outcomes([2, 2, 3], [], budget=2.0, tokens=200)]
    (curve,) = curves(suite, told)
    assert [(p.row, p.budget, p.worlds, p.tokens) for p in curve.points] == [("ours", 1, 3, 200), ("ours", 2, 3, 400)]
    assert curve.points[1].clients.value == pytest.approx(100 * 7 / 12)
    readme, _, page = write_pages(suite, told, tmp_path / "out")
    assert "| ours | 2 | 0.000 | 58.3 [22.5, 94.2] |" in readme.read_text()
    assert "times the tokens" in page.read_text()
    without = worlds_suite(tmp_path, budgets=[2], rows=rows)
    with pytest.raises(InputError, match=r"row 'ours', scenario 'a': budgets: clients.warehouse.private has no budget"):
        without.cells()


def test_a_table_over_three_worlds_by_hand(tmp_path):
    (section,) = sections(worlds_suite(tmp_path), worlds_suite(tmp_path).tables[0], outcomes([2, 3, 4], [1, 1, 1]))
    ours, plain = section.standings
    assert (ours.worlds, ours.seeds, ours.clients.mean.value, plain.clients.mean.value) == (3, 1, 75.0, 25.0)
    difference = ours.clients.difference
    assert difference is not None
    assert difference.value == 50.0  # 25, 50, 75: standard deviation 25, error 25 / 3 ** 0.5, t 3.464 with 2 degrees
    assert difference.low == pytest.approx(50 - 4.302652729911275 * 25 / 3**0.5)
    t = 50 / (25 / 3**0.5)
    assert difference.p == pytest.approx(1 - t / (t * t + 2) ** 0.5)
    assert ours.clients.adjusted == difference.p
    assert plain.clients.mean.low == plain.clients.mean.high == 25.0  # no world differs


def test_the_leaderboard_has_the_differences_by_kind_of_question(tmp_path):
    *_, page = write_pages(worlds_suite(tmp_path), outcomes([2, 3, 4], [1, 1, 1]), tmp_path / "out")
    _, _, table = page.read_text().partition("by kind of question: points")
    heads, cells = (
        re.findall(f"<{of}>([^<]*)<", table.partition("</table>")[0]) for of in ("th scope[^>]*", 'td class="n"')
    )
    assert heads == ["row", "own domains", "other domains", "general skill", "ours"]  # not `plain`, the base
    assert cells == ["+50.0 [-12.1, +112.1]"] * 3  # made outcomes are right on as many of each kind; 4.3027 * 14.434


def test_one_of_several_worlds_has_no_interval_yet(tmp_path):
    suite = worlds_suite(tmp_path)
    (section,) = sections(suite, suite.tables[0], outcomes([2], [1]))
    (ours, _) = section.standings
    assert (ours.clients.mean.value, ours.clients.mean.low, ours.clients.adjusted) == (50.0, None, None)
    assert "| 1 | 1 | 50.0 | +25.0 | – |" in write_pages(suite, outcomes([2], [1]), tmp_path / "out")[0].read_text()


def test_seeds_are_averaged_within_their_world_first(tmp_path):
    suite = worlds_suite(tmp_path, seeds=[0, 1, 2])
    told = [
        made("ours", seed, right(share), track="answers", world=world)
        for world, seed, share in ((1, 0, 4), (1, 1, 0), (1, 2, 2), (2, 0, 4))
    ]
    (section,) = sections(suite, suite.tables[0], told)
    (ours,) = section.standings
    assert (ours.clients.mean.value, ours.worlds, ours.seeds) == ((50 + 100) / 2, 2, 1)
    assert ours.figures["own domains"] == 75.0


WRITTEN = (
    CLAIM | {"name": "wins"},
    CLAIM | {"name": "loses", "row": "plain", "against": "ours"},
    CLAIM | {"name": "near", "claim": "not worse", "margin": 30.0, "row": "plain", "against": "ours", "side": "LLM"},
)


def test_hypotheses_by_hand(tmp_path):
    suite = worlds_suite(tmp_path, worlds=[1, 2, 3, 4], hypotheses=list(WRITTEN))
    digests = tuple(hypothesis.digest for hypothesis in suite.hypotheses)
    told = outcomes([2, 2, 2, 3], [1, 1, 1, 1], hypotheses=digests)  # 25, 25, 25, 50: mean 31.25, error 6.25, t 5
    wins, loses, near = verdicts(suite, told, None)

    def p(t):  # of Student's t with 3 degrees of freedom, one side
        from scipy.stats import t as student

        return student.sf(t, 3)

    assert wins.estimate is not None
    assert wins.estimate.effect.value == 31.25
    assert wins.estimate.effect.p_above == pytest.approx(2 * p(5))  # 0.0154
    assert wins.adjusted == pytest.approx(3 * 2 * p(5))  # 0.046: the least of three
    assert loses.adjusted == 1.0
    assert near.estimate is not None
    assert near.estimate.effect.p_above == 1.0  # (-31.25 + 30) / 6.25 = -0.2
    assert [each.said for each in (wins, loses, near)] == ["holds", "fails", "inconclusive"]
    assert [(each.cells, each.wanted, each.earlier) for each in (wins, loses, near)] == [(8, 8, 0)] * 3
    readme = write_pages(suite, told, tmp_path / "out")[0].read_text()
    assert (
        "| wins | the clients are better under ours than under plain, on all domains (track answers) | +31.2 ["
        in readme
    )
    assert "| **holds** | 8 of 8 |" in readme
    assert "All other comparisons on this page are exploratory" in " ".join(readme.split())


def test_a_hypothesis_says_nothing_before_its_cells_are_there_and_tells_which_are_older(tmp_path):
    suite = worlds_suite(tmp_path, worlds=[1, 2, 3, 4], hypotheses=[WRITTEN[0]])
    told = outcomes([2, 2, 2], [1, 1, 1], hypotheses=(suite.hypotheses[0].digest,))
    (verdict,) = verdicts(suite, told, None)
    assert (verdict.said, verdict.adjusted, verdict.cells, verdict.wanted) == ("incomplete", 1.0, 6, 8)
    told = [*told, *outcomes([2, 2, 2, 2], [1, 1, 1, 1])[3:4], *outcomes([], [1, 1, 1, 1])[3:]]
    (verdict,) = verdicts(suite, told, None)
    assert (verdict.said, verdict.earlier) == ("holds", 2)
    assert "8 of 8, 2 run before it was written" in write_pages(suite, told, tmp_path / "out")[0].read_text()
    changed = worlds_suite(tmp_path, worlds=[1, 2, 3, 4], hypotheses=[WRITTEN[0] | {"area": "own"}])
    assert verdicts(changed, told, None)[0].earlier == 8  # what was written then was something else


def test_one_world_says_that_it_says_nothing_about_others(tmp_path):
    suite = worlds_suite(tmp_path, worlds=[1], hypotheses=[CLAIM, CLAIM | {"name": "own", "area": "own"}])
    told = outcomes([4], [1])
    readme = " ".join(write_pages(suite, told, tmp_path / "out")[0].read_text().split())
    assert "nothing about other worlds" in readme
    overall, own = verdicts(suite, told, None)
    assert overall.estimate is not None
    assert own.estimate is not None
    assert overall.estimate.effect.low == pytest.approx(25.0)  # of questions: 0, 100, 100, 100
    assert own.estimate.effect.low is None  # one seed, and of which questions it is made is not known
    assert own.said == "inconclusive"
    assert overall.estimate.mixed is None


@pytest.mark.parametrize(
    ("config", "gold", "told"),
    [
        ({"allocator": "random", "objective": "sft"}, "none", ("others' paths",)),
        ({"allocator": "random", "objective": "sft"}, "answers", ("public answers", "others' paths")),
        (
            {"allocator": "random", "objective": {"name": "contrastive", "options": {"start": "wrong_step"}}},
            "none",
            ("others' paths", "which steps are right"),
        ),
        ({"plugin": "lada"}, "rationales", ("public rationales", "others' paths", "log-probs")),
        (
            {"plugin": "none", "host": {"name": "fedmkt", "options": {"knowledge": "paths"}}},
            "answers",
            ("public answers", "others' paths", "soft targets", "log-probs"),
        ),
        ({"plugin": "none", "host": "standalone"}, "answers", (PRIVATE,)),
        ({"plugin": "none", "host": "public_sft"}, "answers", ("public answers",)),
        ({"plugin": "none", "host": "centralized"}, "answers", ("others' private data",)),
        (
            {"plugin": "none", "host": {"name": "fedavg", "options": {"malicious": 0, "clip": None}}},
            "answers",
            ("others' weights",),
        ),
    ],
)
def test_what_a_row_reads_is_told_by_what_it_does(tmp_path, config, gold, told):
    config = config | {"task": {"gold": gold}}
    rows = {"one": {"config": config}}
    suite = read_suite(suite_file(tmp_path, rows=rows, tables=[{"title": "T", "rows": ["one"], "against": "one"}]))
    assert information(suite.cells()[0].config) == told


def test_tokens_on_trying_count_in_the_budget_and_have_a_column(tmp_path):
    suite = worlds_suite(tmp_path)
    told = outcomes([2, 3, 4], [1, 1, 1])
    assert "of these on trying" not in write_pages(suite, told, tmp_path / "none")[0].read_text()
    ours = told[0]
    member = {name: each.model_copy(update={"trial_tokens": 50}) for name, each in ours.members.items()}
    told = [ours.model_copy(update={"members": member}), *told[1:]]
    (section,) = sections(suite, suite.tables[0], told)
    assert section.standings[0].clients.tokens == pytest.approx((2 * 150 + 2 * 100 + 2 * 100) / 3)
    assert section.standings[0].clients.more_tokens == pytest.approx(100 * (700 / 3 / 200 - 1))
    readme = write_pages(suite, told, tmp_path / "out")[0].read_text()
    assert "clients: of these on trying" in readme
    assert section.standings[0].figures["clients: of these on trying"] == pytest.approx(100 / 3)


def test_what_an_augmenter_made_the_llm_write_has_columns(tmp_path):
    suite = worlds_suite(tmp_path)
    plain = outcomes([2, 3, 4], [1, 1, 1])
    assert "questions written" not in write_pages(suite, plain, tmp_path / "none")[0].read_text()
    told = [each.model_copy(update={"drafts": 32, "kept": place, "calls": 160}) for place, each in enumerate(plain[:3])]
    readme = write_pages(suite, [*told, *plain[3:]], tmp_path / "out")[0].read_text()
    (section,) = sections(suite, suite.tables[0], [*told, *plain[3:]])
    writing = [
        f"LLM: {said}"
        for said in ("questions written", "of these kept", "texts written for them", "tokens of these texts")
    ]
    assert [section.standings[0].figures[name] for name in writing] == [32, 1, 160, None]
    assert [section.standings[1].figures[name] for name in writing] == [None] * 4
    assert "| LLM: questions written | LLM: of these kept | LLM: texts written for them | traffic, MB |" in readme


def test_differences_by_kind_of_question_have_an_interval_over_worlds(tmp_path):
    def own(cell, value):
        members = {
            name: each.model_copy(update={"after": {**each.after, "own": value}}) for name, each in cell.members.items()
        }
        return cell.model_copy(update={"members": members})

    told = [own(*pair) for pair in zip(outcomes([2, 2, 2], [2, 2, 2]), (40, 50, 60, 30, 30, 30), strict=True)]
    readme = write_pages(worlds_suite(tmp_path), told, tmp_path / "out")[0].read_text()
    table = readme.partition("The clients' difference from `plain` by kind of question, points:\n\n")[2].splitlines()
    assert table[0].startswith("| row | own domains |")
    assert table[2].startswith("| ours | +20.0 [-4.8, +44.8] |")  # 4.303 · 10 / √3
    assert table[3] == ""
    alone = write_pages(worlds_suite(tmp_path, worlds=[1]), [told[0], told[3]], tmp_path / "alone")[0].read_text()
    assert "by kind of question" not in alone


@pytest.mark.parametrize("worlds", [[1, 2, 3, 4], [1]])
def test_a_script_without_lada_recomputes_every_number_of_the_tables(tmp_path, worlds):
    mixed = {"name": "own", "area": "own", "scenarios": ["a"]}
    suite = worlds_suite(
        tmp_path,
        worlds=worlds,
        seeds=[0, 1],
        budgets=[2.0],
        scenarios={"a": {"config": WORK}, "b": {"config": WORK}},
        rows={**ROWS, "ours": ROWS["ours"] | {"curve": ["a"]}, "third": ROWS["ours"] | {"scenarios": ["b"]}},
        tables=[*TABLES, {"title": "U", "rows": ["ours", "third"], "against": "plain", "track": "answers"}],
        hypotheses=[*WRITTEN, CLAIM | mixed],
    )
    told = []
    for place, key in enumerate(suite.reported()):
        share = right((key.world * 7 + key.seed * 5 + len(key.row) + len(key.scenario + key.track) * place) % 5)
        chosen = None if key.world == 2 else 50.0 + place
        told.append(of(key, share, tokens=100 + place, chosen_right=chosen))
    folder = tmp_path / "out"
    write_pages(suite, told, folder)
    stale = made("ours", 0, "1111", "a", world=1, track="answers", digest="of another configuration")
    lines = [*told, stale]
    (folder / "cells.jsonl").write_text("".join(f"{each.model_dump_json()}\n" for each in lines))
    code, said = recompute(folder)
    assert code == 0, said
    same, _, numbers = said.split()[:3]
    assert same == numbers
    assert int(same) > 400
    tables = json.loads((folder / "tables.json").read_text())
    tables["figures"][0]["is"] = -1
    tables["estimates"][-1]["is"][1] = 7
    claimed = next(e for e in tables["estimates"] if e["where"] == "hypothesis wins")
    claimed["adjusted"] = 0.5
    (folder / "tables.json").write_text(json.dumps(tables))
    code, said = recompute(folder)
    assert code == 1
    assert said.count(" by the cells, ") == 3, said
    assert "hypothesis wins: " in said


def test_the_script_is_short_and_knows_nothing_of_lada(root):
    text = (root / "results/recompute.py").read_text()
    assert len(text.splitlines()) <= 100
    assert set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)) <= {
        *("json", "sys", "functools", "pathlib", "zlib"),
        *("numpy", "scipy"),
    }


def test_committed_tables_are_those_of_their_cells(root):
    for tables in root.glob("results/*/tables.json"):
        code, said = recompute(tables.parent)
        assert code == 0, f"{tables}: {said}"


def test_the_suite_of_the_docs_is_one(root, tmp_path):
    page = (root / "docs/bench.md").read_text(encoding="utf-8").partition("## A suite of your own")[2]
    whole, search = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "suite.yaml").write_text(whole + search + "budgets: [0.5, 1, 2, 4]\n")
    suite = read_suite(str(tmp_path / "suite.yaml"))
    assert len(suite.cells()) == 4 * (2 * 2 + 2 * 2 + 1)
    assert len(suite.cells(suite.searched())) == 2 * 2 * 2 * (3 + 2)


def test_the_usual_suite_still_has_its_rows(tmp_path):
    assert [cell.key.row for cell in read_suite(suite_file(tmp_path)).cells()] == list(SUITE["rows"])
