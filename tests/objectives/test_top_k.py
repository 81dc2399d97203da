"""What holds of all objectives that learn from a teacher's likeliest tokens, wherever their formulas differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from from_logits import random_logits, scored
from pydantic import ValidationError

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.needs import Needs, SignalSpec
from lada.core.terms import Lesson, SparseLogProbs, Verb
from lada.models.base import Course, Study, StudyReport
from lada.models.load import load
from lada.models.objective import Objective, Scored, Sizes, nll
from lada.models.options import ModelOptions
from lada.objectives.base import OBJECTIVES
from lada.zoo.shipped import locate

WIDTH, VOCABULARY = 4, 6
OPTIONS: Mapping[str, dict[str, Any]] = {
    "taid": {"label_weight": 0.0},
    "bd_kd": {"label_weight": 0.0},
    "pld": {},
    "sinkd": {"label_weight": 0.0, "debiased": True},
    "ofa_kd": {"label_weight": 0.0, "depths": [0.5]},
}
NEEDS = {
    "taid": {"observes": True},
    "pld": {"gold": True},
    "sinkd": {"couples_batch": True},
    "ofa_kd": {"gold": True, "exits": (0.5,), "read_out": True},
}
each = pytest.mark.parametrize("name", OPTIONS)


def make(name: str, **options: Any) -> Objective:
    return OBJECTIVES.get(name).made({**OPTIONS[name], **options})


def batch(objective: Objective, student: torch.Tensor, teacher: torch.Tensor, gold: Any = 0, **more: Any) -> Scored:
    """Return lessons as the objective asks for them: with its first state, and an exit that a random head reads."""
    state = objective.init(0, Sizes(WIDTH, VOCABULARY))
    if objective.needs.exits:
        hidden = random_logits(9, *student.shape[:2], WIDTH).detach()
        head = random_logits(8, WIDTH, student.shape[2]).detach().float()
        more |= {"hidden": {0.5: hidden}, "head": lambda states: states @ head}
        more["parameters"] = {name: torch.tensor(state[name]) for name in objective.trained}
    return scored(student, teacher, gold, state=state, **more)


@each
def test_what_it_asks_for(name: str):
    asked = {"signal": SignalSpec(8, "mined", "one_hot"), **NEEDS.get(name, {})}
    expected = Needs(frozenset({Verb.LOG_PROBS}), frozenset({Verb.STUDY}), **asked)
    assert make(name, k=8, alignment="mined", inside="one_hot").needs == expected


@each
@pytest.mark.parametrize("k", [2, VOCABULARY])
def test_padding_and_what_stands_there_do_not_matter(name: str, k: int):
    student, teacher = (random_logits(seed, 2, 3, VOCABULARY).detach() for seed in (1, 2))
    gold, lengths = torch.tensor([[0, 1, 2], [3, 4, 5]]), [3, 1]
    objective = make(name)
    loss = objective(batch(objective, student, teacher, gold, k=k, lengths=lengths))
    for side in (student, teacher):
        side[1, 1:] = 7.0 * torch.arange(VOCABULARY)
    gold[1, 1:] = 1
    assert objective(batch(objective, student, teacher, gold, k=k, lengths=lengths)).item() == loss.item()


@each
def test_a_k_beyond_the_vocabulary_names_every_token_and_no_more(name: str):
    student, teacher = random_logits(1, 2, 3, VOCABULARY), random_logits(2, 2, 3, VOCABULARY).detach()
    objective = make(name)
    losses = [objective(batch(objective, student, teacher, k=k)) for k in (VOCABULARY, VOCABULARY + 5)]
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-9)
    one, other = (torch.autograd.grad(loss, student)[0] for loss in losses)
    assert torch.allclose(one, other, atol=1e-9)


@each
@pytest.mark.parametrize("k", [1, 3])
def test_with_one_class_there_is_nothing_to_learn(name: str, k: int):
    student = torch.zeros(2, 1, 1, requires_grad=True)
    objective = make(name)
    loss = objective(batch(objective, student, torch.ones(2, 1, 1), k=k))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, student)[0].abs().max() == 0


@each
@pytest.mark.parametrize("k", [1, 3])
def test_certain_sides_that_contradict_each_other_give_finite_losses_and_gradients(name: str, k: int):
    student = torch.tensor([[[90.0, 0.0, 0.0], [0.0, 90.0, 0.0]]], requires_grad=True)
    teacher = torch.tensor([[[0.0, 90.0, 0.0], [0.0, 0.0, 90.0]]])
    objective = make(name)
    loss = objective(batch(objective, student, teacher, k=k))
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, student)[0]).all()


@each
def test_positions_without_a_soft_target_count_by_their_labels(name: str):
    student, teacher = random_logits(1, 2, 2, VOCABULARY), random_logits(2, 2, 2, VOCABULARY).detach()
    if name == "ofa_kd":  # whose labels always have their own weight
        objective, weight = make(name, label_weight=0.5), 0.5
    else:
        objective, weight = make(name), 1.0
    silent = batch(objective, student, teacher, untaught=[(0, 0), (0, 1), (1, 0), (1, 1)])
    assert objective(silent).item() == pytest.approx(weight * nll(silent).item(), rel=1e-6)
    some = objective(batch(objective, student, teacher, untaught=[(1, 0), (1, 1)]))
    assert torch.allclose(
        torch.autograd.grad(some, student)[0][1], torch.autograd.grad(weight * nll(silent), student)[0][1], atol=1e-9
    )
    nobody = Scored(silent.log_probs, silent.mask, silent.weights, None, silent.batch_tokens, 0.0)
    assert objective(nobody).item() == pytest.approx(weight * nll(silent).item(), rel=1e-6)


@pytest.mark.parametrize("name", ["taid", "bd_kd", "sinkd", "ofa_kd"])
@pytest.mark.parametrize("k", [2, VOCABULARY])
def test_a_student_that_equals_its_teacher_stays_as_it_is(name: str, k: int):
    student = random_logits(1, 2, 3, VOCABULARY)
    more = {"exit_weight": 0.0} if name == "ofa_kd" else {"iterations": 1000} if name == "sinkd" else {}
    objective = make(name, **more)
    loss = objective(batch(objective, student, student.detach(), k=k))
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-6


@each
@pytest.mark.parametrize("k", [0, 2**20])
def test_impossible_numbers_of_tokens_are_refused(name: str, k: int):
    with pytest.raises(ValidationError, match=rf"k is {k}; expected 1 to 65536 tokens"):
        make(name, k=k)


@each
def test_a_teacher_without_log_probs_is_refused_before_round_1(name: str):
    model = {"model": "zoo:slm-llama", "tune": "lora"}
    verbs = [str(verb) for verb in Verb if verb is not Verb.LOG_PROBS]
    config = {
        "server": {"model": {**model, "verbs": verbs}},
        "clients": [{"name": "a", "model": model}],
        "host": {"name": "fedmkt", "options": {"knowledge": "paths", "directions": "llm_to_slm"}},
        "plugin": "none",
        "objective": {"name": name, "options": OPTIONS[name]},
    }
    with pytest.raises(
        InputError,
        match=rf"^objective '{name}' needs a learner that can log_probs, but that of 'llm' cannot .*; choose another "
        "method, another model",
    ):
        make_config(config)
    config["server"] = {"model": model}
    made: Any = make_config(config)
    assert made.objective.name == name


def learner() -> Any:
    return load(locate("zoo:slm-llama-small"), ModelOptions(model="zoo:slm-llama-small", device="cpu"))


@pytest.fixture(scope="module")
def lessons() -> list[Lesson]:
    """Give lessons with a teacher's tokens at all positions but the last."""
    encoder, taught = learner().encoder, []
    for number in range(8):
        question, text = f"a box holds {number} .", f"{number} plus 2 makes {number + 2} ." + " answer 5" * (number % 3)
        tokens = encoder.pair(question, text).completion
        ids = np.array([sorted({token, (token + 7) % 40}) for token in tokens], np.int32)
        log_probs = np.full(ids.shape, -1.0, np.float32)
        log_probs[-1] = -np.inf
        taught.append(Lesson(f"s{number}", question, text, soft=SparseLogProbs(ids, log_probs)))
    return taught


@each
def test_it_teaches_a_learner_and_says_the_same_again(name: str, lessons: list[Lesson]):
    def twice() -> tuple[StudyReport, StudyReport, list[np.ndarray]]:
        pupil, study = learner(), Study(steps=6, batch_size=4)
        first = pupil.study(lessons, make(name), study, seed=1, course=Course(seed=5, rounds_left=2))
        second = pupil.study(lessons, make(name), study, seed=2, course=Course(first.state, 5, first.steps))
        return first, second, [*pupil.adapter().values(), *second.state.values()]

    first, second, after = twice()
    if name != "taid":  # whose target moves away from the student
        assert second.last_loss < first.first_loss
    assert (first.skipped, second.skipped) == (0, 0)
    assert all(np.array_equal(a, b) for a, b in zip(after, twice()[2], strict=True))
    if name == "taid":  # 11 of 12 steps have moved it, and the straight line ends at 1
        assert 0.4 < float(first.state["t"]) < float(second.state["t"]) == 1.0
    if name == "ofa_kd":
        start, end = first.state["exit_0.5"], second.state["exit_0.5"]
        assert not np.array_equal(start, np.eye(len(start)))
        assert not np.array_equal(start, end)
