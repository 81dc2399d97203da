"""Objectives of a plug-in: their losses by a slow reference, and studies with them."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from yaml import safe_load

import lada
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.core.terms import Lesson, SparseLogProbs
from lada.models.base import Course, Study, StudyReport
from lada.models.load import load
from lada.models.objective import Done, Objective, Scored, Soft
from lada.models.options import ModelOptions
from lada.objectives.base import OBJECTIVES
from lada.zoo.shipped import locate

LESSONS = [
    Lesson(f"s-{i}", f"a box holds {i} .", f"{i} plus 2 makes {i + 2} ." + " answer 5" * (i % 3)) for i in range(8)
]
DISTRIBUTIONS = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [1.0, 1.0, 1.0]]])
MASK = torch.tensor([[True, True], [True, False]])


def make(name: str, **options: Any) -> Objective:
    method = OBJECTIVES.get(name)
    return method.make(method.options.model_validate(options))


def scored(**more: Any) -> Scored:
    """Three tokens of two lessons over a vocabulary of three, of which the first is the text's own each time."""
    log_probs = DISTRIBUTIONS.log()

    def over_vocabulary(measure: Any) -> torch.Tensor:
        return torch.zeros(2, 2).masked_scatter(MASK, measure(log_probs[MASK]))

    own = log_probs[..., 0] * MASK
    return Scored(own, MASK, torch.tensor([1.0, 2.0]), None, 4.0, 0.0, over_vocabulary=over_vocabulary, **more)


NLL = -(np.log(0.5) + np.log(0.1) + 2 * np.log(0.2)) / 4


@pytest.mark.usefixtures("plugged")
def test_label_smoothing():
    spread = [-np.log(each).mean() for each in ((0.5, 0.25, 0.25), (0.1, 0.8, 0.1), (0.2, 0.2, 0.6))]
    expected = 0.7 * NLL + 0.3 * (spread[0] + spread[1] + 2 * spread[2]) / 4
    assert make("label_smoothing", smoothing=0.3)(scored()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("plugged")
def test_an_entropy_bonus():
    rows = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    entropy = -(rows * np.log(rows)).sum(1)
    expected = NLL - 0.5 * (entropy[0] + entropy[1] + 2 * entropy[2]) / 4
    assert make("entropy_bonus", weight=0.5)(scored()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("plugged")
def test_a_moving_blend():
    objective = make("moving_blend")
    teacher, student = torch.tensor([[0.75, 0.0]]).log(), torch.tensor([[0.25, 0.5]]).log()
    soft = Soft(student, teacher, torch.tensor([1]), torch.tensor([[3, 0]]), columns=torch.tensor([0]))
    seen: dict[str, torch.Tensor] = {}
    state = objective.init(0)
    loss = objective(scored(soft=soft, state=state, observe=seen.__setitem__))
    # The categories are token 3 and the tail: teacher (0.75, 0.25), student (0.25, 0.75), blend (0.5, 0.5).
    gap = -(0.5 * np.log(0.25) + 0.5 * np.log(0.75)) * 2.0 / 4.0
    assert loss.item() == pytest.approx(0.5 * NLL + 0.5 * gap, rel=1e-5)
    assert seen["apart"].item() == pytest.approx(0.5)
    done = Done(0, 1, 0, 1, 1.0, {name: value.numpy() for name, value in seen.items()})
    assert objective.after_step({**state, "blend": np.array(1.0)}, done)["blend"] == pytest.approx(0.95)
    assert objective.after_step(state, Done(0, 1, 0, 1, 1.0, {})) is state  # no lesson had a soft target


def learner() -> Any:
    return load(locate("zoo:slm-llama-small"), ModelOptions(model="zoo:slm-llama-small", device="cpu"))


@pytest.fixture(scope="module")
def soft_lessons() -> list[Lesson]:
    encoder, rows = learner().encoder, []
    for lesson in LESSONS:
        tokens = encoder.pair(lesson.question, lesson.chosen).completion
        ids = np.array([sorted({token, (token + 7) % 40}) for token in tokens], np.int32)
        rows.append(
            Lesson(
                lesson.sample_id,
                lesson.question,
                lesson.chosen,
                soft=SparseLogProbs(ids, np.full(ids.shape, -1.0, np.float32)),
            )
        )
    return rows


@pytest.mark.usefixtures("plugged")
@pytest.mark.parametrize(
    "name", ["label_smoothing", "entropy_bonus", "moving_blend", "risk_variance", "two_depths", "held_out_check"]
)
def test_each_studies_and_says_the_same_again(name: str, soft_lessons: list[Lesson]):

    def twice() -> tuple[StudyReport, StudyReport, list[np.ndarray]]:
        pupil = learner()
        first = pupil.study(soft_lessons, make(name), Study(steps=6, batch_size=4), seed=1, course=Course(seed=5))
        course = Course(first.state, 5, first.steps)
        second = pupil.study(soft_lessons, make(name), Study(steps=6, batch_size=4), seed=2, course=course)
        return first, second, [*pupil.adapter().values(), *second.state.values()]

    first, second, after = twice()
    assert second.last_loss < first.first_loss
    assert (first.skipped, second.skipped) == (0, 0)
    assert all(np.array_equal(a, b) for a, b in zip(after, twice()[2], strict=True))
    if name == "moving_blend":
        assert int(second.state["moved"]) == 12
        assert second.state["blend"] != first.state["blend"] != 0.5
    if name == "two_depths":
        assert first.state["probe"].shape == (second.state["probe"].shape[0],) * 2
        assert not np.array_equal(first.state["probe"], second.state["probe"])


@pytest.mark.usefixtures("plugged")
def test_the_variance_is_that_of_the_whole_batch():
    one, two = (learner() for _ in range(2))
    reports = [
        each.study(LESSONS, make("risk_variance"), Study(steps=3, batch_size=8, micro_batch_size=size), seed=0)
        for each, size in ((one, None), (two, 2))
    ]
    assert reports[0] == reports[1]
    assert all(np.array_equal(a, b) for a, b in zip(one.adapter().values(), two.adapter().values(), strict=True))


def test_needs_are_those_that_a_class_is_registered_with(plugged: ModuleType):
    assert plugged.TwoDepths().needs.exits == (0.5, 1.0)
    assert plugged.MovingBlend.name == plugged.MovingBlend().title == "moving_blend"
    assert Objective().needs == Needs()


@pytest.mark.usefixtures("plugged")
def test_a_configuration_names_a_plug_in_in_a_weighted_list():
    config = safe_load((Path(lada.__file__).parent / "examples/demo.yaml").read_text(encoding="utf-8"))
    config["objective"] = ["label_smoothing", {"name": "two_depths", "weight": 0.5}]
    objective = make_config(config).choice(OBJECTIVES)
    assert objective.name == "weighted"
    assert [part["name"] for part in objective.options["objectives"]] == ["label_smoothing", "two_depths"]


@pytest.mark.usefixtures("plugged")
def test_what_a_study_cannot_give_is_refused_before_round_1(tmp_path: Path):
    config = safe_load((Path(lada.__file__).parent / "examples/demo.yaml").read_text(encoding="utf-8"))
    config["objective"] = ["risk_variance"]
    config["clients"][1]["distil"] = {"steps": 2, "dp": {"noise_multiplier": 1.0}}
    with pytest.raises(
        InputError, match=r"^clients\.clinic: objective 'weighted' couples the lessons of a batch, but dp"
    ):
        make_config(config)
