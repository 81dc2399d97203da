"""A client that teaches itself: what it is shown, what it studies, and who may not do so."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import ScriptedLearner, federation, make_party
from pydantic import ValidationError

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Sample, Verb
from lada.models.base import Study
from lada.models.options import ModelOptions
from lada.models.private import Privacy
from lada.planning.compose import _with_self_context
from lada.refusals import check_self_context
from lada.rounds.options import SelfContext
from lada.rounds.outline import studying_both
from lada.rounds.party import Party
from lada.rounds.self_context import private_study
from lada.rounds.steps import gold_lessons

QUESTIONS = (Sample("x", "2 + 2 ?", "4", "two and two"), Sample("y", "3 + 3 ?", "6", "three and three"))
GOLD = {"x": "two and two answer 4", "y": "three and three answer 6"}
OWN = {"x": "so 4", "y": "so 5"}


class Listening(ScriptedLearner):
    """Remembers whose texts it was to score, and at which k."""

    def log_probs(self, pairs: Any, k: int, **more: Any) -> Any:
        self.asked = (list(pairs), k)
        return super().log_probs(pairs, k, **more)


@pytest.fixture
def party(tmp_path: FilePath) -> Party:
    made = make_party("a", set(), tmp_path)
    made.private = QUESTIONS
    answers = {sample.question: OWN[sample.id] for sample in QUESTIONS}
    made.learner = Listening(answers)
    made.self_context = SelfContext(k=3, prompt="{question} as in {demonstration}")
    return made


def learner(of: Party) -> Any:
    return of.learner


def notices(of: Party) -> list[str]:
    return list(of.report.notices)


def test_without_it_gold_texts_are_studied(party: Party):
    party.self_context = None
    lessons, objective = private_study(party, 1, "private")
    assert {each.sample_id: each.chosen for each in lessons} == GOLD
    assert objective.plain


def test_own_answers_are_studied_as_they_would_be_with_the_gold_text_in_view(party: Party):
    lessons, objective = private_study(party, 1, "private")
    assert [(each.sample_id, each.question, each.chosen, each.own) for each in lessons] == [
        (sample.id, sample.question, OWN[sample.id], True) for sample in QUESTIONS
    ]
    pairs, k = learner(party).asked
    assert k == 3
    assert pairs == [(f"{sample.question} as in {GOLD[sample.id]}", OWN[sample.id]) for sample in QUESTIONS]
    for lesson, scores in zip(lessons, party.learner.log_probs(pairs, 3), strict=True):
        assert lesson.soft is not None
        assert scores is not None
        assert np.array_equal(lesson.soft.ids, scores.top.ids)
        assert np.array_equal(lesson.soft.log_probs, scores.top.log_probs)
    assert (objective.title, objective.options.label_weight, objective.options.beta) == ("on_policy", 0.0, 0.0)
    assert notices(party) == []
    assert [phase.phase for phase in party.report.phases] == ["private-answer", "private-score"]


def test_gold_texts_have_the_rest_of_the_weight(party: Party):
    party.self_context = SelfContext(weight=0.75, beta=1.0)
    lessons, objective = private_study(party, 1, "private")
    assert [(each.sample_id, each.own) for each in lessons] == [("x", True), ("y", True), ("x", False), ("y", False)]
    assert lessons[2:] == gold_lessons(party, party.private)
    assert (objective.options.label_weight, objective.options.beta, objective.options.estimator) == (0.25, 1.0, "jsd")


def test_answers_that_cannot_be_scored_are_left_out_and_counted(party: Party):
    learner(party).untraceable = frozenset({OWN["y"]})
    lessons, _ = private_study(party, 2, "private")
    assert [each.sample_id for each in lessons] == ["x"]
    assert notices(party) == [
        "round 2: 1 of 2 answers of a to private questions is left out, since it is empty or cannot be scored"
    ]
    learner(party).broken = frozenset({OWN["x"]})
    lessons, objective = private_study(party, 3, "private")
    assert {each.sample_id: each.chosen for each in lessons} == GOLD
    assert objective.plain
    assert notices(party)[-1].endswith("they are empty or cannot be scored; it studies the gold texts instead")


def test_an_empty_answer_teaches_nothing(party: Party):
    learner(party).answers[QUESTIONS[0].question] = ""
    lessons, _ = private_study(party, 1, "private")
    assert [each.sample_id for each in lessons] == ["y"]


def test_a_client_without_private_samples_has_no_answers(party: Party):
    party.private = ()
    assert private_study(party, 1, "private")[0] == []


def test_a_client_of_a_host_teaches_itself_in_each_of_its_private_studies(tmp_path: FilePath):
    made = federation(tmp_path, "standalone", {"llm": {0}, "a": {1}, "b": {2}})
    client = made.clients["a"]
    client.self_context = SelfContext(k=2)
    learner(client).answers |= {sample.question: "so it is" for sample in client.private}
    made.run(1)
    for study in made.studies("a"):
        assert {lesson.chosen for lesson in study.lessons} == {"so it is"}
        assert all(lesson.soft is not None for lesson in study.lessons)
    assert all(lesson.soft is None for study in made.studies("b") for lesson in study.lessons)
    sent = [message for message in made.exchange.sent if message.sender == "a"]
    assert all(message.payload.keys() <= {"metrics", "times"} for message in sent)  # nothing of it leaves


def test_a_prompt_shows_both_texts_and_reads_neither(party: Party):
    options = SelfContext(prompt="{question}|{demonstration}|{other}")
    assert options.shown("a {demonstration} b", "c {question} d") == "a {demonstration} b|c {question} d|{other}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompt": "{question}"}, "holds no '{demonstration}'"),
        ({"prompt": "{demonstration}"}, "holds no '{question}'"),
        ({"weight": 0.0}, "weight"),
        ({"k": 1}, "k"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        SelfContext(**options)


MODEL = ModelOptions(model="zoo:slm-llama")


@pytest.mark.parametrize(
    ("model", "study", "pooled", "said"),
    [
        (
            MODEL.model_copy(update={"verbs": (Verb.STUDY, Verb.ANSWER)}),
            Study(),
            False,
            "self_context: it needs a learner that can log_probs, but this one cannot",
        ),
        (MODEL, Study(dp=Privacy(noise_multiplier=1.0)), False, "private.dp protects single lessons"),
        (None, Study(), True, "the host studies private samples at the server"),
    ],
)
def test_who_cannot_teach_itself_is_refused(model: Any, study: Study, pooled: bool, said: str):
    with pytest.raises(InputError, match=said):
        check_self_context(model, study, pooled=pooled)


def config(**client: Any) -> Any:
    return make_config(
        {
            "host": "standalone",
            "plugin": "none",
            "server": {"model": {"model": "zoo:llm"}},
            "clients": [{"name": "a", "model": {"model": "zoo:slm-llama"}, **client}],
        }
    )


def test_a_configuration_names_the_client_that_cannot():
    assert config(self_context={"weight": 0.5}).clients[0].self_context == SelfContext(weight=0.5)
    assert "self_context" not in config().clients[0].model_dump()
    with pytest.raises(InputError, match=r"clients\.a.*self_context: it needs a learner that can log_probs"):
        config(self_context={}, model={"model": "zoo:slm-llama", "verbs": ["answer", "study"]})


def test_a_plan_has_its_answers_and_its_scores():
    steps: Any = studying_both()
    told = [(step.phase, step.verb, step.samples) for step in _with_self_context(steps)]
    assert told == [
        (f"{phase}{what}", verb, "private")
        for phase in ("private", "private-more")
        for what, verb in (("-answer", Verb.ANSWER), ("-score", Verb.LOG_PROBS), ("", Verb.STUDY))
    ]
