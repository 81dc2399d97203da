"""What holds of every learner that studies: what it saved goes on to the same bits."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from alike import same
from methods import Case, each
from pydantic import ValidationError

from lada.core.terms import Lesson, Verb
from lada.models.base import Study
from lada.objectives.base import OBJECTIVES

LESSONS = [Lesson(f"s{i}", f"a box holds {i} .", f"{i} plus 2 makes {i + 2} . answer {i + 2}") for i in range(4)]
OBJECTIVE = OBJECTIVES.make("sft", {})
PAIRS = [(lesson.question, lesson.chosen) for lesson in LESSONS]


def opener(case: Case) -> tuple[Any, Any]:
    """Return what opens a learner and its options: their defaults, or those with a small model of this project."""
    for options in ({}, {"model": "zoo:slm-llama-small", "device": "cpu", "max_new_tokens": 4}):
        try:
            read = case.method.read(options)
        except ValidationError:
            continue
        return case.method.make(read), read
    return pytest.skip("its options say where it is, which only a user knows")


@each("learner")
def test_what_a_learner_saved_goes_on_to_the_same_bits(case: Case, tmp_path: FilePath):
    opens, options = opener(case)
    opens.check()
    learner = opens.open(tmp_path, init_seed=1, saved=None)
    assert learner.verbs == options.able
    again = opens.open(tmp_path, init_seed=1, saved=None)
    study = Study(steps=2, batch_size=4)
    for pupil in (learner, again):
        pupil.study(LESSONS, OBJECTIVE, study, seed=1)
    same(told(learner), told(again))
    learner.save(tmp_path / "saved")
    reopened = opens.open(tmp_path, init_seed=2, saved=tmp_path / "saved")
    same(told(reopened), told(learner))
    reports = [pupil.study(LESSONS[:2], OBJECTIVE, study, seed=2) for pupil in (learner, reopened)]
    assert reports[0] == reports[1]
    same(told(reopened), told(learner))


def told(learner: Any) -> Any:
    """Return what a learner can say without being taught."""
    found: dict[str, Any] = {"answers": learner.answer([question for question, _ in PAIRS], seed=3)}
    if Verb.JUDGE in learner.verbs:
        found["judged"] = learner.judge(PAIRS)
    if Verb.EMBED in learner.verbs:
        found["vectors"] = learner.embed([question for question, _ in PAIRS])
    if Verb.READ in learner.verbs:
        found["read"] = learner.read(PAIRS)
    return found


@each("learner")
def test_what_a_learner_reads_is_a_vector_for_each_path_whoever_shares_its_batch(case: Case, tmp_path: FilePath):
    opens, options = opener(case)
    if Verb.READ not in options.able:
        pytest.skip("it cannot read")
    learner = opens.open(tmp_path, init_seed=1, saved=None)
    vectors = learner.read(PAIRS)
    assert (vectors.dtype, vectors.ndim, len(vectors)) == (np.float32, 2, len(PAIRS))
    assert learner.read([]).shape == (0, vectors.shape[1])
    assert np.stack([learner.read([pair])[0] for pair in PAIRS]) == pytest.approx(vectors, abs=1e-4)
