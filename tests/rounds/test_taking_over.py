"""The LLM continues a client's path from where it goes wrong, and teaches that client the result."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, Federation, ScriptedLearner, federation, make, right, task
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_run import tiny

import lada
from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Knowledge, Likelihood, Path, SparseLogProbs, TokenScores, Verb
from lada.hosts.base import HOSTS
from lada.models.base import Answer, Progress, silent
from lada.objectives.base import OBJECTIVES
from lada.rounds.reviewing import BALLOT
from lada.rounds.taking_over import beginning, mistakes
from lada.rounds.wire import reading

KNOWS = {"llm": {0, 1, 2}, "a": {1, 3}, "b": set[int]()}
NO_REPLAY = {
    f"{side}_replay": {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0} for side in ("client", "server")
}
PHASES = ("find-mistakes", "take-over")
UNSURE_FROM = len("so ")
"""The byte from which the LLM finds every token of others unlikely."""


@dataclass
class Continuing(ScriptedLearner):
    """Finds all bytes after the first few unlikely, and knows how a path goes on."""

    rest: dict[str, str] = field(default_factory=dict)
    """By question, what it writes after the beginning of another; by default the right answer."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    temperatures: set[float] = field(default_factory=set)
    seeds: set[int] = field(default_factory=set)

    def log_probs(self, pairs: Any, k: int, *, progress: Progress = silent) -> list[TokenScores | None]:
        found = super().log_probs(pairs, k, progress=progress)
        for scores in found:
            if scores is not None:
                scores.top.log_probs[scores.offsets[:, 0] >= UNSURE_FROM] = np.log(0.01)
        return found

    def complete(
        self, begun: Sequence[tuple[str, str]], *, seed: int, temperature: float = 0.0, progress: Progress = silent
    ) -> list[Answer]:
        self.asked += begun
        self.temperatures.add(temperature)
        self.seeds.add(seed)
        golds = {sample.question: f"answer {sample.answer}" for sample in task().public}
        texts = [text + self.rest.get(question, f"I go on, {golds[question]}") for question, text in begun]
        return [Answer(text, Likelihood(-3.0, -1.0, 4, len(text.encode()))) for text in texts]


def taking_over(
    folder: FilePath, directions: str = "llm_to_slm", rest: Any = None, *, share_votes: bool = False, **more: Any
) -> Federation:
    options = {"directions": directions, "take_over": 0.1, "share_votes": share_votes, **NO_REPLAY}
    both = federation(folder, "fedmkt", KNOWS, options, **more)
    learner: Any = both.server.learner
    both.server.learner = Continuing(learner.answers, learner.sure, rest=rest or {})
    return both


def learnt(both: Federation, client: str) -> dict[str, str]:
    return {lesson.sample_id: lesson.chosen for lesson in both.studies(client)[-1].lessons}


def begun(both: Federation) -> list[tuple[str, str]]:
    assert isinstance(both.server.learner, Continuing)
    return both.server.learner.asked


def notices(both: Federation) -> list[str]:
    return [row["text"] if isinstance(row, dict) else str(row) for row in both.server.noted.rows["notices"]]


def test_each_client_is_taught_its_own_beginning_where_it_was_wrong(tmp_path: FilePath):
    both = taking_over(tmp_path, allocator="lada")
    both.run(1)
    # a is right on 1 and 3, and b on nothing. The LLM alone is wrong on 3 and 4, but not when it goes on.
    taken = {f"p{i}": f"so I go on, answer gold{i}" for i in range(5)}
    assert learnt(both, "a") == {**taken, "p1": right(1), "p3": right(3)}
    assert learnt(both, "b") == taken
    assert begun(both) == [(PUBLIC[i].question, "so ") for i in (0, 2, 4, 0, 1, 2, 3, 4)]


def test_paths_are_sampled_at_the_temperature_of_its_own_and_differently_for_each_client(tmp_path: FilePath):
    both = taking_over(tmp_path)
    both.server.temperature = 0.7
    both.run(1)
    assert isinstance(both.server.learner, Continuing)
    assert both.server.learner.temperatures == {0.7}
    assert len(both.server.learner.seeds) == 2


def test_what_misses_the_right_answer_leaves_the_llms_own_path(tmp_path: FilePath):
    rest = {PUBLIC[0].question: "answer nonsense", PUBLIC[2].question: "and so forth"}
    both = taking_over(tmp_path, rest=rest, allocator="lada")
    both.run(1)
    assert learnt(both, "b") == {
        "p0": right(0),
        "p1": "so I go on, answer gold1",
        "p2": right(2),
        "p3": "so I go on, answer gold3",
        "p4": "so I go on, answer gold4",
    }
    told = "round 1: llm takes over 5 paths of b; 3 have the wanted answer and replace its own"
    assert [text for text in notices(both) if "takes over" in text][1:] == [told]


def test_without_answers_the_llm_goes_by_its_own(tmp_path: FilePath):
    public = tuple(replace(sample, answer=None) for sample in PUBLIC)
    both = taking_over(tmp_path, data=replace(task(), public=public))
    both.run(1)
    # Nobody knows what is right. The LLM's own answers on 3 and 4 are wrong, and differ from what it goes on to say.
    assert {text for _, text in begun(both)} == {"so "}
    questions = [question for question, _ in begun(both)]
    assert questions == [PUBLIC[i].question for i in (0, 2, 3, 4, 0, 1, 2, 3, 4)]
    sent = {m.receiver: m.payload for m in both.exchange.sent if m.phase == "learn"}
    assert sent["a"] != sent["b"]
    told = [text for text in notices(both) if "takes over" in text]
    assert told == [
        "round 1: llm takes over 4 paths of a; 2 have the wanted answer and replace its own",
        "round 1: llm takes over 5 paths of b; 3 have the wanted answer and replace its own",
    ]


def test_both_ways_clients_send_their_paths_once(tmp_path: FilePath):
    both = taking_over(tmp_path, "both", allocator="lada")
    both.run(1)
    assert {text for _, text in begun(both)} == {"so "}
    assert "so I go on, answer gold4" in learnt(both, "b").values()
    contributed = [m for m in both.exchange.sent if m.phase == "contribute" and m.sender != "llm"]
    assert {tuple(sorted(m.payload)) for m in contributed} == {("metrics", "paths", "times")}


def test_a_ballot_counts_the_paths_that_its_client_is_sent(tmp_path: FilePath):
    both = taking_over(tmp_path, "both", share_votes=True, allocator=ALLOCATORS.make("peer_review", {}))
    both.run(1)
    sent = {m.receiver: m.payload for m in both.exchange.sent if m.phase == "learn"}
    told = {name: reading(both.clients[name], sent[name], "llm", 1).part(BALLOT) for name in ("a", "b")}
    # a alone is right on 3, so the LLM took over only b's path. To b, the LLM says what a says.
    llm, student, other = told["b"].answers[3].tolist()
    assert llm == other != student
    llm, student, other = told["a"].answers[3].tolist()
    assert len({llm, student, other}) == 3


def test_nothing_is_taken_over_by_default(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"directions": "llm_to_slm", **NO_REPLAY})
    both.run(1)
    assert all("paths" not in m.payload for m in both.exchange.sent if m.receiver == "llm")


def scores(text: str, probabilities: Sequence[float]) -> TokenScores:
    """Return scores of a token for each byte and one for the end."""
    count = len(text.encode()) + 1
    ids = np.arange(count, dtype=np.int32)
    offsets = np.stack([ids, ids + 1], axis=1)
    log_probs = np.log(np.array(probabilities, np.float32))[:, None]
    return TokenScores(ids, offsets, SparseLogProbs(ids[:, None], log_probs))


@pytest.mark.parametrize(
    ("text", "probabilities", "expected"),
    [
        ("abc", [0.9, 0.9, 0.05, 0.01], "ab"),
        ("abc", [0.05, 0.9, 0.9, 0.9], ""),
        ("abc", [0.9, 0.9, 0.9, 0.05], "abc"),  # it should have gone on
        ("abc", [0.9, 0.2, 0.9, 0.9], None),
        ("aé", [0.9, 0.9, 0.05, 0.9], "a"),  # between the two bytes of é
        ("", [0.05], ""),
    ],
)
def test_a_beginning_ends_before_the_first_unlikely_token(text: str, probabilities: list[float], expected: str | None):
    assert beginning(text, scores(text, probabilities), 0.1) == expected


@given(st.text(max_size=8), st.data(), st.floats(0.01, 0.99))
def test_a_beginning_is_one_of_the_text_and_no_token_in_it_is_unlikely(text: str, data: st.DataObject, below: float):
    count = len(text.encode()) + 1
    probabilities = data.draw(st.lists(st.floats(0.001, 1.0), min_size=count, max_size=count))
    found = beginning(text, scores(text, probabilities), below)
    likely = np.log(np.array(probabilities, np.float32)) >= np.log(below)
    assert (found is None) == bool(likely.all())
    if found is not None:
        assert text.startswith(found)
        assert likely[: len(found.encode())].all()


def paths(writer: str, *answers: tuple[str | None, bool | None], text: str = "t") -> Knowledge:
    found = tuple(
        Path(f"p{i}", writer, text, answer, known, Likelihood(-1.0, -1.0, 1, len(text)))
        for i, (answer, known) in enumerate(answers)
    )
    return Knowledge(writer, 1, found)


def test_a_mistake_is_wrong_or_differs_from_the_llm(tmp_path: FilePath):
    party = federation(tmp_path, "fedmkt", KNOWS).server
    mine = paths("llm", ("1", True), ("1", True), ("1", None), ("1", None), (None, None), ("1", None))
    theirs = paths("a", ("2", False), ("1", True), ("1", None), ("2", None), ("2", None), (None, None), ("9", False))
    assert [path.sample_id for path in mistakes(party, mine, theirs).paths] == ["p0", "p3", "p5"]
    assert mistakes(party, mine, paths("a", ("2", False), text="")).paths == ()


@pytest.mark.parametrize("options", [{"knowledge": "labels"}, {"directions": "slm_to_llm"}])
def test_clients_that_learn_from_no_path_are_refused(options: dict[str, Any]):
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({"take_over": 0.1, **options}))
    with pytest.raises(InputError, match=r"host\.options\.take_over: 0\.1 continues clients' paths"):
        host.check(make(ALLOCATORS, "all"), {})


def test_both_ways_scores_of_other_texts_are_refused():
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({"take_over": 0.1}))
    with pytest.raises(InputError, match="with take_over the LLM sends each client other texts"):
        host.round(1, make(OBJECTIVES, "on_policy"))


def test_the_plan_lists_who_reads_and_who_continues():
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({"take_over": 0.1, "directions": "llm_to_slm"}))
    steps = [
        (step.side, step.phase, step.verb) for step in host.plan(1, make(OBJECTIVES, "sft")) if step.phase in PHASES
    ]
    assert steps == [("server", "find-mistakes", "log_probs"), ("server", "take-over", "continue")]


@pytest.mark.parametrize("verb", ["continue", "log_probs"])
def test_an_llm_that_cannot_continue_is_refused(verb: str):
    config = tiny(host={"name": "fedmkt", "options": {"take_over": 0.1, "directions": "llm_to_slm"}})
    make_config(config)
    config["server"]["model"]["verbs"] = [str(each) for each in Verb if each != verb]
    told = f"host 'fedmkt' needs a learner that can {verb}, but that of 'llm' cannot .*; leave out its option take_over"
    with pytest.raises(InputError, match=told):
        make_config(config)


def test_an_llm_behind_an_api_is_refused_before_it_is_asked_anything():
    config = tiny(host={"name": "fedmkt", "options": {"take_over": 0.1, "directions": "llm_to_slm"}})
    api = {"model": "large", "base_url": "http://localhost:1/v1", "log_probs": True}
    api |= {"scores": "prompt_logprobs", "tokenizer": "x"}  # it has every verb that an API may have
    config["server"]["model"] = {"api": api}
    told = r"needs a learner that can continue, but that of 'llm' cannot \(model.api\); leave out its option take_over"
    with pytest.raises(InputError, match=told):
        make_config(config)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, "high"])
def test_a_threshold_is_a_probability(value: Any):
    with pytest.raises(ValidationError, match="take_over"):
        HOSTS.get("fedmkt").options.model_validate({"take_over": value})


@pytest.mark.parametrize("track", [pytest.param("answers", marks=pytest.mark.slow), "unlabelled"])
def test_a_run_with_real_models(tmp_path: FilePath, track: str):
    config = tiny(rounds=2, host={"name": "fedmkt", "options": {"take_over": 0.5, "directions": "llm_to_slm"}})
    config["task"] |= {"public": 8, "gold": "answers" if track == "answers" else "none"}
    for party in (config["server"], *config["clients"]):
        party["model"]["max_new_tokens"] = 48  # room for an answer
    results = lada.run(config, runs=tmp_path, progress=False)
    told = [text for text in results.notices if "takes over" in text]
    assert {client for client in ("warehouse", "clinic") if any(f"of {client}" in text for text in told)}
    phases = {(time.party, time.phase) for time in results.wall_clock.phases}
    assert {("llm", "find-mistakes"), ("llm", "take-over")} <= phases
