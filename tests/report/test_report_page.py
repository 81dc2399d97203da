import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import Page
from synthetic_run import CLIENTS, SCHEMA, SERVER, interval, make_candidates, make_results, write_run

from lada.cli.summary import summary
from lada.core.errors import InputError
from lada.core.results import Missing, Results
from lada.report import render
from lada.report.story import sentence
from lada.report.view import View
from lada.report.words import difference, number

HOSTILE = "</script></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def page_of(folder: Path, results: Results, candidates: pa.Table | None = None) -> Page:
    return Page(render(write_run(folder, results, candidates)))


def plain(text: str) -> str:
    return re.sub("<[^>]+>", "", text).replace("\u202f", " ")


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, results: Results) -> Page:
    return page_of(tmp_path_factory.mktemp("run"), results)


def test_the_page_holds_every_party_and_every_accuracy(page: Page, results: Results) -> None:
    for evaluation in results.evaluations:
        row = [r for r in page.rows if r[0] == evaluation.party and r[1] == "all domains"]
        assert len(row) == 1
        value = evaluation.overall
        expected = f"{number(value.value)} {number(value.low)}–{number(value.high)}"
        assert row[0][2 + evaluation.round] == expected
    for party in (SERVER, *CLIENTS):
        before, after = results.of(party, 0), results.of(party, 2)
        summary = next(r for r in page.rows if r[0].startswith(party) and "parameters" in r[1])
        change = difference(after.overall.value - before.overall.value)
        assert summary[2].startswith(f"{number(before.overall.value)} → {number(after.overall.value)} {change}")
        by_domain = next(r for r in page.rows if r[0] == party and len(r) == 8 and "→" in r[1] and "+" in r[1])
        for cell, name in zip(by_domain[1:], sorted(before.domains), strict=True):
            assert f"{number(before.domains[name].value)} → {number(after.domains[name].value)}" in cell


def test_the_page_of_a_run_that_went_on_says_so(tmp_path: Path, results: Results) -> None:
    said = "has the rounds up to 2, and round 10 is over"
    (tmp_path / "noted").mkdir()
    for name, expected in (("2.json", False), ("10.json", True), ("10.json.next", True)):
        (tmp_path / "noted" / name).write_bytes(b"{}")
        assert (said in page_of(tmp_path, results).text) == expected


def test_the_page_holds_the_rest_of_the_results(page: Page, results: Results) -> None:
    assert ["clinic → llm", "2", "400", "180", "150", "30", "83.5", "72.5", "0.810", "0.120"] in page.rows
    assert ["2", "llm", "clinic", "paths", "1", "184\u202fkB"] in page.rows
    assert ["clinic", "metrics", "43.5\u202fkB", "43.5\u202fkB"] in page.rows
    assert ["kitchen", "20.0\u202fs", "8.4\u202fs", "28.0\u202fs", "6.2\u202fs", "1\u202fmin 03\u202fs"] in page.rows
    assert ["2", "learn", "30.0\u202fs", "21.5\u202fs", "10.5\u202fs"] in page.rows
    assert ["2", "learn", "clinic", "33.0\u202fs", "–", "–"] in page.rows
    assert "Exchange took 20.0 s in total" in page.text
    assert ["llm", "distil", "1", "400", "6400", "2100", "800", "512000", "1.832", "0.411"] in page.rows
    agreement = [number(results.of("clinic", round).agreement) for round in range(3)]
    assert ["clinic", "agreement", *agreement] in page.rows
    calibration = [number(results.of("llm", round).calibration_error, 3) for round in range(3)]
    assert ["llm", "calibration error", *calibration] in page.rows
    for text in (
        *results.notices,
        *(party.weights for party in results.parties),
        "8375ee4",
        "plugin: lada",
        "cpu, 4 threads",
        "2.13.0",
    ):
        assert text in page.text
    for shown in results.shown:
        assert shown.question in page.text
    assert page.count("article") == len(results.shown) == 18


def test_reasons_are_counted_by_round(page: Page, results: Results) -> None:
    rows = [r for r in make_candidates(results).to_pylist() if (r["teacher"], r["student"]) == ("llm", "clinic")]
    counts = [f"{sum(r['round'] == n and r['reason'] == 'teacher surer' for r in rows)}" for n in (1, 2)]
    assert ["✓ chosen", "teacher surer", *counts] in page.rows


def test_nothing_leaves_the_file_and_the_policy_names_what_may_run(page: Page) -> None:
    assert set(re.findall(r"https?://[^\"\s<]*", page.source)) == {"http://www.w3.org/2000/svg"}
    assert page.attributes("src") == []
    assert all(target.startswith("#") for target in page.attributes("href"))
    assert {target[1:] for target in page.attributes("href")} <= set(page.attributes("id"))
    assert page.attributes("style") == [], "the policy would refuse it"
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", "".join(page.raw["style"] + page.raw["script"]))
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256("".join(page.raw[kind]).encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in (policy or "")
    assert (policy or "").startswith("default-src 'none';")


def test_every_chart_is_sound_titled_and_described(page: Page) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page.source, re.S)
    # 4 by measure, 4 by party, 6 directions of 2 rounds and 1 outcome, 2 of traffic, 1 of time, 5 of soundness
    assert len(drawings) == 4 + 4 + 6 * 3 + 2 + 1 + 5
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert [child.tag.rpartition("}")[2] for child in root[:2]] == ["title", "desc"]
        assert all(child.text for child in root[:2])
        assert root.get("role") == "img"
        assert "nan" not in drawing


def poison(value: Any, free: bool = False) -> Any:
    """Add HOSTILE to every text but roles, and to the keys of free mappings."""
    if isinstance(value, str):
        return value if value in ("server", "client") else value + HOSTILE
    if isinstance(value, list):
        return [poison(item) for item in value]
    if isinstance(value, dict):
        mappings = ("config", "domains", "difficulty", "diagnostics", "packages")
        return {key + HOSTILE * free: poison(item, key in mappings) for key, item in value.items()}
    return value


def test_hostile_text_is_only_ever_text(tmp_path: Path, results: Results) -> None:
    told = results.model_copy(update={"notices": ("round 1: a client says this",)})
    poisoned = Results.model_validate(poison(json.loads(told.model_dump_json())))
    candidates = make_candidates(poisoned, 20)
    reasons = pa.array([HOSTILE] * candidates.num_rows)
    candidates = candidates.set_column(candidates.column_names.index("reason"), "reason", reasons)
    page = page_of(tmp_path, poisoned, candidates)
    assert page.count("script") == page.count("style") == 1
    assert page.count("img") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for party in (SERVER, *CLIENTS):
        assert any(row and row[0] == f"{party}{HOSTILE}" for row in page.rows)
    assert f"{results.shown[0].question}{HOSTILE}" in page.text
    assert f"a client says this{HOSTILE}" in page.text
    assert next(row[:2] for row in page.rows if row[1:2] == [HOSTILE]) == ["✓ chosen", HOSTILE]


def test_who_was_missing_is_told_and_escaped_and_folded_where_it_is_long(tmp_path: Path, results: Results) -> None:
    head, why = ["client", "round", "phase", "why"], f"malformed message ({HOSTILE})"
    assert head not in page_of(tmp_path, results).rows
    gone = Missing(party=f"clinic{HOSTILE}", round=2, phase="learn", why=why)
    page = page_of(tmp_path, shorn(results, missing=(gone,)))
    assert page.rows[page.rows.index(head) + 1] == [f"clinic{HOSTILE}", "2", "learn", why]
    assert page.count("img") == 0
    assert page.count("script") == 1
    assert "times a client was missing" not in page.text
    assert "13 times a client was missing" in page_of(tmp_path, shorn(results, missing=(gone,) * 13)).text


def test_without_times_of_messages_there_is_no_section_on_them(tmp_path: Path, results: Results) -> None:
    clock = results.wall_clock.model_copy(update={"exchanges": ()})
    assert "Exchange" not in page_of(tmp_path, shorn(results, wall_clock=clock)).text


def shorn(results: Results, **update: object) -> Results:
    return results.model_copy(update=update)


def test_clients_without_own_domains(tmp_path: Path, results: Results) -> None:
    bare = tuple(e.model_copy(update={"own": None, "other": None, "general": None}) for e in results.evaluations)
    parties = tuple(party.model_copy(update={"domains": ()}) for party in results.parties)
    page = page_of(tmp_path, shorn(results, evaluations=bare, parties=parties))
    assert next(r for r in page.rows if r[0].startswith("clinic") and "parameters" in r[1])[3:5] == ["–", "–"]
    assert "by domain" in page.text
    assert "own domains" not in page.text.replace("own domains other domains general skill", "")
    assert "the LLM rose from" in page.text


def test_no_samples_shown(tmp_path: Path, results: Results) -> None:
    page = page_of(tmp_path, shorn(results, shown=()))
    assert "This run kept no test questions to show." in page.text
    assert page.count("article") == page.count("form") == 0


def test_unknown_gold_is_not_called_right_or_wrong(tmp_path: Path, results: Results) -> None:
    shown = results.shown[0].model_copy(update={"answer": None, "before": [("7 boxes", None)], "difficulty": None})
    rows = make_candidates(results, 30).to_pylist()
    unknown = [row | {"teacher_right": None, "student_right": None, "difficulty": None} for row in rows]
    allocations = tuple(record.model_copy(update={"right": None}) for record in results.allocations)
    page = page_of(
        tmp_path,
        shorn(results, shown=(shown,), allocations=allocations),
        pa.Table.from_pylist(unknown, schema=SCHEMA),
    )
    sample = page.source[page.source.index("<article") : page.source.index("</article>")]
    assert sample.count('<span class="soft">not checked</span>') == 3
    assert "The right answer is not known." in sample
    assert "Right answers: left out ○, chosen ●" not in page.text
    assert ">unknown</text>" in page.source
    assert next(r for r in page.rows if r[0] == "llm → clinic")[6] == "–"


def test_candidates_without_scores_still_tell_outcomes_and_reasons(tmp_path: Path, results: Results) -> None:
    rows = [
        row | {"score": float("nan") if i % 2 else None}
        for i, row in enumerate(make_candidates(results, 20).to_pylist())
    ]
    page = page_of(tmp_path, results, pa.Table.from_pylist(rows, schema=SCHEMA))
    assert page.source.count("Right answers: left out ○, chosen ●</figcaption>") == 6
    assert 'class="chart strip"' not in page.source


@pytest.mark.parametrize("there", [True, False], ids=["empty file", "no file"])
def test_no_candidates(tmp_path: Path, results: Results, there: bool) -> None:
    write_run(tmp_path, results, SCHEMA.empty_table())
    if not there:
        (tmp_path / "allocations.parquet").unlink()
    page = Page(render(tmp_path))
    assert "pair" not in page.attributes("class")
    assert any(row[0] == "llm → clinic" for row in page.rows)


def test_no_exchange(tmp_path: Path, results: Results) -> None:
    page = page_of(tmp_path, shorn(results, traffic=(), allocations=()), SCHEMA.empty_table())
    assert "No message crossed the wire in this run." in page.text
    assert "No allocator chose samples in this run." in page.text
    assert "; no message was exchanged." in page.text
    assert "while learning from the LLM" not in page.text


@pytest.mark.parametrize("rounds", [0, 1])
def test_few_rounds(tmp_path: Path, rounds: int) -> None:
    page = page_of(tmp_path, make_results(rounds=rounds))
    assert ("Before the first round, 3 clients answer" if rounds == 0 else "In 1 round, 3 clients rose") in page.text
    assert ("No party studied." in page.text) == (rounds == 0)


def test_nothing_evaluated(tmp_path: Path, results: Results) -> None:
    page = page_of(tmp_path, shorn(results, evaluations=()))
    for told in ("Nothing was evaluated in this run.", "No domain and no difficulty was evaluated.", "None of these"):
        assert told in page.text


def test_fifty_clients_with_long_names(tmp_path: Path) -> None:
    clients = tuple(f"hospital-{i:02d}-of-the-university-of-a-city-far-away" for i in range(50))
    results = make_results(clients)
    page = page_of(tmp_path, results, make_candidates(results, 10))
    for client in clients:
        assert sum(row[0] == client and row[1] == "all domains" for row in page.rows) == 1
    assert page.source.count('class="line quiet"') == 9 * 50, "4 measures and 5 of soundness"
    assert "43 more parties" in page.text
    assert page.attributes("class").count("pair") == 50
    assert all(name not in clients for name in re.findall(r"<text[^>]*>([^<]*)</text>", page.source))


def evaluations(values: dict[tuple[str, int], tuple[float, float]]) -> tuple:
    """Evaluations with (overall, other) by party and round."""
    model = make_results(rounds=0).evaluations[0]
    return tuple(
        model.model_copy(
            update={"party": party, "round": round, "overall": interval(a, 100), "other": interval(b, 100)}
        )
        for (party, round), (a, b) in values.items()
    )


def test_the_sentence_by_hand(results: Results) -> None:
    values = {
        ("llm", 0): (50.0, 30.0), ("clinic", 0): (10.0, 0.0), ("kitchen", 0): (20.0, 0.0), ("warehouse", 0): (6.0, 0.0),
        ("llm", 2): (60.0, 28.6), ("clinic", 2): (50.0, 0.0), ("kitchen", 2): (60.0, 0.0), ("warehouse", 2): (40.0, 0),
    }  # fmt: skip
    run = shorn(results, evaluations=evaluations(values))
    assert plain(sentence(View(run))) == (
        "In 2 rounds, 3 clients rose from 12.0 % to 50.0 % on all domains on average while learning from the LLM, and "
        "the LLM lost 1.4 points on the clients’ domains; LaDa put no private sample into any message "
        "(see the ledger). The clients’ general skill stayed at 93.3 %."
    )
    alone = shorn(run, parties=run.parties[1:2], traffic=(), allocations=())
    assert plain(sentence(View(alone))) == (
        "In 2 rounds, the client clinic rose from 10.0 % to 50.0 % on all domains. The client’s general skill stayed "
        "at 93.3 %."
    )
    central = shorn(run, parties=run.parties[:1], traffic=(), allocations=())
    assert plain(sentence(View(central))) == "In 2 rounds, the LLM rose from 50.0 % to 60.0 % on all domains."


def test_forgetting_is_a_column_and_a_sentence(tmp_path: Path, results: Results) -> None:
    skill = {("clinic", 0): 100.0, ("kitchen", 0): 90.0, ("warehouse", 0): 80.0,
             ("clinic", 2): 60.0, ("kitchen", 2): 45.0, ("warehouse", 2): 30.0}  # fmt: skip
    forgot = tuple(
        e.model_copy(update={"general": interval(skill[e.party, e.round], 60)}) if (e.party, e.round) in skill else e
        for e in results.evaluations
    )
    page = page_of(tmp_path, shorn(results, evaluations=forgot))
    assert "The clients’ general skill fell from 90.0 % to 45.0 %." in plain(page.source)
    assert page.rows[0][5] == "general skill"
    assert next(r for r in page.rows if r[0] == "kitchenclient")[5].startswith("90.0 → 45.0 −45.0")


def test_the_terminal_tells_the_same_bytes(page: Page, results: Results) -> None:
    sent = list(summary(results).columns[5].cells)
    told = {row[0]: row[6] for row in page.rows if len(row) == 9 and row[0].endswith(("client", "server"))}
    assert sent == [told[f"{name}{'server' if name == SERVER else 'client'}"] for name in (SERVER, *CLIENTS)]


def test_why_samples_were_left_out_is_told_by_whose_answer_was_right(tmp_path: Path, results: Results) -> None:
    rows = [row | {"reason": row["reason"] if row["chosen"] else None} for row in make_candidates(results).to_pylist()]
    page = page_of(tmp_path, results, pa.Table.from_pylist(rows, schema=SCHEMA))
    of = [r for r in rows if (r["teacher"], r["student"]) == ("llm", "clinic") and not r["chosen"]]
    counts = [f"{sum(r['round'] == n and r['teacher_right'] and not r['student_right'] for r in of)}" for n in (1, 2)]
    assert ["○ left out", "teacher right, student wrong", *counts] in page.rows


@pytest.mark.parametrize(("rule", "lines"), [(lambda score: score > 0.5, 12), (lambda score: abs(score) < 0.5, 0)])
def test_a_threshold_is_drawn_where_the_score_alone_decided(
    tmp_path: Path, results: Results, rule: Any, lines: int
) -> None:
    rows = [row | {"chosen": bool(rule(row["score"]))} for row in make_candidates(results, 60).to_pylist()]
    page = page_of(tmp_path, results, pa.Table.from_pylist(rows, schema=SCHEMA))
    assert page.attributes("class").count("threshold") == lines, "of 6 directions and 2 rounds"


def test_what_stands_before_the_samples_is_short_and_the_rest_opens(page: Page) -> None:
    before = page.source[: page.source.index('<section id="samples">')]
    shown = re.sub(
        r"<details.*?</details>",
        "",
        re.sub(r"<details class=\"pair\">.*?</details>", "", before, flags=re.S),
        flags=re.S,
    )
    assert shown.count("</figure>") == 4, "the charts by round"
    assert shown.count("</table>") == 2, "what happened, and what was chosen"
    chapters = re.findall(r'<section id="(\w+)">\s*<details class="chapter">', page.source)
    assert chapters == ["domains", "traffic", "time", "soundness", "clients", "setup"]


def test_further_notices_stand_behind_a_heading(tmp_path: Path, results: Results) -> None:
    page = page_of(tmp_path, shorn(results, notices=tuple(f"notice {i}" for i in range(5))))
    assert "2 more of these" in page.text
    assert page.source.index("notice 2") < page.source.index("2 more of these") < page.source.index("notice 3")


def test_missing_results_name_the_folder_and_the_fix(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with pytest.raises(InputError, match=rf"{tmp_path}/demo: cannot read results.json .* name the folder of"):
        render(tmp_path / "demo")
    with pytest.raises(InputError, match=rf"there is no folder '{tmp_path}/dmo'; .*; did you mean 'demo'\?"):
        render(tmp_path / "dmo")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "results.json is not JSON"),
        ("[]", "does not fit the schema at the whole file"),
        ('{"name": "x"}', "does not fit the schema at config"),
        ('{"schema_version": 99}', "has schema_version 99; this version of lada reads 1"),
        ('{"name": "\\ud800"}', "results.json is not JSON"),
    ],
)
def test_malformed_results_name_the_folder_and_the_fault(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(told)) as error:
        render(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert not (tmp_path / "report.html").exists()


def test_malformed_candidates_name_the_folder_and_the_columns(tmp_path: Path, results: Results) -> None:
    write_run(tmp_path, results, SCHEMA.empty_table())
    (tmp_path / "allocations.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputError, match="expected the columns round, teacher, student"):
        render(tmp_path)
    pq.write_table(SCHEMA.empty_table().drop_columns(["reason"]), tmp_path / "allocations.parquet")
    with pytest.raises(InputError, match="reason"):
        render(tmp_path)
