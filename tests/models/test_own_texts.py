"""A study on the learner's own texts: which of them an objective sees, and how likely they were before the study."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_ranks import Group, together
from test_study import STEADY, Spy, lessons, plain_descent, study  # noqa: F401 - a fixture

from lada.core.terms import ChunkLogProbs, Lesson
from lada.models.base import Study
from lada.models.encoding import Encoded
from lada.models.likelihood import token_log_probs
from lada.models.objective import Scored, nll, others, own_texts


def with_own(tiny: Any, weights: tuple[float, ...] = (1.0,) * 8) -> list[Lesson]:
    """Eight lessons with a chunk of two tokens each; every third is the learner's own text."""
    chunks = ChunkLogProbs(np.array([[0, 2]], np.int32), np.array([-1.5], np.float32))
    rows = lessons(tiny, weights)
    return [replace(row, rejected=None, chunks=chunks, own=place % 3 == 0) for place, row in enumerate(rows)]


def surrogate(scored: Scored) -> torch.Tensor:
    """A loss that uses everything there is about own texts."""
    assert scored.chunks is not None
    assert scored.chunks.old is not None
    ratio = (scored.chunks.student - scored.chunks.old).exp()
    mine = own_texts(scored).weights[scored.chunks.rows]
    return nll(others(scored)) + 0.1 * (ratio * scored.chunks.teacher * mine).sum() / scored.batch_tokens


@pytest.mark.usefixtures("plain_descent")
def test_the_log_probs_before_the_study_stay_while_the_weights_move(tiny: Any):
    learner, rows, spy = tiny.learner(), with_own(tiny), Spy(old=True, loss=surrogate)
    row: Encoded = learner.encoder.pair(rows[0].question, rows[0].chosen)
    with torch.no_grad():
        before, _ = token_log_probs(learner.model, [row], learner.encoder.pad)
    expected = before[0, :2].sum().item()
    study(learner, [rows[0]], spy, steps=3, batch_size=1, optimisation=STEADY)
    seen = [scored.chunks for scored in spy.seen if scored.chunks is not None]
    assert [each.old is not None and each.old.item() for each in seen] == pytest.approx([expected] * 3, abs=1e-5)
    assert seen[0].student.item() == pytest.approx(expected, abs=1e-5)  # so that the first ratio is 1
    assert abs(seen[2].student.item() - expected) > 1e-3


def test_an_objective_sees_which_texts_are_the_learners_own(tiny: Any):
    spy = Spy(old=True)
    study(tiny.learner(), with_own(tiny), spy, steps=1, micro_batch_size=8)
    (scored,) = spy.seen
    assert scored.own is not None
    assert scored.own.sum() == 3
    assert scored.chunks is not None
    assert scored.chunks.old is not None
    assert torch.equal(scored.chunks.old != 0, scored.own[scored.chunks.rows])
    assert own_texts(scored).weights.tolist() == scored.own.float().tolist()
    assert others(scored).weights.tolist() == (~scored.own).float().tolist()


def test_without_own_texts_and_without_the_need_there_is_nothing(tiny: Any):
    spy = Spy()
    study(tiny.learner(), [replace(row, own=False) for row in with_own(tiny)], spy, steps=1)
    (scored,) = spy.seen
    assert scored.own is None
    assert scored.chunks is not None
    assert scored.chunks.old is None
    assert torch.equal(others(scored).weights, scored.weights)
    assert not own_texts(scored).weights.any()


@pytest.mark.usefixtures("plain_descent")
def test_several_ranks_study_own_texts_as_one_does(tiny: Any, tmp_path: Path):
    rows = with_own(tiny, (1.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0, 0.2))
    options = Study(steps=3, batch_size=7, micro_batch_size=2, optimisation=STEADY)
    one, *learners = (tiny.learner() for _ in range(3))
    report = one.study(rows, Spy(old=True, loss=surrogate), options, seed=3)

    def work(group: Group) -> Any:
        spy = Spy(old=True, loss=surrogate)
        return learners[group.rank].study_among(group, rows, spy, options, seed=3), tiny.weights(learners[group.rank])

    for told, weights in together(2, tmp_path, work):
        assert told.last_loss == pytest.approx(report.last_loss, abs=1e-5)
        for name, expected in tiny.weights(one).items():
            assert torch.allclose(weights[name], expected, rtol=0, atol=1e-5), name
