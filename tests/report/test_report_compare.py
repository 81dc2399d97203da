import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from pages import Page
from pydantic import TypeAdapter
from synthetic_run import CLIENTS, SERVER, make_results, write_run

from lada.codecs.paths import encode
from lada.core.errors import InputError
from lada.core.results import Results
from lada.core.terms import Knowledge, Likelihood
from lada.core.terms import Path as PartyPath
from lada.evaluation.comparison import over_questions
from lada.evaluation.evaluate import evaluate
from lada.report import compare
from lada.report.comparison import _labels
from lada.report.words import difference
from lada.tasks.load import load_task
from lada.tasks.options import TaskOptions


def with_overall(results: Results, values: dict[tuple[str, int], float]) -> Results:
    """`results` with the given overall accuracies."""
    changed = tuple(
        e.model_copy(update={"overall": e.overall.model_copy(update={"value": values[e.party, e.round]})})
        for e in results.evaluations
    )
    return results.model_copy(update={"evaluations": changed})


def test_means_and_differences_by_hand(tmp_path: Path) -> None:
    first = {("llm", 0): 50.0, ("clinic", 0): 10.0, ("kitchen", 0): 20.0, ("warehouse", 0): 30.0,
             ("llm", 1): 60.0, ("clinic", 1): 40.0, ("kitchen", 1): 50.0, ("warehouse", 1): 66.0}  # fmt: skip
    second = first | {("clinic", 1): 37.0, ("llm", 1): 64.5}
    a = write_run(tmp_path / "a", with_overall(make_results(rounds=1, name="lada"), first))
    half = make_results(rounds=1, name="random", seed=8)
    half = half.model_copy(update={"traffic": half.traffic[: len(half.traffic) // 2]})
    b = write_run(tmp_path / "b", with_overall(half, second))
    target = tmp_path / "pages" / "compare.html"
    assert compare([a, b], target) == target
    page = Page(target)
    head, lada, random = page.rows[:3]
    assert head[:2] == ["run", "clients, all domains"]
    assert head[4:8] == ["clients, general skill", "LLM, all domains", "LLM, clients’ domains", "LLM, general skill"]
    assert lada[:2] == ["lada", "52.0 from 20.0"]
    assert random[:2] == ["random", "51.0 from 20.0−1.0"]
    assert (lada[5], random[5]) == ("60.0 from 50.0", "64.5 from 50.0+4.5")
    # Six messages of 183 300 bytes of paths and 21 730 of metrics; half of them.
    assert (lada[8], random[8]) == ("1.2\u202fMB", "615\u202fkB −615\u202fkB")
    assert ["seed", "7", "8"] in page.rows
    assert all(row[0] != "host" for row in page.rows), "the same in both"
    assert page.text.count("The corpus is synthetic") == 1, "a notice that runs share is said once"
    assert page.source.count("</svg>") == 14


TASK = {"kind": "rulebooks", "world": 0, "public": 14, "private": 14, "test_per_domain": 30, "replay": 0}
OPTIONS: TypeAdapter[TaskOptions] = TypeAdapter(TaskOptions)
Rule = Callable[[int], bool]


def answered(folder: Path, name: str, rules: Mapping[str, Rule], **task: object) -> Path:
    """Write a run of one round in which a party is right after it as its rule says, and never before it."""
    results = make_results(rounds=1, name=name)
    options = TASK | task
    of = load_task(OPTIONS.validate_python(options), {client: (client,) for client in CLIENTS}, 7)
    domains = frozenset(sample.domain for sample in of.test) - of.general
    evaluations = []
    for party in (SERVER, *CLIENTS):
        own = of.own_domains.get(party, domains - frozenset(CLIENTS))
        for round in (0, 1):
            right = [round == 1 and rules.get(party, lambda _: False)(i) for i in range(len(of.test))]
            paths = tuple(
                PartyPath(sample.id, party, "text", None, verdict, Likelihood.unknown(4))
                for sample, verdict in zip(of.test, right, strict=True)
            )
            file = folder / "clients" / party / f"test-paths-{round}.arrow"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(Knowledge(party, round, paths)))
            groups = {"own": own, "other": domains - own, "general": of.general}
            evaluations.append(evaluate(party, round, of.test, paths, **groups, steps=None, agreement=None, seed=0))
    (folder / "place.json").write_text('{"base": "/", "started": 0}')
    config = results.config | {"task": options}
    return write_run(folder, results.model_copy(update={"evaluations": tuple(evaluations), "config": config}))


def cell(page: Page, run: str, column: str) -> tuple[str, str]:
    """Return what a row of the first table says in a column, and the class of its difference."""
    place = page.rows[0].index(column)
    row = next(found for found in page.source.split("<tr>") if f'<th scope="row">{run}</th>' in found)
    found = re.search('<em class="(\\w+)">', row.split("<td")[place])
    return next(each for each in page.rows if each[0] == run)[place], found[1] if found else ""


def test_differences_are_paired_by_question_and_noise_has_no_colour(tmp_path: Path) -> None:
    half, more = (lambda i: i % 2 == 0), (lambda i: i % 2 == 0 or i % 8 == 1)
    first = answered(tmp_path / "a", "first", dict.fromkeys(CLIENTS, half) | {SERVER: half})
    # One question of eight more is right with every client; the LLM is right on one more and one less in 210.
    mixed = lambda i: (i % 2 == 0 or i == 3) and i != 4  # noqa: E731
    second = answered(tmp_path / "b", "second", dict.fromkeys(CLIENTS, more) | {SERVER: mixed})
    page = Page(compare([first, second], tmp_path / "compare.html"))
    text, kind = cell(page, "second", "clients, all domains")
    values = np.array([100.0 * (more(i) - half(i)) for i in range(210)])
    expected = over_questions([[values]], seed=crc32(b"overall"))
    assert expected.low is not None
    assert expected.high is not None
    said = f"{difference(expected.value)} [{difference(expected.low)}, {difference(expected.high)}]"
    assert text.endswith(said)
    assert expected.low > 0
    assert kind == "rise"
    text, kind = cell(page, "second", "LLM, all domains")
    assert text.startswith("50.0 from 0.0+0.0 [−")
    assert kind == "noise"
    assert "notice" not in page.attributes("class")[: page.attributes("class").index("caption")], "no warning"


def test_clients_count_alike_however_many_questions_are_theirs(tmp_path: Path) -> None:
    none, all_ = (lambda _: False), (lambda _: True)
    first = answered(tmp_path / "a", "first", dict.fromkeys(CLIENTS, none))
    second = answered(tmp_path / "b", "second", {CLIENTS[0]: all_})
    page = Page(compare([first, second], tmp_path / "compare.html"))
    assert cell(page, "second", "clients, own domains")[0].startswith("33.3 from 0.0+33.3 [+")
    assert page.source.count("disc rise") == 4, "what a client learnt, over the clients’ four groups of questions"
    assert page.source.count("disc noise") == 4 + 2 * 3, "what nobody learnt"


def test_other_tasks_are_warned_of_and_have_no_interval(tmp_path: Path) -> None:
    half: dict[str, Rule] = {client: lambda i: i % 2 == 0 for client in CLIENTS}
    first = answered(tmp_path / "a", "first", half)
    noisy = answered(tmp_path / "b", "noisy", dict.fromkeys(CLIENTS, lambda _: True), noise=0.5)
    world = answered(tmp_path / "c", "world", dict.fromkeys(CLIENTS, lambda _: True), world=1)
    page = Page(compare([first, noisy, world], tmp_path / "compare.html"))
    assert "noisy has another task than first (task.noise), which may explain a difference." in page.text
    assert "world has another task than first (task.world), which may explain a difference." in page.text
    assert "world answered other test questions than first, so differences have no interval." in page.text
    assert "noisy answered" not in page.text
    assert cell(page, "noisy", "clients, all domains")[0].startswith("100.0 from 0.0+50.0 [+")
    assert cell(page, "world", "clients, all domains") == ("100.0 from 0.0+50.0", "noise")


def test_answers_that_do_not_add_up_to_the_accuracy_give_no_interval(tmp_path: Path) -> None:
    first = answered(tmp_path / "a", "first", dict.fromkeys(CLIENTS, lambda i: i % 2 == 0))
    second = answered(tmp_path / "b", "second", dict.fromkeys(CLIENTS, lambda i: i % 3 == 0))
    shutil.copy(first / "clients/clinic/test-paths-1.arrow", second / "clients/clinic/test-paths-1.arrow")
    page = Page(compare([first, second], tmp_path / "compare.html"))
    assert cell(page, "second", "clients, all domains") == ("33.3 from 0.0−16.7", "noise")


def test_charts_leave_out_what_all_names_share() -> None:
    assert _labels(["a-lada-0", "a-random-0"]) == {"a-lada-0": "lada", "a-random-0": "random"}
    assert _labels(["a-b", "a-b-2"]) == {"a-b": "b", "a-b-2": "b-2"}
    assert _labels(["alone-0"]) == {"alone-0": "alone-0"}


def test_runs_of_one_name_are_told_apart_and_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    folders = [write_run(tmp_path / f"{i}", make_results(rounds=0, name=name)) for i in range(2)]
    page = Page(compare(folders, tmp_path / "compare.html"))
    assert page.count("script") == 1
    assert [row[0] for row in page.rows[1:3]] == [f"{name} ({folder})" for folder in folders]


def test_a_single_run_and_runs_without_what_the_first_has(tmp_path: Path) -> None:
    full = write_run(tmp_path / "full", make_results())
    alone = make_results(name="alone")
    bare = tuple(e.model_copy(update={"own": None, "other": None}) for e in alone.evaluations if e.party != "llm")
    alone = write_run(
        tmp_path / "alone", alone.model_copy(update={"evaluations": bare, "parties": alone.parties[1:], "traffic": ()})
    )
    page = Page(compare([full, alone], tmp_path / "compare.html"))
    assert page.rows[2][2:4] == page.rows[2][5:8][:2] == ["–"] * 2
    assert "1 run side by side" in Page(compare([alone], tmp_path / "one.html")).text


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder was named"):
        compare([], tmp_path / "compare.html")
    with pytest.raises(InputError, match=f"there is no folder '{tmp_path}/x'"):
        compare([tmp_path / "x"], tmp_path / "compare.html")
    assert not (tmp_path / "compare.html").exists()
