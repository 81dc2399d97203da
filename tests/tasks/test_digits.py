"""The task `digits`: which scans go where, and what a question shows of them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lada.core.errors import InputError
from lada.core.grids import read_grids, write_grids
from lada.core.terms import Sample
from lada.models.label_sets import LABEL_SETS, PLACES, caption
from lada.tasks.data import TaskData
from lada.tasks.digits import TEST, load_digits, load_school
from lada.tasks.options import DigitsTask
from lada.tasks.scans import ATTRIBUTES, DOMAINS, graph, looks, neighbours, scans, scene, strokes
from lada.tasks.web import drawn_letter

SMALL: dict[str, Any] = {"public": 24, "private": 40, "test_per_domain": 12}
TWO = {"b": ("inverted",), "a": ("plain",)}


def task(clients: dict[str, tuple[str, ...]] | None = None, seed: int = 0, **options: Any) -> TaskData:
    return load_digits(DigitsTask.model_validate(SMALL | options), TWO if clients is None else clients, seed)


def rows(samples: tuple[Sample, ...]) -> list[int]:
    """Return the number of the scan behind each sample, whose question shows it in its domain."""
    known = {
        domain: {write_grids({"scan": image}): row for row, image in enumerate(looks(0, domain))} for domain in DOMAINS
    }
    return [known[sample.domain][sample.question] for sample in samples]


def test_a_question_is_a_real_scan_and_its_label_the_whole_path():
    sample = task().test[0]
    row = int(scans(0).order[0])
    assert read_grids(sample.question)["scan"].tolist() == scans(0).images[row].tolist()
    label = str(scans(0).labels[row])
    assert (sample.id, sample.answer, sample.rationale, sample.domain) == ("test-plain-00000", label, label, "plain")


def test_no_scan_is_in_two_places():
    data = task()
    test = set(scans(0).order[:TEST].tolist())
    public, a, b = (set(rows(part)) for part in (data.public, data.private["a"], data.private["b"]))
    assert (len(public), len(a), len(b)) == (24, 20, 20)
    assert len(public | a | b) == 64
    assert not (public | a | b) & test
    school = set(rows(load_school(DigitsTask(public=300))))
    assert len(school) == 300
    assert not (public | a | b | test) & school
    assert set(rows(data.test)) <= test


def test_domains_are_spread_evenly():
    data = task()
    assert Counter(sample.domain for sample in data.public) == dict.fromkeys(DOMAINS, 4)
    assert Counter(sample.domain for sample in data.test) == dict.fromkeys(DOMAINS, 12)
    assert {sample.domain for sample in data.private["b"]} == {"inverted"}
    assert data.groups("a") == {
        "own": {"plain"},
        "other": set(DOMAINS) - {"plain"},
        "new": set(),
        "general": set(),
        "mixed": set(),
    }
    known = task(known=("plain", "blur"))
    assert known.groups("a")["new"] == {"blur"}
    assert known.groups("llm")["new"] == {"inverted"}


def test_the_same_seed_gives_the_same_samples_in_whatever_order_clients_stand():
    one, other = task(), task(dict(reversed(TWO.items())))
    assert (one.public, dict(one.private), one.test) == (other.public, dict(other.private), other.test)
    assert task(seed=1).public != one.public
    assert task(seed=1).test == one.test != task(world=1).test


def test_owners_of_a_domain_share_its_scans():
    data = task({"a": ("plain", "blur"), "b": ("plain",)}, domains=("plain", "blur"))
    counts = {name: Counter(sample.domain for sample in part) for name, part in data.private.items()}
    assert counts == {"a": {"plain": 10, "blur": 20}, "b": {"plain": 10}}
    dealt = task({"x": (), "y": ()}, domains=("blur", "noise"))
    assert dealt.own_domains == {"x": {"blur"}, "y": {"noise"}}


def test_clients_may_differ_in_their_classes():
    data = task({"low": ("0-4",), "high": ("5-9",)}, split="classes", private=200)
    assert {sample.answer for sample in data.private["low"]} == set("01234")
    assert {sample.answer for sample in data.private["high"]} == set("56789")
    assert {sample.domain for sample in data.public} == {"0-4", "5-9"}
    assert all((sample.answer or "") in "01234" for sample in data.test if sample.domain == "0-4")
    pairs = task({name: () for name in "abcde"}, split="classes", classes=2)
    assert pairs.own_domains == {name: {f"{2 * n}-{2 * n + 1}"} for n, name in enumerate("abcde")}


def test_a_client_of_one_class_is_told_of():
    data = task({"one": ("1",), "many": ("2", "3")}, split="classes", classes=1, private=200, test_per_domain=100)
    assert "one has scans of one class only, 1" in data.notices
    assert not any(notice.startswith("many") for notice in data.notices)
    count = int((scans(0).labels[scans(0).order[:TEST]] == 4).sum())
    assert f"4 has only {count} of 100 test scans" in data.notices


def test_classes_may_be_divided_by_a_dirichlet_draw():
    skewed, even = (
        task({name: () for name in "abc"}, split="dirichlet", alpha=alpha, private=600) for alpha in (0.1, 1000.0)
    )
    assert {sample.domain for sample in skewed.test} == {"plain"}

    def most(data: TaskData) -> float:
        """Return the mean share of a client's most frequent class."""
        parts = [Counter(sample.answer for sample in part) for part in data.private.values()]
        return float(np.mean([max(part.values()) / part.total() for part in parts]))

    assert most(even) < 0.2 < most(skewed)
    assert sum(len(part) for part in skewed.private.values()) == 600


def test_labels_of_the_public_pool_may_be_wrong_or_unknown():
    right, wrong = task(), task(noise=0.5)
    differ = {s.id for s, t in zip(right.public, wrong.public, strict=True) if s.answer != t.answer}
    assert wrong.noisy == differ
    assert len(differ) == 12
    assert all(sample.rationale == sample.answer for sample in wrong.public)
    assert {(sample.answer, sample.rationale) for sample in task(gold="none").public} == {(None, None)}


def test_parity_and_attributes_are_asked_for():
    parity = task(labels="parity")
    for sample, plain in zip(parity.test, task().test, strict=True):
        assert sample.answer == ("odd" if int(plain.answer or 0) % 2 else "even")
    told = task(grids=("scene",), labels="attributes").test
    attributes = {(sample.answer or "").split()[0] for sample in told}
    assert attributes == {"plain", "inverted", "bold", "rotated"}


def test_captions_say_how_a_digit_looks_and_where_it_stands():
    assert caption("bold", 7, ("top", "left")) == "a bold seven at the top left"
    assert caption("plain", 8, ("middle", "right")) == "an eight at the right"
    assert caption("inverted", 0, ("bottom", "centre")) == "an inverted zero at the bottom"
    assert caption("rotated", 1, ("middle", "centre")) == "a rotated one in the centre"
    assert len(set(LABEL_SETS["captions"])) == 4 * 10 * 9
    said = task(grids=("scene",), labels="captions").test
    for sample, pair in zip(said, task(grids=("scene",), labels="attributes").test, strict=True):
        attribute, digit = (pair.answer or "").split()
        top, left = np.argwhere(read_grids(sample.question)["box"])[0]  # 0 to 16, in thirds of 5 1/3
        third = [0 if at < 16 / 3 else 1 if at < 32 / 3 else 2 for at in (top, left)]
        assert sample.answer == caption(attribute, int(digit), PLACES[3 * third[0] + third[1]])


def test_a_pair_that_is_held_out_is_only_in_its_test_domain():
    told = {"grids": ("scene",), "labels": "attributes"}
    unseen = task(**told, unseen=("bold 7", "rotated 3"), public=200, private=200)
    elsewhere = [*unseen.public, *(sample for own in unseen.private.values() for sample in own)]
    elsewhere += [sample for sample in unseen.test if sample.domain != "unseen"]
    answers = Counter(sample.answer for sample in elsewhere)
    assert not {"bold 7", "rotated 3"} & answers.keys()
    assert min(answers["plain 7"], answers["bold 3"]) > 0
    of_pairs = [sample for sample in unseen.test if sample.domain == "unseen"]
    assert Counter(sample.answer for sample in of_pairs) == {"bold 7": 6, "rotated 3": 6}
    plain = task(**told, public=200, private=200)
    assert {sample.answer for sample in plain.public} > {"bold 7", "rotated 3"}
    for seen, before in zip(unseen.public, plain.public, strict=True):  # all other scenes ask for the same
        assert seen.answer == before.answer or before.answer in ("bold 7", "rotated 3")


def test_no_digit_beside_another_has_a_pair_that_is_held_out():
    seven = int(np.flatnonzero(scans(0).labels == 7)[0])
    barred = {f"{attribute} 7" for attribute in ("plain", "inverted", "bold")}
    for row in range(30):
        drawn = scene(0, "plain", row, [seven], barred=barred)
        free = scene(0, "plain", row, [seven])
        assert drawn.grids["box"].tolist() == free.grids["box"].tolist()
        assert drawn.attribute == "rotated" if scans(0).labels[row] == 7 else drawn.attribute == free.attribute


def test_a_pool_of_the_web_has_other_domains_and_pictures_of_no_digit():
    others = ("inverted", "noise", "blur", "rotated", "contrast")
    pool = task({"a": ()}, domains=("plain",), public_domains=others, web=0.3, public=100)
    assert Counter(sample.domain for sample in pool.public) == dict.fromkeys(others, 20)
    assert {sample.domain for sample in (*pool.test, *pool.private["a"])} == {"plain"}
    of_none = [sample for sample in pool.public if sample.id in pool.noisy]
    assert len(of_none) == 30
    assert {(sample.answer, sample.rationale) for sample in of_none} == {(None, None)}
    before = {
        sample.id: sample for sample in task({"a": ()}, domains=("plain",), public_domains=others, public=100).public
    }
    cells = {
        sample.id: [sorted(read_grids(each.question)["scan"].ravel()) for each in (sample, before[sample.id])]
        for sample in of_none
    }
    assert sum(now == then for now, then in cells.values()) == 15  # the same cells in another order
    assert all(sample.question != before[sample.id].question for sample in of_none)
    assert [s for s in pool.public if s.id not in pool.noisy] == [s for s in before.values() if s.id not in pool.noisy]
    assert load_digits(DigitsTask(**SMALL), TWO, 0).noisy == frozenset()


def test_letters_are_drawn_by_strokes():
    drawn = [drawn_letter(np.random.default_rng(seed)) for seed in range(50)]
    assert all(image.shape == (8, 8) and image.min() == 0 and image.max() > 10 for image in drawn)
    assert len({image.tobytes() for image in drawn}) == 50
    with_strokes = task({"a": ()}, grids=("strokes",), web=0.5).public
    assert {read_grids(sample.question)["strokes"].shape for sample in with_strokes} == {(1, 48)}


def test_strokes_are_sums_and_distances():
    image = np.zeros((8, 8), np.int64)
    image[2, 1:4] = 16
    signal = strokes(image)[0]
    assert signal[:8].tolist() == [0, 0, 6, 0, 0, 0, 0, 0]  # three of eight cells: 16 * 3 / 8
    assert signal[8:16].tolist() == [0, 2, 2, 2, 0, 0, 0, 0]
    assert signal[16:24].tolist() == [16, 16, 2, 16, 16, 16, 16, 16]  # from the left: one cell, twice
    assert signal[24:32].tolist() == [16, 16, 8, 16, 16, 16, 16, 16]  # from the right
    assert signal[32:40].tolist() == [16, 4, 4, 4, 16, 16, 16, 16]  # from the top
    assert signal[40:].tolist() == [16, 10, 10, 10, 16, 16, 16, 16]
    assert read_grids(task(grids=("strokes",)).test[0].question)["strokes"].shape == (1, 48)


def test_a_graph_is_a_scan_with_its_nearest():
    flat = scans(0).images.reshape(len(scans(0).images), -1)
    distances = ((flat - flat[7]) ** 2).sum(1)
    distances[7] = distances.max() + 1
    near = neighbours(0, "plain", 5)
    assert near[7].tolist() == np.argsort(distances, kind="stable")[:5].tolist()
    grids = graph(0, "plain", 7, 5)
    members = [7, *near[7]]
    assert grids["nodes"].tolist() == flat[members].tolist()
    for i, one in enumerate(members):
        for j, other in enumerate(members):
            assert grids["edges"][i, j] == (other in near[one] or one in near[other])
    assert grids["edges"][0].tolist() == [0, 1, 1, 1, 1, 1]


def test_a_scene_shows_the_scan_in_its_box_and_digits_that_do_not_overlap():
    counts = Counter()
    for row in range(40):
        drawn = scene(0, "plain", row, list(range(40, 80)))
        box, canvas = drawn.grids["box"], drawn.grids["scene"]
        top, left = np.argwhere(box)[0]
        assert (box > 0).sum() == 64
        if drawn.attribute == "plain":
            assert canvas[top : top + 8, left : left + 8].tolist() == scans(0).images[row].tolist()
        counts[drawn.attribute] += 1
    assert min(counts[name] for name in ("plain", "inverted", "bold", "rotated")) > 2
    assert scene(0, "plain", 3, [5]).grids["scene"].tolist() == scene(0, "plain", 3, [5]).grids["scene"].tolist()


def test_domains_look_as_they_are_called():
    plain = looks(0, "plain")
    assert (looks(0, "inverted") == 16 - plain).all()
    assert (looks(0, "contrast") == np.rint(4 + plain / 4)).all()
    for domain in DOMAINS:
        assert (looks(0, domain).min(), looks(0, domain).max() <= 16) == (looks(0, domain).min().clip(0), True)
    still = np.abs(looks(0, "noise") - plain).mean()
    assert 1 < still < 4
    assert np.abs(np.diff(looks(0, "blur"), axis=2)).mean() < np.abs(np.diff(plain, axis=2)).mean()


@pytest.mark.parametrize(
    ("clients", "options", "told"),
    [
        ({"a": ("blurr",)}, {}, "clients: 'a' lists domain 'blurr'; expected some of plain, .*; did you mean 'blur'"),
        ({"a": ("blur",)}, {"domains": ("plain",)}, "lists domain 'blur'; expected some of plain"),
        ({"a": ("plain",)}, {"split": "classes"}, "lists domain 'plain'; expected some of 0-4, 5-9"),
        ({"a": ()}, {"known": ("noisy",)}, "task.known: domain 'noisy'.*did you mean 'noise'"),
        ({"a": ()}, {"public": 900, "private": 900}, "public: 900 with task.private: 900; expected at most 900"),
        ({name: ("plain",) for name in "abc"}, {"private": 2}, "clients: 'c' gets none of the 2 private scans"),
    ],
)
def test_what_cannot_be_dealt_is_refused(clients: dict[str, tuple[str, ...]], options: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        task(clients, **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labels": "attributes"}, "labels is 'attributes', which only digits of a scene have"),
        ({"labels": "captions"}, "labels is 'captions', which only digits of a scene have"),
        ({"unseen": ("bold 7",)}, "unseen is .*, but grids has no scene"),
        ({"unseen": ("bolt 7",), "grids": ("scene",)}, "'bolt 7' is no pair of an attribute and a digit"),
        ({"unseen": [f"{each} 7" for each in ATTRIBUTES], "grids": ("scene",)}, "no look of 7 is left"),
        ({"web": 0.3, "grids": ("scan", "graph")}, "web is 0.3 with grids .*; expected scan or strokes alone"),
        ({"public_domains": ("blur", "blur")}, "name one twice"),
        ({"public_domains": ("blur",), "split": "classes"}, "domains are set with split 'classes'"),
        ({"grids": ("scan", "scan")}, "name one twice"),
        ({"split": "classes", "domains": ("plain",)}, "domains are set with split 'classes'"),
        ({"classes": 3}, "classes"),
        ({"grids": ()}, "at least 1 item"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        DigitsTask.model_validate(options)
