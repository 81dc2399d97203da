"""Bare answers are asked for by a prompt of their own, on every host that studies gold texts."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import PUBLIC, Federation, federation, make, task
from pydantic import ValidationError
from tiny_run import tiny

import lada
from lada.config import make_config
from lada.core.errors import InputError
from lada.federation.parties import Place, read_task, server_party
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.planning.compose import plan
from lada.rounds.labels import ask_for_labels

KNOWS: dict[str, set[int]] = {"llm": set(), "a": set(), "b": set()}
PROMPT = "[label] {question}"
LABELS = {"fedmkt": {"knowledge": "labels"}, "public_sft": {}, "fedmd": {}}
"""Hosts whose parties study gold texts, with the options with which they do."""
ON_GOLD_TEXTS = [*LABELS, "fedcollm", "feddf"]
QUESTIONS = [sample.question for sample in PUBLIC]


def run(folder: FilePath, host: str, data: Any = None, **options: Any) -> Federation:
    soft = make(OBJECTIVES, "soft_targets", k=3)
    more: Any = {} if host == "public_sft" else {"objective": soft}
    federated = federation(folder, host, KNOWS, {**LABELS[host], **options}, allocator="all", data=data, **more)
    federated.run(0, 1)
    return federated


def studied(federated: Federation) -> set[tuple[str, str]]:
    """Return question and text of all lessons on public samples, of all parties."""
    studies = [study for name in KNOWS for study in federated.studies(name)]
    return {(each.question, each.chosen) for study in studies for each in study.lessons if each.sample_id[0] == "p"}


def asked_of(federated: Federation) -> set[str]:
    """Return all questions of lessons that are not on public samples, and of the tests."""
    studies = [study for name in KNOWS for study in federated.studies(name)]
    return {each.question for study in studies for each in study.lessons if each.sample_id[0] != "p"}


@pytest.mark.parametrize("host", LABELS)
def test_bare_answers_are_studied_by_the_prompt_and_nothing_else_is(tmp_path: FilePath, host: str):
    federated = run(tmp_path, host, label_prompt=PROMPT)
    assert studied(federated) == {(f"[label] public {i}", f"answer gold{i}") for i in range(5)}
    assert asked_of(federated)
    assert not any(question.startswith("[label]") for question in asked_of(federated))


@pytest.mark.parametrize("host", LABELS)
def test_by_default_they_are_studied_as_in_the_papers(tmp_path: FilePath, host: str):
    assert studied(run(tmp_path, host)) == {(f"public {i}", f"answer gold{i}") for i in range(5)}


@pytest.mark.parametrize("host", ["fedmkt", "fedmd"])
def test_they_are_judged_and_scored_by_the_same_prompt(tmp_path: FilePath, host: str):
    federated = run(tmp_path, host, label_prompt=PROMPT)
    for party in (federated.server, *federated.clients.values()):
        learner: Any = party.learner
        assert {question for question, _ in learner.judged} == {f"[label] {question}" for question in QUESTIONS}
    soft = [each.soft for study in federated.studies("a")[1:2] for each in study.lessons if each.sample_id[0] == "p"]
    assert any(each is not None for each in soft)


@pytest.mark.parametrize("host", LABELS)
def test_gold_texts_with_reasoning_are_paths_and_not_labels(tmp_path: FilePath, host: str):
    explained = tuple(replace(sample, rationale=f"why {i}") for i, sample in enumerate(PUBLIC))
    mixed = task((*explained[:3], *PUBLIC[3:]))
    expected = {(f"public {i}", f"why {i} answer gold{i}") for i in range(3)}
    expected |= {(f"[label] public {i}", f"answer gold{i}") for i in (3, 4)}
    assert studied(run(tmp_path, host, mixed, label_prompt=PROMPT)) == expected


def test_rationales_that_are_not_studied_leave_bare_answers(tmp_path: FilePath):
    explained = task(tuple(replace(sample, rationale=f"why {i}") for i, sample in enumerate(PUBLIC)))
    found = studied(run(tmp_path, "public_sft", explained, rationales=False, label_prompt=PROMPT))
    assert found == {(f"[label] public {i}", f"answer gold{i}") for i in range(5)}


@pytest.mark.parametrize("host", LABELS)
def test_a_label_lesson_and_a_path_lesson_of_one_question_share_no_prompt(tmp_path: FilePath, host: str):
    labels = {question for question, _ in studied(run(tmp_path / "labels", host, label_prompt=PROMPT))}
    paths = federation(tmp_path / "paths", "fedmkt", KNOWS, {"knowledge": "paths"}, allocator="all")
    paths.run(0, 1)
    assert labels.isdisjoint({question for question, _ in studied(paths)})
    assert len(labels) == len({question for question, _ in studied(paths)}) == 5


def test_in_fedcot_a_label_lesson_and_a_path_lesson_of_one_question_share_no_prompt(tmp_path: FilePath):
    both = federation(tmp_path, "fedcot", KNOWS, {}, allocator="all")
    both.run(0, 1)
    by_prompt: dict[str, set[bool]] = {}
    for question, text in studied(both):
        by_prompt.setdefault(question, set()).add(text.startswith("answer "))
    assert sorted(map(sorted, by_prompt.values())) == [[False]] * 5 + [[True]] * 5


@pytest.mark.parametrize("host", ON_GOLD_TEXTS)
def test_every_host_on_gold_texts_has_the_option(host: str):
    options = {**LABELS.get(host, {}), "label_prompt": PROMPT}
    made = make(HOSTS, host, **options)
    if host != "public_sft":  # where no party judges a gold text
        assert [sample.question for sample in made.ask(PUBLIC)] == [f"[label] {question}" for question in QUESTIONS]
    assert make(HOSTS, host, **LABELS.get(host, {})).ask(PUBLIC) == PUBLIC
    with pytest.raises(ValidationError, match=r"holds no '\{question\}'"):
        make(HOSTS, host, label_prompt="[label]")


def test_what_has_no_bare_answer_is_asked_as_it_is():
    unknown, explained, empty = (
        replace(PUBLIC[0], answer=None),
        replace(PUBLIC[1], rationale="why"),
        replace(PUBLIC[2], rationale=""),
    )
    asked = ask_for_labels((unknown, explained, empty), "{question} {question}?")
    assert asked == (unknown, explained, replace(empty, question="public 2 public 2?"))
    assert ask_for_labels([unknown, empty], None) == (unknown, empty)


def test_where_paths_are_studied_a_prompt_for_labels_is_refused():
    with pytest.raises(InputError, match=r"host.options.label_prompt: .* expected null, or knowledge 'labels'"):
        make_config(tiny(host={"name": "fedmkt", "options": {"label_prompt": PROMPT}}))


@pytest.mark.parametrize(("gold", "labelled"), [("answers", True), ("rationales", False)])
def test_a_party_is_asked_so_in_a_run(tmp_path: FilePath, gold: str, labelled: bool):
    made = tiny(host={"name": "fedmd", "options": {"label_prompt": PROMPT}}, plugin="none", objective="soft_targets")
    made["task"]["gold"] = gold
    config = make_config(made)
    data = read_task(config, tmp_path)
    asked = server_party(config, Place(tmp_path, tmp_path, 0.0), data, lambda event: None).task
    told = [f"[label] {sample.question}" if labelled else sample.question for sample in data.public]
    assert [sample.question for sample in asked.public] == told
    assert asked.test == data.test


@pytest.mark.parametrize("host", ["fedmd", "feddf", "fedcollm"])
def test_an_unlabelled_pool_is_refused_before_anything_is_trained(tmp_path: FilePath, host: str):
    made = tiny(host=host, plugin="none", objective="soft_targets")
    made["task"]["gold"] = "none"
    made["clients"][1]["model"] = made["clients"][0]["model"] = {"model": "zoo:slm-llama", "tune": "lora"}
    why = f"host: '{host}' needs public samples with gold answers, but none of the 6 has one; label some"
    assert any(fault.startswith(why) for fault in plan(made).faults)
    with pytest.raises(InputError, match=why):
        lada.run(made, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_steps_and_style_of_a_path_are_read_by_the_question_and_not_by_the_prompt(tmp_path: FilePath):
    made = tiny(host={"name": "fedmd", "options": {"label_prompt": PROMPT}}, plugin="none", objective="soft_targets")
    made["task"] |= {"gold": "answers", "styles": True}
    data = read_task(make_config(made), tmp_path)
    made["task"]["gold"] = "rationales"
    paths = [sample.rationale or "" for sample in read_task(make_config(made), tmp_path).public]
    made["task"]["gold"] = "answers"
    asked = server_party(make_config(made), Place(tmp_path, tmp_path, 0.0), data, lambda event: None).task
    for task_, samples in ((data, data.public), (asked, asked.public)):
        assert task_.steps is not None
        assert task_.style is not None
        checked = [task_.steps(sample, path) for sample, path in zip(samples, paths, strict=True)]
        assert all(good for steps in checked for _, good in steps)
        assert all(not good for _, good in task_.steps(samples[0], "answer 0"))
        assert [task_.style(sample, path) for sample, path in zip(samples, paths, strict=True)] == (
            ["spelled_out"] * len(paths)
        )
    assert asked.steps is not None
    assert data.steps is not None
    assert asked.steps(asked.test[0], "answer 0") == data.steps(data.test[0], "answer 0")  # no prompt, no difference
