"""A budget of tokens: as many steps as come nearest to it, counted as a study's report counts them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_study import Spy, contrast, lessons

from lada.core.errors import InputError
from lada.core.terms import Lesson, SparseLogProbs
from lada.models.base import Study, StudyReport
from lada.models.batches import WINDOW, shuffled_batches, steps_of, steps_within
from lada.models.learner import HuggingFaceLearner
from lada.models.private import Privacy


def trained(steps: int, counts: Sequence[int], size: int, seed: int) -> int:
    """Return the tokens of so many steps, one by one."""
    batches = shuffled_batches(counts, size, steps, np.random.default_rng(seed))
    return sum(counts[i] for batch in batches for i in batch)


def test_by_hand():
    # Every lesson has 10 tokens, a batch of 4 has 40.
    found = {tokens: steps_within(tokens, [10] * 6, 4, 0) for tokens in (1, 19, 40, 59, 60, 61, 80, 1000, 1021)}
    assert found == {1: 1, 19: 1, 40: 1, 59: 1, 60: 1, 61: 2, 80: 2, 1000: 25, 1021: 26}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 120), st.integers(0, 9))
def test_no_other_number_of_steps_is_nearer(counts: list[int], size: int, tokens: int, seed: int):
    found = steps_within(tokens, counts, size, seed)
    gaps = {steps: abs(trained(steps, counts, size, seed) - tokens) for steps in range(1, found + 2 * WINDOW)}
    assert gaps[found] == min(gaps.values())
    assert all(gaps[steps] > gaps[found] for steps in range(1, found))
    last = trained(found, counts, size, seed) - trained(found - 1, counts, size, seed)
    assert found == 1 or 2 * (trained(found, counts, size, seed) - tokens) <= last


def told(tiny: Any, tokens: int | None, objective: Any = None, rows: Any = None, **options: Any) -> StudyReport:
    learner: HuggingFaceLearner = tiny.learner()
    settings = Study(**{"tokens": tokens, "batch_size": 2, **options})
    return learner.study(rows or lessons(tiny), objective or Spy(), settings, seed=4)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 9])
def test_the_tokens_of_some_steps_give_these_steps_and_the_same_batches(tiny: Any, steps: int, paired: bool):
    def spy() -> Spy:
        return Spy(rejected=True, reference=True, loss=contrast) if paired else Spy()

    seen = [spy(), spy()]
    by_steps = told(tiny, None, seen[0], steps=steps)
    by_tokens = told(tiny, by_steps.tokens, seen[1], steps=400)
    assert by_tokens == by_steps
    assert by_tokens.steps == steps
    for a, b in zip(seen[0].seen, seen[1].seen, strict=True):
        assert a.log_probs.equal(b.log_probs)


def test_a_pair_has_two_texts(tiny: Any):
    rows = [Lesson("s", tiny.questions[0], tiny.paths[0], tiny.paths[1])]
    encode = tiny.learner().encoder.pair
    chosen, rejected = (len(encode(rows[0].question, text).completion) for text in tiny.paths[:2])
    objective = Spy(rejected=True)
    assert told(tiny, 6 * (chosen + rejected), objective, rows, batch_size=3).steps == 2
    alone = told(tiny, 6 * (chosen + rejected), None, rows, batch_size=3)
    assert alone.steps == round(2 * (chosen + rejected) / chosen)
    assert alone.tokens == 3 * chosen * alone.steps


def test_micro_batches_and_soft_targets_count_alike(tiny: Any):
    budget = told(tiny, None, steps=5).tokens - 1
    assert told(tiny, budget).steps == told(tiny, budget, micro_batch_size=1).steps == 5
    (row,) = [Lesson("s", tiny.questions[0], tiny.paths[0])]
    length = len(tiny.learner().encoder.pair(row.question, row.chosen).completion)
    ids, log_probs = np.tile(np.array([[1, 2]], np.int32), (length, 1)), np.full((length, 2), -1.0, np.float32)
    soft = Lesson("s", row.question, row.chosen, soft=SparseLogProbs(ids, log_probs))
    report = told(tiny, 10 * length, rows=[soft])
    assert (report.steps, report.tokens, report.soft) == (5, 10 * length, 1)


def test_the_learning_rate_falls_over_the_steps_that_were_found(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def watched(step: int, steps: int, options: Any) -> float:
        asked.append((step, steps))
        return 1e-3

    monkeypatch.setattr("lada.models.training.learning_rate_at", watched)
    steps = told(tiny, 200).steps
    assert asked == [(step, steps) for step in range(steps)]


def test_epochs_by_hand():
    # 6 lessons in batches of 4: once through them takes a step and a half.
    found = {epochs: steps_of(Study(epochs=epochs, batch_size=4), [10] * 6, 0) for epochs in (0.1, 0.5, 1, 2, 3.5)}
    assert found == {0.1: 1, 0.5: 1, 1: 2, 2: 3, 3.5: 6}
    assert steps_of(Study(steps=7, batch_size=4), [10] * 6, 0) == 7


def test_a_study_of_epochs_takes_longer_with_more_lessons(tiny: Any):
    rows = lessons(tiny)
    assert told(tiny, None, epochs=2.0).steps == len(rows)  # batches of two
    assert told(tiny, None, epochs=2.0, rows=rows * 3).steps == 3 * len(rows)


def test_what_cannot_be_a_budget_is_refused():
    with pytest.raises(ValidationError, match=r"tokens\s+Input should be greater than or equal to 1"):
        Study(tokens=0)
    with pytest.raises(ValidationError, match=r"epochs\s+Input should be greater than 0"):
        Study(epochs=0.0)
    with pytest.raises(ValidationError, match=r"tokens is 9 and epochs is 1\.0; expected only one of the two"):
        Study(tokens=9, epochs=1.0)
    dp = Privacy(noise_multiplier=1.0)
    with pytest.raises(ValidationError, match="tokens is 9 with dp"):
        Study(tokens=9, dp=dp)
    with pytest.raises(ValidationError, match=r"epochs is 9\.0 with dp"):
        Study(epochs=9.0, dp=dp)


def test_the_configuration_refuses_it_by_name():
    from lada.config import make_config

    client = {"name": "a", "model": {"model": "zoo:slm-llama"}}
    dp = {"tokens": 100, "dp": {"noise_multiplier": 1.0}}
    config = {"server": {"model": {"model": "zoo:llm-world-0"}}, "clients": [{**client, "private": dp}]}
    with pytest.raises(InputError, match=r"clients\.a\.private.*tokens is 100 with dp"):
        make_config(config)
