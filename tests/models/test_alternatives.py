"""Further paths for a question: how likely the learner finds them, and that cutting a batch changes nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_study import STEADY, Spy, lessons, plain_descent, same, study  # noqa: F401 - a fixture

from lada.core.terms import Alternative, Lesson
from lada.models.likelihood import token_log_probs
from lada.models.objective import Scored, nll


def with_more(tiny: Any, weights: tuple[float, ...] = (1.0,) * 8) -> list[Lesson]:
    """Eight lessons of which half are pairs. All have the four paths as alternatives."""
    further = tuple(Alternative(path, -1.0 - place) for place, path in enumerate(tiny.paths))
    return [replace(row, alternatives=further) for row in lessons(tiny, weights)]


def spread(scored: Scored) -> torch.Tensor:
    """A loss that uses everything there is about further paths."""
    loss = nll(scored)
    if scored.alternatives is None:
        return loss
    more = scored.alternatives
    each = (more.log_probs.sum(1) / more.mask.sum(1) - more.teacher).square() * scored.weights[more.rows]
    return loss + 0.01 * each.sum() / scored.batch_pairs


def test_those_that_differ_are_scored_for_pairs_alone(tiny: Any):
    learner, rows, spy = tiny.learner(), with_more(tiny), Spy(rejected=True, alternatives=3)
    study(learner, rows, spy, steps=1, micro_batch_size=8)
    (scored,) = spy.seen
    more, pairs = scored.alternatives, scored.pairs
    assert more is not None
    assert pairs is not None
    assert len(pairs.rows) == 4
    # Of the first three paths, one or two are the pair's own.
    assert sorted(set(more.rows.tolist())) == pairs.rows.tolist()
    assert more.rows.tolist() == sorted(more.rows.tolist())
    fresh = tiny.learner()
    sums = zip(more.teacher.tolist(), more.log_probs.sum(1).tolist(), strict=True)
    found = sorted((round(teacher), round(total, 3)) for teacher, total in sums)
    expected = []
    for row in rows:
        if row.rejected is None:
            continue
        for text, teacher in row.alternatives[:3]:
            if text not in (row.chosen, row.rejected):
                with torch.no_grad():
                    log_probs, mask = token_log_probs(
                        fresh.model, [fresh.encoder.pair(row.question, text)], fresh.encoder.pad
                    )
                expected.append((round(teacher), round((log_probs * mask).sum().item(), 3)))
    assert found == sorted(expected)


def test_without_the_need_nothing_is_scored(tiny: Any):
    spy = Spy(rejected=True)
    report = study(tiny.learner(), with_more(tiny), spy, steps=1, micro_batch_size=8)
    assert spy.seen[0].alternatives is None
    more = study(tiny.learner(), with_more(tiny), Spy(rejected=True, alternatives=3), steps=1, micro_batch_size=8)
    assert more.tokens > report.tokens


@pytest.mark.usefixtures("plain_descent")
def test_micro_batches_change_nothing(tiny: Any):
    rows = with_more(tiny, (1.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0, 0.2))
    after, losses = {}, {}
    for size in (1, 3, None):
        learner, spy = tiny.learner(), Spy(rejected=True, alternatives=2, loss=spread)
        losses[size] = study(learner, rows, spy, micro_batch_size=size, optimisation=STEADY).last_loss
        after[size] = tiny.weights(learner)
    for size in (1, 3):
        assert losses[size] == pytest.approx(losses[None], abs=1e-5)
        for name, tensor in after[None].items():
            assert torch.allclose(after[size][name], tensor, rtol=0, atol=1e-6), (size, name)
    assert not same(after[None], tiny.weights(tiny.learner()))
