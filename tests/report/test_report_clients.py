"""Clients side by side: figures by client and round by hand, in frames and on the page."""

from pathlib import Path

import pytest
from pages import Page
from synthetic_run import interval, make_results, write_run

from lada.core.results import Results
from lada.report import render
from lada.report.clients import by_client, by_round, by_size, fairness
from lada.report.interactive import RunResults
from lada.report.view import View


def run(*clients: tuple[int, float, float, float | None]) -> Results:
    """Return a run of one round; each client has private samples, accuracy before and after, and agreement."""
    names = [f"c{number:03}" for number in range(len(clients))]
    made = make_results(tuple(names), rounds=1)
    figures = dict(zip(names, clients, strict=True))
    parties = [
        party.model_copy(update={"private_samples": figures[party.name][0]} if party.name in figures else {})
        for party in made.parties
    ]
    evaluations = []
    for each in made.evaluations:
        if each.party in figures:
            _, *accuracy, agreement = figures[each.party]
            changes = {"overall": interval(accuracy[each.round], 100), "agreement": agreement}
            each = each.model_copy(update=changes)
        evaluations.append(each)
    return made.model_copy(update={"parties": tuple(parties), "evaluations": tuple(evaluations)})


FOUR = run((100, 20.0, 30.0, 40.0), (200, 20.0, 60.0, 60.0), (300, 20.0, 50.0, 50.0), (400, 20.0, 80.0, 90.0))


def test_rounds_by_hand():
    # Gains 10, 40, 30, 60 rank as agreement does. Accuracies rank 1 3 2 4 by size: 1 - 6 · 2 / 60 = 0.8.
    before, after = by_round(FOUR)
    assert (before.round, before.clients, before.mean, before.spread) == (0, 4, 20.0, 0.0)
    assert (before.gain_and_agreement, before.accuracy_and_size) == (None, None)
    assert (after.mean, after.worst_tenth) == (55.0, 30.0)
    assert after.spread == pytest.approx(325**0.5)
    assert after.gain_and_agreement == pytest.approx(1.0)
    assert after.accuracy_and_size == pytest.approx(0.8)


def test_clients_by_hand():
    first = by_client(FOUR)[0]
    assert (first.client, first.private_samples, first.tokens, first.lessons) == ("c000", 100, 512_000, 6400)
    assert (first.before, first.after, first.gain, first.agreement) == (20.0, 30.0, 10.0, 40.0)
    assert (first.fidelity, first.self_bleu) == (34.0, 70.0)


def test_what_is_not_known_is_no_figure():
    bare = run((1, 5.0, 6.0, None), (2, 5.0, 7.0, None), (3, 5.0, 8.0, None))
    assert by_round(bare)[1].gain_and_agreement is None
    assert by_round(bare)[1].accuracy_and_size == pytest.approx(1.0)
    assert by_round(bare.model_copy(update={"evaluations": ()})) == []
    assert by_client(bare.model_copy(update={"evaluations": ()}))[0].gain is None


def test_the_worst_tenth_of_many_and_groups_by_size():
    many = run(*((10 * number, 0.0, float(number), None) for number in range(100)))
    assert by_round(many)[1].worst_tenth == 4.5  # of 0, 1, …, 9
    rows = by_size(View(many)).rows
    assert [row[:2] for row in rows] == [(f"{200 * g}–{200 * g + 190}", "20 clients") for g in range(5)]
    assert [row[4] for row in rows] == ["9.5", "29.5", "49.5", "69.5", "89.5"]


def test_the_page_shows_both_tables_and_what_they_mean(tmp_path: Path):
    page = Page(render(write_run(tmp_path, FOUR)))
    assert ["1", "4", "55.0", "30.0", "18.0", "1.00", "0.80"] in page.rows
    assert ["200", "c001", "512000", "20.0", "60.0", "+40.0", "60.0", "34.0", "70.0"] in page.rows
    assert "a gain without agreement was learnt elsewhere" in page.text
    assert ["c000", "rationale fidelity", "9.0", "34.0"] in page.rows
    assert ["llm", "self-BLEU", "60.0", "70.0"] in page.rows
    single = run((100, 20.0, 30.0, 40.0))
    assert (fairness(View(single)).rows, by_size(View(single)).rows) == ([], [])
    assert "There are not enough clients to compare." in Page(render(write_run(tmp_path / "one", single))).text


def test_both_are_frames(tmp_path: Path):
    results = RunResults.in_folder(FOUR, tmp_path)
    frame = results.frame("clients")
    assert frame.client.tolist() == ["c000", "c001", "c002", "c003"]
    assert frame.gain.tolist() == [10.0, 40.0, 30.0, 60.0]
    assert results.frame("rounds").worst_tenth.tolist() == [20.0, 30.0]
