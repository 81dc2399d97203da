from pathlib import Path

import pytest
from pages import Page
from synthetic_run import make_results, write_run

from lada.core.errors import InputError
from lada.core.results import Results
from lada.report import compare


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
    assert lada[:2] == ["lada", "52.0 from 20.0"]
    assert random[:2] == ["random", "51.0 from 20.0 −1.0"]
    assert (lada[4], random[4]) == ("60.0 from 50.0", "64.5 from 50.0 +4.5")
    # Six messages of 183 300 bytes of paths and 21 730 of metrics; half of them.
    assert (lada[6], random[6]) == ("1.2\u202fMB", "615\u202fkB −615\u202fkB")
    assert ["seed", "7", "8"] in page.rows
    assert all(row[0] != "host" for row in page.rows), "the same in both"
    assert page.text.count("The corpus is synthetic") == 1, "a notice that runs share is said once"
    assert page.source.count("</svg>") == 10


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
    assert page.rows[2][2:6] == ["–"] * 4
    assert "1 run side by side" in Page(compare([alone], tmp_path / "one.html")).text


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder was named"):
        compare([], tmp_path / "compare.html")
    with pytest.raises(InputError, match=f"{tmp_path}/x: cannot read results.json"):
        compare([tmp_path / "x"], tmp_path / "compare.html")
    assert not (tmp_path / "compare.html").exists()
