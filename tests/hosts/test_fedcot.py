"""FedCoT: rationales once, two lessons a sample, α : 1 - α in nats per byte."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import torch
from actors import CANARY, PRIVATE, PUBLIC, Federation, federation, make, right, task, wrong
from hypothesis import given
from hypothesis import strategies as st

from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.errors import FederationError, InputError
from lada.core.terms import Lesson
from lada.hosts.base import HOSTS, PaperDefaults
from lada.hosts.fedcot import weigh
from lada.hosts.options.fedcot import FedcotOptions
from lada.models.objective import Scored, nll
from lada.objectives.base import OBJECTIVES
from lada.rounds.checks import Guard

KNOWS = {"llm": {0, 1}, "a": {1, 2}, "b": set()}
BARE = {"client_replay": {"private": 0.0, "paths": 0.0, "general": 0.0}}


def run(folder: FilePath, *rounds: int, **more: Any) -> Federation:
    options = {**BARE, **more.pop("options", {})}
    both = federation(folder, "fedcot", KNOWS, options, **{"allocator": "all", **more})
    both.run(*rounds)
    return both


def tasks(both: Federation, name: str, round: int = 1) -> list[list[tuple[str, str]]]:
    """Return (question, text) of a client's rationales and of its labels in a round."""
    lessons = both.studies(name)[2 * round - 1].lessons
    return [
        [(lesson.question, lesson.chosen) for lesson in lessons if lesson.question.startswith("[label] ") == is_label]
        for is_label in (False, True)
    ]


def test_each_sample_is_studied_as_a_rationale_and_as_a_label(tmp_path: FilePath):
    both = run(tmp_path, 0, 1)
    assert both.studies("a")[0].options == PRIVATE
    rationales, labels = tasks(both, "a")
    assert rationales == [(f"public {i}", right(i) if i < 2 else wrong(i, "llm")) for i in range(5)]
    assert labels == [(f"[label] public {i}", f"answer gold{i}") for i in range(5)]
    assert not both.studies("llm")
    assert {(r.teacher, r.student, r.chosen) for r in both.server.report.allocations} == {
        ("llm", "a", 5),
        ("llm", "b", 5),
    }


def test_labels_may_be_the_llms_own(tmp_path: FilePath):
    lessons = run(tmp_path, 1, options={"labels": "llm", "label_prompt": "{question} only"}).studies("b")[1].lessons
    told = [f"answer gold{i}" if i < 2 else f"answer llm{i}" for i in range(5)]
    assert [lesson.chosen for lesson in lessons[5:]] == told
    assert {lesson.question for lesson in lessons[5:]} == {f"public {i} only" for i in range(5)}


def test_a_path_without_an_answer_has_no_label_of_the_llms(tmp_path: FilePath):
    both = federation(tmp_path, "fedcot", KNOWS, {**BARE, "labels": "llm"}, allocator="all")
    learner: Any = both.server.learner
    learner.answers["public 3"] = "who knows"
    both.run(1)
    rationales, labels = tasks(both, "a")
    assert len(rationales) == 5
    assert [question for question, _ in labels] == [f"[label] public {i}" for i in (0, 1, 2, 4)]


def test_weights_by_hand():
    # Texts of 19, 39 and 9 bytes, and an end each: 20, 40 and 10, 70 / 3 in the mean.
    long = [Lesson("p", "q", "x" * 19), Lesson("r", "q", "x" * 39)]
    short = [Lesson("p", "label q", "x" * 9)]
    weights = [lesson.weight for lesson in weigh(long, short, 0.25)]
    assert weights == pytest.approx([0.5 * 70 / 60, 0.5 * 70 / 120, 1.5 * 70 / 30])
    assert [lesson.weight for lesson in weigh(long, short, 0.0)] == pytest.approx([2 * 70 / 30])
    assert [lesson.chosen for lesson in weigh(long, short, 1.0)] == ["x" * 19, "x" * 39]
    assert weigh([], [], 0.5) == []


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=1, max_size=6), st.floats(0.05, 0.95))
def test_the_loss_is_the_papers(sizes: list[tuple[int, int]], alpha: float):
    """With one token a byte and an end, the loss is α mean(rationale) + (1 - α) mean(label) up to one factor."""
    rng = np.random.default_rng(0)
    rationales = [Lesson(f"p{i}", "q", "x" * a) for i, (a, _) in enumerate(sizes)]
    labels = [Lesson(f"p{i}", "q", "x" * b) for i, (_, b) in enumerate(sizes)]
    lessons = weigh(rationales, labels, alpha)
    lengths = [len(lesson.chosen) + 1 for lesson in lessons]
    log_probs = torch.zeros(len(lessons), max(lengths), dtype=torch.float64)
    for row, length in zip(log_probs, lengths, strict=True):
        row[:length] = torch.from_numpy(-rng.random(length))
    weights = torch.tensor([lesson.weight for lesson in lessons], dtype=torch.float64)
    tokens = sum(lesson.weight * length for lesson, length in zip(lessons, lengths, strict=True))
    mine = nll(Scored(log_probs, log_probs < 0, weights, None, tokens, 0.0))
    means = [-float(row[:length].mean()) for row, length in zip(log_probs, lengths, strict=True)]
    count = len(sizes)
    paper = alpha * np.mean(means[:count]) + (1 - alpha) * np.mean(means[count:])
    assert float(mine) == pytest.approx(paper)


def test_an_allocator_chooses_which_rationales_are_studied(tmp_path: FilePath):
    both = run(tmp_path, 1, allocator="verified", objective="contrastive")
    study = both.studies("a")[1]
    texts = {lesson.sample_id: (lesson.chosen, lesson.rejected) for lesson in study.lessons if lesson.rejected}
    assert texts == {"p0": (right(0), wrong(0, "a")), "p2": (right(2), wrong(2, "llm"))}
    # The LLM is right on 0 and 1, a on 1 and 2: of 2 it studies its own path.
    rationales, labels = tasks(both, "a")
    assert set(rationales) == {(f"public {i}", right(i)) for i in (0, 1, 2)}
    assert set(labels) == {(f"[label] public {i}", f"answer gold{i}") for i in (0, 1, 2)}


def test_the_llm_writes_once(tmp_path: FilePath):
    both = federation(tmp_path, "fedcot", KNOWS, BARE, allocator="all")
    both.run(0, 1)
    learner: Any = both.server.learner
    learner.answers |= {sample.question: "changed answer x" for sample in PUBLIC}
    both.run(2, 3)
    assert tasks(both, "b", 3)[0] == [(f"public {i}", right(i) if i < 2 else wrong(i, "llm")) for i in range(5)]
    assert [phase.phase for phase in both.server.report.phases if phase.party == "llm"].count("answer") == 1


def test_labels_that_nobody_has_come_from_the_llm(tmp_path: FilePath):
    none = task(tuple(replace(sample, answer=None) for sample in PUBLIC))
    with pytest.raises(InputError, match=r"host.options.labels: 'gold' .* set labels: llm"):
        HOSTS.make("fedcot", {}).check_task(none)
    HOSTS.make("fedcot", {"labels": "llm"}).check_task(none)
    assert tasks(run(tmp_path, 0, 1, data=none, options={"labels": "llm"}), "a")[1]


def test_what_crosses_and_when(tmp_path: FilePath):
    both = run(tmp_path, 1)
    crossed = [(m.phase, m.sender, sorted(m.payload)) for m in both.exchange.sent if "a" in (m.sender, m.receiver)]
    assert crossed == [
        ("contribute", "llm", []),
        ("contribute", "a", ["metrics", "times"]),
        ("learn", "llm", ["paths"]),
        ("learn", "a", ["metrics", "times"]),
    ]
    assert not any(CANARY.encode() in data for message in both.exchange.sent for data in message.payload.values())
    # What is left is how each answers the test questions now.
    assert all(key.startswith(party.knows("")) for party in both.clients.values() for key in party.memory)


def test_messages_of_other_kinds_are_refused(tmp_path: FilePath):
    both = run(tmp_path, 1)
    paths = next(message.payload for message in both.exchange.sent if message.phase == "learn")
    client = Guard(both.host, both.clients["a"])
    client.check_ask("llm", "learn", 1, paths)
    for phase, payload in (("learn", {}), ("contribute", paths), ("learn", {**paths, "adapter": b""}), ("average", {})):
        with pytest.raises(FederationError):
            client.check_ask("llm", phase, 1, payload)
    with pytest.raises(FederationError, match="of another party or round"):
        client.check_ask("llm", "learn", 2, paths)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_prompt": "just the answer"}, "holds no '{question}'"),
        ({"alpha": 1.5}, "alpha"),
        ({"directions": "both"}, "directions"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        FedcotOptions(**options)


def test_an_llm_behind_an_api_may_be_the_teacher():
    config = make_config(
        {
            "server": {"model": {"api": {"base_url": "http://localhost:1/v1", "model": "m"}}},
            "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
            "host": "fedcot",
            "plugin": "none",
        }
    )
    assert (config.choice(ALLOCATORS).name, config.choice(OBJECTIVES).name) == ("all", "sft")
    assert make(HOSTS, "fedcot").bare == PaperDefaults()
