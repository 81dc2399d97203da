"""What a prompt and a notebook show of runs, by hand from a made run."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pages import Page
from synthetic_run import make_results, write_run

import lada
from lada.core.errors import InputError
from lada.core.results import Interval, Results
from lada.report.interactive import RunResults


def valued(results: Results, values: dict[tuple[str, int], float]) -> Results:
    """Return results with these overall accuracies, percent of 100 questions, ± 5."""
    changed = tuple(
        e.model_copy(update={"overall": Interval(value=v, low=v - 5, high=v + 5, count=100)})
        for e in results.evaluations
        for v in [values[e.party, e.round]]
    )
    return results.model_copy(update={"evaluations": changed})


VALUES = {("llm", 0): 50.0, ("clinic", 0): 10.0, ("kitchen", 0): 20.0, ("warehouse", 0): 30.0,
          ("llm", 1): 60.0, ("clinic", 1): 40.0, ("kitchen", 1): 50.0, ("warehouse", 1): 66.0}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunResults:
    folder = write_run(tmp_path / "a", valued(make_results(rounds=1, name="lada"), VALUES))
    return lada.load(str(folder))


def shown(html: str, tmp_path: Path) -> Page:
    file = tmp_path / "shown.html"
    file.write_text(html, encoding="utf-8")
    return Page(file)


def test_a_prompt_shows_one_line(run: RunResults, tmp_path: Path) -> None:
    folder = str(tmp_path / "a")
    expected = f"<run 'lada' in {folder!r}: 1 round, 3 clients 20.0 → 52.0 %, LLM 50.0 → 60.0 %>"
    assert (repr(run), str(run)) == (expected, expected)
    empty = RunResults.in_folder(run.model_copy(update={"evaluations": ()}), run.folder)
    assert repr(empty) == f"<run 'lada' in {folder!r}: 0 rounds>"


def test_results_keep_what_they_measured(run: RunResults, tmp_path: Path) -> None:
    assert run.folder == tmp_path / "a"
    assert run.model_dump_json() == valued(make_results(rounds=1, name="lada"), VALUES).model_dump_json()


def test_a_notebook_shows_the_sentence_and_the_first_table_of_the_report(run: RunResults, tmp_path: Path) -> None:
    page = shown(run._repr_html_(), tmp_path)
    assert "3 clients rose from 20.0 % to 52.0 %" in page.text
    assert [row[0] for row in page.rows] == ["party", "llmserver", "clinicclient", "kitchenclient", "warehouseclient"]
    assert str(run.folder) in page.text
    hostile = RunResults.in_folder(run.model_copy(update={"name": "x"}), Path("<script>"))
    assert "<script" not in hostile._repr_html_()


def test_the_report_is_written_again(run: RunResults) -> None:
    assert run.report() == run.folder / "report.html"
    assert "3 clients rose" in Page(run.folder / "report.html").text


def test_evaluations_are_rows_with_intervals_as_columns(run: RunResults) -> None:
    frame = run.frame()
    assert list(frame.columns[:6]) == ["party", "round", "overall", "overall_low", "overall_high", "overall_count"]
    row = frame[(frame.party == "clinic") & (frame["round"] == 1)].iloc[0]
    assert list(row[["overall", "overall_low", "overall_high", "overall_count"]]) == [40.0, 35.0, 45.0, 100]
    assert row["domains.bank"] == run.of("clinic", 1).domains["bank"].value
    assert row["difficulty.2_high"] == run.of("clinic", 1).difficulty["2"].high
    assert frame[frame.party == "llm"].agreement.isna().all()
    assert len(frame) == 8


def test_a_score_that_nobody_has_is_a_column_too(run: RunResults) -> None:
    bare = tuple(e.model_copy(update={"own": None}) for e in run.evaluations)
    frame = RunResults.in_folder(run.model_copy(update={"evaluations": bare}), run.folder).frame()
    assert frame.own.isna().all()


@pytest.mark.parametrize(
    ("what", "count", "column", "total"),
    [
        ("studies", 4, "tokens", 4 * 512_000),
        ("allocations", 6, "diagnostics.auc", pytest.approx(6 * 0.76)),
        ("traffic", 12, "bytes", 6 * (183_300 + 21_730)),
    ],
)
def test_other_records_are_rows_too(run: RunResults, what: Any, count: int, column: str, total: float) -> None:
    frame = run.frame(what)
    assert (len(frame), frame[column].sum()) == (count, total)


def test_what_is_no_kind_of_records_or_measure_is_refused(run: RunResults) -> None:
    wrong: Any = "trafic"
    with pytest.raises(InputError, match=r"'trafic'.*expected one of evaluations, studies.*did you mean 'traffic'\?"):
        run.frame(wrong)
    with pytest.raises(InputError, match=r"'ovn'.*expected one of overall, own.*did you mean 'own'\?"):
        run.plot("ovn")
    bare = tuple(e.model_copy(update={"general": None}) for e in run.evaluations)
    with pytest.raises(InputError, match="no party of this run has 'general'"):
        RunResults.in_folder(run.model_copy(update={"evaluations": bare}), run.folder).plot("general")


@pytest.mark.parametrize(("package", "call"), [("pandas", RunResults.frame), ("matplotlib.pyplot", RunResults.plot)])
def test_a_missing_package_is_told_with_its_extra(
    run: RunResults, monkeypatch: pytest.MonkeyPatch, package: str, call: Any
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        InputError, match=r"needs the package (pandas|matplotlib) .*pip install 'lada-fed\[notebook\]'"
    ) as error:
        call(run)
    assert "\n" not in str(error.value)


def test_a_plot_has_a_line_per_party_and_its_interval(run: RunResults) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    axes = run.plot()
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert lines == {"llm": [50, 60], "clinic": [10, 40], "kitchen": [20, 50], "warehouse": [30, 66]}
    (low, high) = axes.collections[0].get_datalim(axes.transData).intervaly
    assert (low, high) in [(value[0] - 5, value[1] + 5) for value in lines.values()]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("lada", "round", "right on all domains, %")
    assert run.plot("own", axes=axes) is axes


def test_a_comparison_is_the_table_of_the_page(run: RunResults, tmp_path: Path) -> None:
    other = write_run(tmp_path / "b", valued(make_results(rounds=1, name="random"), VALUES | {("clinic", 1): 37.0}))
    both = lada.compare([run, other])
    assert repr(both) == "<comparison of 'lada' with 'random'>"
    assert repr(lada.compare([other])) == "<comparison of 'random' with nothing>"
    page = Page(both.report(tmp_path / "comparison.html"))
    rows = shown(both._repr_html_(), tmp_path).rows
    assert rows == page.rows[: len(rows)]
    assert [row[0] for row in rows] == ["run", "lada", "random"]
    assert "Differences are from the first run, lada." in both._repr_html_()
    assert "random has no intervals of differences" in shown(both._repr_html_(), tmp_path).text


def test_a_comparison_has_its_numbers_in_a_frame(run: RunResults, tmp_path: Path) -> None:
    other = write_run(tmp_path / "b", valued(make_results(rounds=1, name="random"), VALUES | {("clinic", 1): 37.0}))
    frame = lada.compare([run, other]).frame().set_index(["run", "measure"])
    first, second = (frame.loc[name, "clients, all domains"] for name in ("lada", "random"))
    assert (first.before, first.after, second.before, second.after) == (20.0, 52.0, 20.0, 51.0)
    assert second.difference == -1.0
    assert first[["difference", "low", "high"]].isna().all()
    assert second[["low", "high"]].isna().all()  # a made run has no answers to pair


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*x'"):
        lada.load(tmp_path / "x")
    with pytest.raises(InputError, match=r"there is no folder .*x'"):
        lada.compare([str(tmp_path / "x")])
    with pytest.raises(InputError, match="no run folder was named"):
        lada.compare([])
