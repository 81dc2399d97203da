"""Federations of classifiers: every host teaches them, and they resume bit for bit."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_resume import Crash, crash_at, outcome

import lada
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.grids import write_grids
from lada.core.results import Results
from lada.core.terms import Vocabulary
from lada.federation import party_cache
from lada.hosts.base import HOSTS
from lada.learners.base import LEARNERS
from lada.objectives.base import OBJECTIVES
from lada.rounds.soft import Pair

CHANCE, MARGIN = 10.0, 10.0
"""Accuracy of a guess among ten digits, and by how much a party has to be better, percent."""
AVERAGING = ("fedavg", "fedcollm", "feddf")
"""Hosts whose clients need the same network."""
STUDY = {"steps": 24, "batch_size": 16, "optimisation": {"learning_rate": 0.01}}
NETWORKS = {"a": "mlp", "b": "two_tower", "c": "graph"}


def config(host: str = "fedmkt", **changes: Any) -> dict[str, Any]:
    """Return a run of four architectures and two domains, or of one of each where the host averages weights."""
    alike = host in AVERAGING
    return {
        "name": "digits",
        "rounds": 2,
        "workers": 0,
        "plugin": "none",
        "host": host,
        "task": {
            "kind": "digits",
            "grids": ["scan"] if alike else ["scan", "graph"],
            "domains": ["plain"] if alike else ["plain", "inverted"],
            "public": 60,
            "private": 180,
            "test_per_domain": 50,
        },
        "server": {"model": {"learner": "mlp" if alike else "cnn"}, "distil": STUDY},
        "clients": [
            {
                "name": name,
                "domains": ["inverted" if name == "b" and not alike else "plain"],
                "model": {"learner": "mlp" if alike else network},
                "private": STUDY,
                "distil": STUDY,
            }
            for name, network in NETWORKS.items()
        ],
    } | changes


Whole = Callable[[str], tuple[Results, int]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Give what a run by a host comes to, and how many files of checkpoints and journal it put in place."""

    @cache
    def run(host: str) -> tuple[Results, int]:
        with pytest.MonkeyPatch.context() as patch:
            writes = crash_at(10**6, patch)
            return lada.run(config(host), runs=tmp_path_factory.mktemp(host)), writes[0]

    return run


SLOW = {"centralized", "public_sft", "standalone", "fedmd", "fedavg"}
"""Hosts whose runs on language models are among the quick tests."""


@pytest.mark.parametrize(
    "host",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in HOSTS.names() if name != "fedcot"],
)
def test_clients_learn_by_every_host(host: str, whole: Whole):
    results, _ = whole(host)
    last = {each.party: each for each in results.evaluations if each.round == 2}
    assert not results.missing
    for client in NETWORKS:
        own = last[client].own
        assert own is not None
        assert own.value > CHANCE + MARGIN
    architectures = {party.name: party.architecture for party in results.parties}
    if host not in AVERAGING:
        assert architectures == {"llm": "cnn", **NETWORKS}
    else:
        assert len({party.weights for party in results.parties if party.role == "client"}) == 1


@pytest.mark.parametrize("host", ["fedmkt", "feddf"])
def test_a_run_that_broke_off_resumes_to_the_same_bits(host: str, whole: Whole, tmp_path: Path, monkeypatch: Any):
    results, writes = whole(host)
    with monkeypatch.context() as patch:
        crash_at(2 * writes // 3, patch)
        with pytest.raises(Crash):
            lada.run(config(host), runs=tmp_path)
    party_cache.forget()
    assert outcome(lada.run(config(host), runs=tmp_path, resume=True)) == outcome(results)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host": "fedcot"}, "host 'fedcot' needs a learner that can explain, but that of 'llm' cannot .an answer is"),
        (
            {"server": {"model": {"model": "zoo:slm-gpt2"}}},
            "that of 'llm' answers with any text, but that of 'a' with the labels 0, 1, .*expected the same labels",
        ),
        (
            {"server": {"model": {"learner": "mlp", "options": {"labels": ["even", "odd"]}}}},
            "that of 'llm' answers with the labels even, odd, but that of 'a' with the labels 0",
        ),
        ({"host": {"name": "fedavg"}}, "clients 'a' and 'b' differ in model.learner: 'mlp' and 'two_tower'"),
        (
            {"host": {"name": "fedavg", "options": {"form": "flexlora"}}},
            "client 'a' has no LoRA factors; expected form: average",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_read(changes: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        make_config(config(**changes))


def test_labels_may_stand_in_another_order():
    other = {"learner": "cnn", "options": {"labels": list("9876543210")}}
    made = make_config(config(server={"model": other, "distil": STUDY}))
    assert made.server.model.labels_told == tuple("9876543210")


def test_a_task_of_texts_is_refused_in_the_first_evaluation(tmp_path: Path):
    texts = {"kind": "rulebooks", "public": 4, "private": 4, "test_per_domain": 1, "replay": 0}
    clients = [{"name": "a", "domains": ["clinic"], "model": {"learner": "mlp"}}]
    with pytest.raises(InputError, match="question: line 1 names no grid"):
        lada.run(config(task=texts, clients=clients), runs=tmp_path)


def test_labels_of_another_task_are_refused_in_the_first_study(tmp_path: Path):
    task = config()["task"] | {"labels": "parity"}
    with pytest.raises(InputError, match=r"none of .* lessons has one of the labels of 'mlp', 0, 1"):
        lada.run(config(task=task), runs=tmp_path)


def test_a_plan_knows_the_classifiers():
    plan = lada.plan(config())
    assert not plan.faults
    assert {party.name: party.model for party in plan.parties} == {"llm": "cnn", **NETWORKS}


def test_soft_targets_cross_to_labels_in_another_order_by_their_texts():
    question = "scan 1x2\n0g"
    theirs, mine = (
        LEARNERS.make("mlp", {"labels": labels, "reads": {"scan": [1, 2]}}).open(Path(), init_seed=1, saved=None)
        for labels in (["left", "right", "up"], ["up", "left", "right"])
    )
    (scores,), (spelled,) = theirs.log_probs([(question, "right")], k=3), mine.tokenize(["right"])
    assert scores is not None
    assert spelled is not None
    signal = OBJECTIVES.make("soft_targets", {}).needs.signal
    assert signal is not None
    (soft,) = Pair([scores], theirs.vocabulary(), [spelled], mine.vocabulary()).carried(signal)
    told = dict(zip(soft.ids[0].tolist(), soft.log_probs[0].tolist(), strict=True))
    own = dict(zip(scores.top.ids[0].tolist(), scores.top.log_probs[0].tolist(), strict=True))
    assert told == {0: own[2], 1: own[0], 2: own[1]}


def test_labels_that_a_hostile_party_makes_up_become_some_of_the_students_own():
    mine = LEARNERS.make("mlp", {"reads": {"scan": [1, 2]}}).open(Path(), init_seed=1, saved=None)
    (spelled,) = mine.tokenize(["7"])
    assert spelled is not None
    theirs = LEARNERS.make("mlp", {"labels": ["7", "x"], "reads": {"scan": [1, 2]}}).open(
        Path(), init_seed=1, saved=None
    )
    (scores,) = theirs.log_probs([("scan 1x2\n00", "7")], k=2)
    assert scores is not None
    signal = OBJECTIVES.make("soft_targets", {}).needs.signal
    assert signal is not None
    vocabulary = Vocabulary((b"7", b""), 1)  # which says that its second label ends texts
    (soft,) = Pair([scores], vocabulary, [spelled], mine.vocabulary()).carried(signal)
    assert soft.ids.max() < 10
    assert np.exp(soft.log_probs).sum() <= 1.01


def test_a_network_of_two_modalities_is_taught_by_one_of_another(tmp_path: Path):
    """A teacher sees the pixels, its student the strokes of the same scans."""
    task = config()["task"] | {"grids": ["scan", "strokes"], "domains": ["plain"]}
    student = {"learner": "mlp", "options": {"reads": {"strokes": [1, 48]}}}
    study = {"steps": 60, "batch_size": 16}
    clients = [{"name": "a", "domains": ["plain"], "model": student, "private": study, "distil": study}]
    results = lada.run(config(task=task, clients=clients, rounds=1), runs=tmp_path)
    (own,) = [each.own for each in results.evaluations if (each.party, each.round) == ("a", 1)]
    assert own is not None
    assert own.value > CHANCE + MARGIN


def test_own_images_come_from_files(tmp_path: Path):
    """Bars at the left or right of an image, in files, with labels of their own."""
    draw = np.random.default_rng(0)

    def bar(number: int) -> dict[str, str]:
        image = draw.integers(0, 6, (4, 4))
        image[:, 0 if number % 2 else 3] = 16
        return {"question": write_grids({"scan": image}), "answer": "left" if number % 2 else "right"}

    for name, count in (("train", 40), ("public", 20), ("test", 20)):
        rows = [bar(number) for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = {"kind": "files", **{name: f"{name}.jsonl" for name in ("train", "public", "test")}}
    model = {"learner": "mlp", "options": {"labels": ["left", "right"], "reads": {"scan": [4, 4]}}}
    clients = [{"name": "a", "model": model, "private": STUDY, "distil": STUDY}]
    made = config(task=task, clients=clients, server={"model": model, "distil": STUDY}, rounds=1)
    (tmp_path / "bars.yaml").write_text(json.dumps(made), encoding="utf-8")
    results = lada.run(tmp_path / "bars.yaml", runs=tmp_path)
    (last,) = [each.overall.value for each in results.evaluations if (each.party, each.round) == ("a", 1)]
    assert last > 90
