"""Classifiers keep the contract of a learner: a path is a label, and a label is one token."""

import re
import sys
from pathlib import Path as FilePath
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lada.core.errors import InputError
from lada.core.grids import write_grids
from lada.core.needs import Needs
from lada.core.plugins import VARIABLE, load_plugins
from lada.core.terms import Lesson, SparseLogProbs, Verb
from lada.learners.base import LEARNERS, OtherModel
from lada.models.base import Course, Study
from lada.models.classifier import IMPOSSIBLE
from lada.models.classifier_options import LabelSet
from lada.models.label_sets import LABEL_SETS
from lada.models.objective import Objective, Scored, Sizes, nll
from lada.models.private import Privacy
from lada.models.training import Optimisation
from lada.objectives.base import OBJECTIVES
from lada.tasks.digits import load_digits, load_school
from lada.tasks.options import DigitsTask

TINY = {"labels": ["left", "right"], "reads": {"scan": [1, 2]}, "width": 4, "depth": 1}
QUESTIONS = ["scan 1x2\ng0", "scan 1x2\n0g", "scan 1x2\n88"]
SFT = OBJECTIVES.make("sft", {})
STUDY = Study(steps=30, batch_size=4, optimisation=Optimisation(learning_rate=0.05))
LESSONS = [Lesson("l", QUESTIONS[0], "left"), Lesson("r", QUESTIONS[1], "right")]


def opened(name: str = "mlp", saved: FilePath | None = None, seed: int = 1, **options: Any) -> Any:
    return LEARNERS.make(name, TINY | options).open(FilePath(), init_seed=seed, saved=saved)


@pytest.fixture
def learner() -> Any:
    return opened()


def distributions(learner: Any, questions: list[str]) -> np.ndarray:
    """Return the probabilities of both labels [n, 2], from the likelihoods of each."""
    pairs = [(question, label) for question in questions for label in ("left", "right")]
    return np.exp([told.total for told in learner.judge(pairs)]).reshape(-1, 2)


def test_a_path_is_the_likeliest_label_and_judged_as_it_was_written(learner: Any):
    answers = learner.answer(QUESTIONS, seed=0)
    chances = distributions(learner, QUESTIONS)
    assert chances.sum(1) == pytest.approx(1)
    assert [answer.text for answer in answers] == [("left", "right")[place] for place in chances.argmax(1)]
    assert [answer.likelihood for answer in answers] == learner.judge(
        [(question, answer.text) for question, answer in zip(QUESTIONS, answers, strict=True)]
    )
    for answer in answers:
        assert (answer.likelihood.tokens, answer.likelihood.size) == (1, len(answer.text))
        assert answer.likelihood.total == answer.likelihood.minimum


def test_labels_are_sampled_from_the_distribution(learner: Any):
    (drawn,) = learner.sample(QUESTIONS[:1], paths=2000, seed=3, temperature=1.0)
    share = np.mean([answer.text == "left" for answer in drawn])
    assert share == pytest.approx(distributions(learner, QUESTIONS[:1])[0, 0], abs=0.04)
    (first,) = learner.answer(QUESTIONS[:1], seed=3, temperature=1.0)
    assert first == drawn[0]
    (same,) = learner.sample(QUESTIONS[:1], paths=3, seed=3, temperature=0.0)
    assert len({answer.text for answer in same}) == 1


def test_a_sample_depends_on_its_place_and_not_on_its_batch(learner: Any):
    whole = learner.sample(QUESTIONS, paths=5, seed=3, temperature=1.0)
    assert opened(batch_size=1).sample(QUESTIONS, paths=5, seed=3, temperature=1.0) == whole


def test_the_vocabulary_is_the_labels_and_has_no_end(learner: Any):
    vocabulary = learner.vocabulary()
    assert (vocabulary.tokens, vocabulary.eos) == ((b"left", b"right"), None)
    plain, marked, other = learner.tokenize(["right", "answer left", "up"])
    assert (plain.tokens.tolist(), plain.offsets.tolist()) == ([1], [[0, 5]])
    assert (marked.tokens.tolist(), marked.offsets.tolist()) == ([0], [[7, 11]])
    assert other is None


def test_scores_are_the_whole_distribution_however_many_are_asked_for(learner: Any):
    pairs = [(QUESTIONS[0], "left"), (QUESTIONS[1], "up"), (QUESTIONS[2], "right")]
    one, none, other = learner.log_probs(pairs, k=50)
    assert none is None
    chances = distributions(learner, [QUESTIONS[0], QUESTIONS[2]])
    for scores, row in zip((one, other), chances, strict=True):
        assert scores.top.ids.tolist() == [[0, 1]]
        assert np.exp(scores.top.log_probs[0]) == pytest.approx(row, abs=1e-6)
    (least,) = learner.log_probs([(QUESTIONS[0], "left")], k=1)
    assert least.top.ids.tolist() == [[0]]  # a text's own token is always among them


def test_a_text_that_is_no_label_is_impossible_and_teaches_nothing(learner: Any):
    told = learner.judge([(QUESTIONS[0], "up"), (QUESTIONS[0], "left")])
    assert (told[0].total, told[0].tokens, told[0].size) == (IMPOSSIBLE, 1, 2)
    assert told[1].total > -10
    before = learner.adapter()
    report = learner.study([*LESSONS, Lesson("x", QUESTIONS[2], "up")], SFT, STUDY, seed=0)
    assert report.lessons == 2
    assert learner.take_notices() == ("1 lesson left out, since its text is none of the labels",)
    assert learner.take_notices() == ()
    assert any((before[name] != weight).any() for name, weight in learner.adapter().items())


def test_a_study_of_nothing_but_other_texts_is_refused(learner: Any):
    with pytest.raises(InputError, match="none of 1 lesson has one of the labels of 'mlp', left, right; set model"):
        learner.study([Lesson("x", QUESTIONS[0], "up")], SFT, STUDY, seed=0)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("a box holds 3 .", "names no grid"),
        ("signal 1x2\n00", r"it has the grids signal 1x2, but the model reads scan 1x2; set model\.options\.reads"),
        ("scan 2x1\n0\n0", "it has the grids scan 2x1, but the model reads scan 1x2"),
    ],
)
def test_a_question_that_it_cannot_see_is_refused(learner: Any, question: str, told: str):
    for verb in (lambda: learner.answer([question], seed=0), lambda: learner.embed([question])):
        with pytest.raises(InputError, match=told):
            verb()


def test_it_passes_over_grids_that_it_does_not_read(learner: Any):
    extended = [f"signal 1x3\nabc\n{question}\nmore 1x1\n1" for question in QUESTIONS]
    assert learner.answer(extended, seed=0) == learner.answer(QUESTIONS, seed=0)


def test_the_loss_of_a_lesson_is_the_cross_entropy_of_its_label(learner: Any):
    expected = -np.log(distributions(learner, QUESTIONS[:2])[[0, 1], [0, 1]]).mean()
    report = learner.study(LESSONS, SFT, Study(steps=1, batch_size=2), seed=0)
    assert report.first_loss == pytest.approx(expected, abs=1e-6)
    assert (report.tokens, report.cut, report.empty, report.skipped) == (2, 0, 0, 0)


def test_a_soft_target_is_learnt_over_the_labels(learner: Any):
    target = np.log(np.array([[0.8, 0.2]], np.float32))
    soft = SparseLogProbs(np.array([[0, 1]], np.int32), target)
    lessons = [Lesson("m", QUESTIONS[2], "left", soft=soft)]
    objective = OBJECTIVES.make("soft_targets", {"form": "forward_kl", "label_weight": 0.0})
    own = distributions(learner, QUESTIONS[2:])[0]
    report = learner.study(lessons, objective, Study(steps=1, batch_size=1), seed=0)
    assert report.first_loss == pytest.approx(float((np.array([0.8, 0.2]) * (np.log([0.8, 0.2]) - np.log(own))).sum()))
    learner.study(lessons, objective, STUDY.model_copy(update={"steps": 200}), seed=0)
    assert distributions(learner, QUESTIONS[2:])[0] == pytest.approx([0.8, 0.2], abs=0.02)


class Looks(Objective):
    """Looks at all that an objective may ask for."""

    @staticmethod
    def declared(options: Any) -> Needs:
        return Needs(student=frozenset({Verb.STUDY}), dense=True, gold=True, exits=(0.5, 1.0), held_out=0.3)

    def init(self, seed: int, sizes: Sizes | None = None) -> dict[str, np.ndarray]:
        assert sizes is not None
        assert (sizes.width, sizes.vocabulary) == (4, 2)
        return {}

    def __call__(self, scored: Scored) -> torch.Tensor:
        count = len(scored.weights)
        assert scored.gold is not None
        assert scored.held_out is not None
        assert scored.gold.shape == scored.log_probs.shape == (count, 1)
        assert {depth: hidden.shape for depth, hidden in scored.hidden.items()} == dict.fromkeys(
            (0.5, 1.0), (count, 1, 4)
        )
        whole = scored.over_vocabulary(lambda log_probs: log_probs.exp().sum(1))
        assert torch.allclose(whole.detach(), torch.ones(count, 1))
        return nll(scored)


@pytest.mark.parametrize("name", ["mlp", "cnn", "two_tower"])
def test_an_objective_sees_one_token_of_each_lesson(name: str):
    report = opened(name).study([*LESSONS, *LESSONS], Looks(), Study(steps=2, batch_size=4), seed=0)
    assert (report.steps, report.lessons) == (2, 4)


@pytest.mark.parametrize("name", ["mlp", "cnn", "two_tower"])
def test_it_learns_saves_and_goes_on_to_the_same_bits(name: str, tmp_path: FilePath):
    wide: dict[str, Any] = {"width": 32}  # fewer units than that may all be silent
    learner = opened(name, **wide)
    learner.study(LESSONS, SFT, STUDY, seed=0)
    assert [answer.text for answer in learner.answer(QUESTIONS[:2], seed=0)] == ["left", "right"]
    learner.save(tmp_path)
    again = opened(name, saved=tmp_path, seed=9, **wide)
    assert again.digest() == learner.digest()
    for pupil in (learner, again):
        pupil.study(LESSONS, SFT, STUDY, seed=1)
    assert again.digest() == learner.digest()
    chosen = opened(name, seed=9, weights=str(tmp_path), **wide)
    assert chosen.inside().weights == opened(name, saved=tmp_path, **wide).inside().weights


def test_weights_of_another_network_are_refused(tmp_path: FilePath):
    with pytest.raises(InputError, match=r"model\.options\.weights: .* is not readable"):
        opened(weights=str(tmp_path))
    opened(width=5).save(tmp_path)
    with pytest.raises(InputError, match=r"have other names or shapes; expected those of a network with the same"):
        opened(weights=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="is not readable"):
        opened(weights=str(tmp_path))


def test_vectors_have_the_networks_width_and_tell_labels_apart(learner: Any):
    vectors = learner.embed(QUESTIONS)
    assert (vectors.shape, vectors.dtype) == ((3, 4), np.float32)
    left, right, none = learner.read([(QUESTIONS[0], "left"), (QUESTIONS[0], "right"), (QUESTIONS[0], "up")])
    assert (left != right).any()
    assert not none.any()
    head = learner.adapter()["head.weight"]
    assert right - left == pytest.approx(head[1] - head[0], abs=1e-6)


def test_weights_are_averaged_by_name(learner: Any):
    other = opened(seed=2)
    mean = {name: (weight + other.adapter()[name]) / 2 for name, weight in learner.adapter().items()}
    learner.load_adapter(mean)
    assert all((learner.adapter()[name] == weight).all() for name, weight in mean.items())
    with pytest.raises(InputError, match="does not fit"):
        learner.load_adapter({"x": np.zeros(1, np.float32)})


def test_the_losses_of_lessons_are_told_by_their_places(learner: Any):
    lessons = [Lesson("x", QUESTIONS[2], "up"), *LESSONS]
    report = learner.study(lessons, SFT, Study(steps=1, batch_size=2), seed=0, course=Course(watch=True))
    assert sorted(report.losses["lessons"].tolist()) == [1, 2]


def test_it_studies_under_differential_privacy(learner: Any):
    pytest.importorskip("dp_accounting")
    private = Privacy(noise_multiplier=1.0, seeded=True)
    report = learner.study(LESSONS, SFT, Study(steps=2, batch_size=2, dp=private), seed=0)
    assert np.isnan(report.first_loss)


def test_a_name_stands_for_the_labels_of_the_task():
    assert get_args(LabelSet) == tuple(LABEL_SETS)
    for name, labels in LABEL_SETS.items():
        options: Any = LEARNERS.get("two_tower").read({"labels": name})
        assert options.labels == labels
        assert options.model_dump()["labels"] == labels
    assert LEARNERS.get("mlp").read({}) == LEARNERS.get("mlp").read({"labels": "digits"})


def test_a_school_of_captions_is_learnt():
    reads, task = {"scene": [24, 24], "box": [24, 24]}, {"grids": ["scene"], "labels": "captions", "public": 40}
    told = {"labels": "captions", "reads": reads, "width": 32}
    schooled = LEARNERS.make("two_tower", {**told, "school": {"task": task, "study": {"steps": 60, "batch_size": 20}}})
    drawn = LEARNERS.make("two_tower", told)
    pairs = [(each.question, each.answer or "") for each in load_school(DigitsTask.model_validate(task))]
    before, after = (
        np.mean([each.total for each in of.open(FilePath(), init_seed=0, saved=None).judge(pairs)])
        for of in (drawn, schooled)
    )
    assert after > before + 1  # of 360 captions, it has seen these 40


def test_drawn_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    one = opened().digest()
    torch.manual_seed(6)
    assert opened().digest() == one != opened(seed=2).digest()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labels": ["one"]}, "too few labels to tell apart"),
        ({"labels": "digit"}, "'digit' names no labels; expected a list, or one of digits, parity"),
        ({"labels": ["a", "a"]}, "'a' is named twice"),
        ({"labels": ["a", " b"]}, "' b' is no label"),
        ({"labels": ["a", "answer b"]}, "'answer b' is no label"),
        ({"reads": {"Scan": [8, 8]}}, "'Scan' is no name of a grid"),
        ({"reads": {}}, "at least 1 item"),
        ({"reads": {"scan": [4096, 4096]}}, "expected at most 65536"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        LEARNERS.get("mlp").read(options)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("cnn", {"reads": {"scan": [8, 8], "strokes": [1, 48]}}, "expected one shape, as of channels"),
        ("graph", {"reads": {"nodes": [6, 64], "edges": [5, 6]}}, r"for 6 nodes; expected \(6, 6\)"),
        ("graph", {"reads": {"nodes": [6, 64]}}, "at least 2 items"),
        ("mlp", {"school": {"task": {"public": 301}}}, "public is 301; expected at most 300 scans"),
    ],
)
def test_options_that_do_not_suit_a_network_are_refused(name: str, options: dict[str, Any], told: str):
    with pytest.raises(ValidationError, match=told):
        LEARNERS.get(name).read(options)


def test_it_can_neither_explain_nor_continue():
    model = OtherModel(learner="cnn", options={})
    assert model.able == frozenset(Verb) - {Verb.EXPLAIN, Verb.CONTINUE}
    assert model.labels_told == tuple("0123456789")
    assert OtherModel(learner="hugging_face", options={"model": "zoo:slm-llama"}).labels_told is None


def test_a_conv_net_reads_a_scene_and_its_box_as_channels():
    grids = {name: np.zeros((24, 24), np.int64) for name in ("scene", "box")}
    learner = LEARNERS.make("cnn", {"reads": {"scene": [24, 24], "box": [24, 24]}}).open(
        FilePath(), init_seed=0, saved=None
    )
    (answer,) = learner.answer([write_grids(grids)], seed=0)
    assert answer.text in "0123456789"


def test_a_network_may_come_with_knowledge():
    opens = LEARNERS.make(
        "mlp", {"school": {"task": {"domains": ["plain"]}, "study": {"steps": 150, "batch_size": 32}}}
    )
    learner = opens.open(FilePath(), init_seed=1, saved=None)
    assert learner.digest() == opens.open(FilePath(), init_seed=1, saved=None).digest()
    test = [s for s in load_digits(DigitsTask(domains=("plain",)), {"a": ()}, 0).test]
    answers = learner.answer([sample.question for sample in test], seed=0)
    assert np.mean([answer.text == sample.answer for answer, sample in zip(answers, test, strict=True)]) > 0.7
    with pytest.raises(ValidationError, match="school and weights are both set"):
        LEARNERS.get("mlp").read({"school": {}, "weights": "x"})


def test_equal_networks_of_a_run_are_drawn_together_unless_they_are_to_differ():
    alike, own = (OtherModel(learner="mlp", options={"draw": draw}) for draw in ("common", "own"))
    assert alike.drawn_with
    assert not own.drawn_with
    assert not OtherModel(learner="hugging_face", options={"model": "zoo:slm-llama"}).drawn_with
    with pytest.raises(InputError, match=r"has model\.options\.draw 'own'; expected 'common'"):
        own.tuned(full=True, ranks=False)


def test_a_network_of_ones_own_is_a_file(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch):
    page = (FilePath(__file__).parents[2] / "docs/digits.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "residual.py"
    file.write_text(code, encoding="utf-8")
    LEARNERS.names()
    monkeypatch.setattr(LEARNERS, "_methods", dict(LEARNERS._methods))
    monkeypatch.setenv(VARIABLE, str(file))
    load_plugins.cache_clear()
    load_plugins()
    monkeypatch.delitem(sys.modules, "lada_plugin_residual")
    opens = LEARNERS.make("residual", {"reads": {"scan": [1, 2]}})
    opens.check()
    (answer,) = opens.open(FilePath(), init_seed=0, saved=None).answer(["scan 1x2\n0g"], seed=0)
    assert answer.text in set("0123456789")
