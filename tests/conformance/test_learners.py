"""The contract of every learner that studies: a saved learner continues bit for bit."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from alike import same
from methods import Case, each
from pydantic import ValidationError

from lada.core.grids import write_grids
from lada.core.terms import Lesson, Verb
from lada.models.base import Study
from lada.objectives.base import OBJECTIVES

TEXTS = [Lesson(f"s{i}", f"a box holds {i} .", f"{i} plus 2 makes {i + 2} . answer {i + 2}") for i in range(4)]
OBJECTIVE = OBJECTIVES.make("sft", {})


def lessons(options: Any) -> list[Lesson]:
    """Return lessons that a learner can see: of texts, or of grids for one that answers with labels."""
    if options.labels_told is None:
        return TEXTS
    draw = np.random.default_rng(0)
    seen = [
        {name: draw.integers(17, size=shape) for name, shape in options.reads.items()} for _ in options.labels_told[:4]
    ]
    return [
        Lesson(f"s{i}", write_grids(grids), label)
        for i, (grids, label) in enumerate(zip(seen, options.labels_told, strict=False))
    ]


def pairs(options: Any) -> list[tuple[str, str]]:
    return [(lesson.question, lesson.chosen) for lesson in lessons(options)]


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
    study, taught = Study(steps=2, batch_size=4), lessons(options)
    for pupil in (learner, again):
        pupil.study(taught, OBJECTIVE, study, seed=1)
    same(told(learner, options), told(again, options))
    learner.save(tmp_path / "saved")
    reopened = opens.open(tmp_path, init_seed=2, saved=tmp_path / "saved")
    same(told(reopened, options), told(learner, options))
    reports = [pupil.study(taught[:2], OBJECTIVE, study, seed=2) for pupil in (learner, reopened)]
    assert reports[0] == reports[1]
    same(told(reopened, options), told(learner, options))


def told(learner: Any, options: Any) -> Any:
    """Return what a learner can say without being taught."""
    asked = pairs(options)
    questions = [question for question, _ in asked]
    found: dict[str, Any] = {"answers": learner.answer(questions, seed=3)}
    if Verb.JUDGE in learner.verbs:
        found["judged"] = learner.judge(asked)
    if Verb.EMBED in learner.verbs:
        found["vectors"] = learner.embed(questions)
    if Verb.READ in learner.verbs:
        found["read"] = learner.read(asked)
    return found


@each("learner")
def test_what_a_learner_reads_is_a_vector_for_each_path_whoever_shares_its_batch(case: Case, tmp_path: FilePath):
    opens, options = opener(case)
    if Verb.READ not in options.able:
        pytest.skip("it cannot read")
    learner = opens.open(tmp_path, init_seed=1, saved=None)
    asked = pairs(options)
    vectors = learner.read(asked)
    assert (vectors.dtype, vectors.ndim, len(vectors)) == (np.float32, 2, len(asked))
    assert learner.read([]).shape == (0, vectors.shape[1])
    assert np.stack([learner.read([pair])[0] for pair in asked]) == pytest.approx(vectors, abs=1e-4)
