"""Runs of many clients: the page tells where they lie, who stands out, and how to find each."""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from pages import Page
from synthetic_run import SERVER, make_candidates, make_results, write_run

from lada.core.results import Missing, Results
from lada.report import render
from lada.report.spread import spread, spread_rows
from lada.report.view import MANY
from lada.report.words import difference, number

CLIENTS = tuple(f"phone-{i:02d}" for i in range(60))
HOSTILE = "</script><script>alert(1)</script>&\u202e"


def page_of(folder: Path, results: Results, candidates: int = 3) -> Page:
    return Page(render(write_run(folder, results, make_candidates(results, candidates))))


def listed(page: Page) -> dict[str, Any]:
    """What the page's script finds clients in."""
    return json.loads(next(text for text in page.raw["script"] if text.startswith("{")))


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results(CLIENTS)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, results: Results) -> Page:
    return page_of(tmp_path_factory.mktemp("run"), results)


def gains(results: Results) -> dict[str, float]:
    return {c: results.of(c, 2).overall.value - results.of(c, 0).overall.value for c in CLIENTS}


def test_places_by_hand():
    # Of 1 to 5, a tenth of the way from the least lies at 1 + 4 / 10.
    expected = {"mean": 3.0, "least": 1.0, "10 %": 1.4, "median": 3.0, "90 %": 4.6, "most": 5.0}
    assert spread([3.0, None, 1.0, 5.0, 2.0, 4.0, float("nan"), float("inf")]) == pytest.approx(expected)
    assert spread([None]) is None
    rows = spread_rows("2 clients", [([1.0, 3.0], number), ([None], number)], beside=("x",), labels=("mean", "most"))
    assert rows == [("2 clients, mean", "x", "2.0", "–"), ("2 clients, most", "x", "3.0", "–")]
    assert spread_rows("2 clients", [([None], number)]) == []


def test_every_client_can_be_found_with_its_numbers(page: Page, results: Results):
    told = listed(page)
    assert [row[0] for row in told["rows"]] == list(CLIENTS)
    assert all(len(row) == len(told["head"]) for row in told["rows"])
    for client, row in zip(CLIENTS, told["rows"], strict=True):
        said = dict(zip(told["head"], row, strict=True))
        before, after = results.of(client, 0), results.of(client, 2)
        assert said["all before"] == round(before.overall.value, 1)
        assert said["own after"] == round(after.own.value, 1)  # type: ignore[union-attr]
        assert said["change"] == round(after.overall.value - before.overall.value, 1)
        assert said["sent, bytes"] == sum(row.bytes for row in results.traffic if row.sender == client)
        assert said["times missing"] == 0
    assert "results.json in the run’s folder has every row of every client" in page.text


def test_where_the_clients_lie(page: Page, results: Results):
    values = [results.of(client, 2).overall.value for client in CLIENTS]
    row = next(r for r in page.rows if r[:2] == ["60 clients, median", "all domains"])
    assert row[4] == number(median(values))
    row = next(r for r in page.rows if r[:2] == ["60 clients, mean", "all domains"])
    assert row[4] == number(fmean(values))
    assert [r for r in page.rows if r[:2] == [SERVER, "all domains"]], "the server has rows of its own"
    assert not [r for r in page.rows if r[0] == CLIENTS[30] and "all domains" in r]


def test_who_gained_most_and_least_stands_by_name(page: Page, results: Results):
    ranked = sorted(CLIENTS, key=lambda client: (-gains(results)[client], client))
    named = [
        row[0].removesuffix("client") for row in page.rows if row[0].removesuffix("client") in CLIENTS and len(row) == 9
    ]
    assert named[:10] == ranked[:10]
    assert named[10:20] == ranked[:-11:-1]
    best = next(row for row in page.rows if row[0] == f"{ranked[0]}client")
    assert difference(gains(results)[ranked[0]]) in best[2]


def test_candidates_of_all_pairs_are_counted_together(tmp_path: Path):
    results = make_results(CLIENTS[: MANY + 1], rounds=1)
    page = page_of(tmp_path, results, candidates=7)
    rows = [row for row in make_candidates(results, 7).to_pylist() if row["teacher"] == SERVER]
    counts = Counter((row["chosen"], row["reason"]) for row in rows)
    for (chosen, reason), count in counts.items():
        assert ["✓ chosen" if chosen else "○ left out", reason, f"{count}"] in page.rows
    assert [
        f"{SERVER} → {MANY + 1} clients",
        "1",
        "400",
        "200",
        "150",
        "50",
        "82.5",
        "71.5",
        "0.760",
        "0.120",
    ] in page.rows
    columns = Counter((row["difficulty"], row["chosen"]) for row in rows)
    drawn = page.source[page.source.index(f"<h3>{SERVER} teaches") :]
    written = [int(count) for count in re.findall(r'class="soft small">(\d+)</text>', drawn[: drawn.index("</svg>")])]
    assert written == [
        columns[level, chosen] for level in sorted({level for level, _ in columns}) for chosen in (False, True)
    ]


def test_long_lists_are_cut_and_say_by_how_much(tmp_path: Path, results: Results):
    missing = tuple(Missing(party=c, round=n, phase="learn", why="silent") for n in range(1, 4) for c in CLIENTS)
    notices = tuple(f"round {n}: something" for n in range(130))
    page = page_of(tmp_path, results.model_copy(update={"missing": missing, "notices": notices}))
    assert page.text.count(": something") == 100
    assert "results.json has 30 more of these" in page.text
    assert [CLIENTS[0], "all", "3 times", "silent"] in page.rows
    assert "In total, 180 times" in page.text
    assert {row[-1] for row in listed(page)["rows"]} == {3}


def test_clients_that_differ_in_name_alone_are_configured_once(tmp_path: Path, results: Results):
    clients = [{"name": client, "model": {"model": "x" if client < "phone-30" else "y"}} for client in CLIENTS]
    page = page_of(tmp_path, results.model_copy(update={"config": {"name": "r", "clients": clients}}))
    assert page.text.count("model: x") == page.text.count("model: y") == 1
    assert f"names: {CLIENTS[0]}, {CLIENTS[1]}," in page.text


def test_hostile_names_stay_text(tmp_path: Path, results: Results):
    parties = tuple(party.model_copy(update={"model": HOSTILE}) for party in results.parties)
    page = page_of(tmp_path, results.model_copy(update={"parties": parties}))
    assert page.count("script") == 2
    assert listed(page)["rows"][0][1] == HOSTILE.replace("\u202e", "\\u202e")


def test_the_page_of_a_thousand_clients_is_small_and_grows_by_a_row_a_client(tmp_path: Path):
    sizes = {}
    for count in (100, 200, 1000):
        results = make_results(tuple(f"phone-{i:04d}" for i in range(count)), rounds=2)
        page = Page(render(write_run(tmp_path / f"{count}", results, make_candidates(results, 1))))
        assert len(listed(page)["rows"]) == count
        sizes[count] = len(page.source)
    assert sizes[1000] < 3_000_000
    assert sizes[200] - sizes[100] < 100 * 300, "each client adds its row, its name in the configuration, and no more"
