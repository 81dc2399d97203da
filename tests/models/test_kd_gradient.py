"""The divergence from another model's distributions reaches the student's weights, as over the whole vocabulary."""

from typing import Any

import numpy as np
import pytest
import torch

from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.likelihood import log_probs_of, predict
from lada.models.objective import Scored
from lada.models.soft import soft_places
from lada.models.training import Optimisation
from lada.objectives.soft_targets import SoftTargets, SoftTargetsOptions


def both(tiny: Any) -> tuple[HuggingFaceLearner, HuggingFaceLearner, Lesson]:
    """Return a student, a teacher with other weights, and a lesson with all that the teacher says."""
    tokenizer = tiny.tokenizer()
    student, teacher = tiny.learner("llama", tokenizer), tiny.learner("llama", tokenizer)
    teacher.model.load_state_dict(tiny.model("llama", len(tokenizer), seed=1).state_dict())
    question, text = tiny.questions[2], tiny.paths[1]
    (said,) = teacher.log_probs([(question, text)], len(teacher.vocabulary().tokens))
    assert said is not None
    return student, teacher, Lesson("s", question, text, soft=said.top)


@pytest.mark.parametrize("form", ["reverse_kl", "forward_kl", "ce", "jsd"])
def test_the_gradient_is_that_of_the_dense_divergence(tiny: Any, form: Any):
    student, teacher, lesson = both(tiny)
    row = student.encoder.pair(lesson.question, lesson.chosen)
    weights = list(student.model.parameters())

    predicted = predict(student.model, [row], student.encoder.pad)
    places = soft_places([row], [lesson.soft])
    assert places is not None
    own, beside = log_probs_of(predicted, places.ids)
    tokens = float(len(row.completion))
    scored = Scored(
        predicted.rows(own), predicted.mask, torch.ones(1), None, tokens, 0.0, places.of(beside, places.ids)
    )
    loss = SoftTargets(SoftTargetsOptions(form=form, label_weight=0.0))(scored)
    mine = torch.autograd.grad(loss, weights, allow_unused=True)

    def dense(learner: HuggingFaceLearner) -> torch.Tensor:
        found = predict(learner.model, [row], student.encoder.pad)
        return found.logits.double().log_softmax(1)

    log_q, log_p = dense(student), dense(teacher).detach()
    q, p = log_q.exp(), log_p.exp()
    log_m = ((p + q) / 2).log()
    expected = {
        "reverse_kl": (q * (log_q - log_p)).sum(),
        "forward_kl": (p * (log_p - log_q)).sum(),
        "ce": -(p * log_q).sum(),
        "jsd": ((p * (log_p - log_m)).sum() + (q * (log_q - log_m)).sum()) / 2,
    }[form] / tokens
    slow = torch.autograd.grad(expected, weights, allow_unused=True)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    norms = [float(gradient.norm()) for gradient in mine if gradient is not None]
    assert max(norms) > 1e-3
    for a, b in zip(mine, slow, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.numpy() == pytest.approx(b.float().numpy(), rel=1e-3, abs=1e-5)


def test_it_alone_changes_the_weights_towards_the_teacher(tiny: Any):
    student, _, lesson = both(tiny)
    before = tiny.weights(student)
    objective = SoftTargets(SoftTargetsOptions(form="reverse_kl", label_weight=0.0))
    plain = Lesson(lesson.sample_id, lesson.question, lesson.chosen)
    options = Study(steps=30, batch_size=1, optimisation=Optimisation(learning_rate=1e-2, weight_decay=0.0))

    student.study([plain], objective, options, seed=0)  # labels have no weight and nobody says anything
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.weights(student).items())

    report = student.study([lesson], objective, options, seed=0)
    assert report.last_loss < report.first_loss / 2
    (said,) = student.log_probs([(lesson.question, lesson.chosen)], len(student.vocabulary().tokens))
    assert said is not None
    assert lesson.soft is not None
    assert np.abs(np.exp(said.top.log_probs) - np.exp(lesson.soft.log_probs)).max() < 0.2
