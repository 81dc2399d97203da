"""A teacher scores the paths of its students: who is told what, what is learnt from it, and what is counted."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import Federation, federation, make, right, wrong

from lada.codecs.judgements import SENT
from lada.core.errors import InputError
from lada.core.terms import Lesson, Likelihood, Path, SparseLogProbs, TokenLogProbs, TokenScores
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.rounds.judging import JUDGEMENTS, TO_JUDGE
from lada.rounds.knowledge import PATHS, SOFT, VOCABULARY, total_of
from lada.rounds.lessons import with_teacher_totals

KNOWS = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
NO_REPLAY = {
    f"{side}_replay": {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0} for side in ("client", "server")
}


def judged(folder: FilePath, objective: str = "on_policy", directions: str = "both", **options: Any) -> Federation:
    host = {"directions": directions, **NO_REPLAY}
    return federation(folder, "fedmkt", KNOWS, host, objective=make(OBJECTIVES, objective, **options))


def sent(both: Federation, phase: str, receiver: str, round: int) -> dict[str, dict[str, bytes]]:
    """Return the messages of a phase to a party, by sender."""
    messages = [m for m in both.exchange.sent if (m.phase, m.receiver, m.round) == (phase, receiver, round)]
    return {message.sender: message.payload for message in messages}


def own(lessons: list[Lesson]) -> dict[str, str]:
    return {lesson.sample_id: lesson.chosen for lesson in lessons if lesson.own}


def taught(lessons: list[Lesson]) -> dict[str, str]:
    return {lesson.sample_id: lesson.chosen for lesson in lessons if not lesson.own}


def test_a_client_learns_on_its_own_texts_where_it_follows_the_llm(tmp_path: FilePath):
    both = judged(tmp_path)
    both.run(1)
    lessons = both.studies("a")[1].lessons
    # The LLM has learnt 2 and 3 from the clients, so it is right on 0 to 3, and a on 1 and 2.
    assert taught(lessons) == {f"p{i}": right(i) for i in range(4)}
    assert own(lessons) == {"p0": wrong(0, "a"), "p1": right(1), "p2": right(2), "p3": wrong(3, "a")}
    assert lessons[-1].own
    assert not lessons[0].own


def test_a_chunk_is_a_token_where_both_cut_alike(tmp_path: FilePath):
    both = judged(tmp_path)
    both.run(1)
    for lesson in both.studies("a")[1].lessons:
        assert (lesson.chunks is not None) == lesson.own
        if lesson.chunks is not None:
            size = len(lesson.chosen.encode()) + 1  # a token for each byte and one for the end
            assert lesson.chunks.tokens.tolist() == [[i, i + 1] for i in range(size)]
            assert lesson.chunks.log_probs.tolist() == pytest.approx([np.log(0.5)] * size, abs=1e-3)


def test_a_chunks_log_prob_is_the_sum_over_the_teachers_tokens(tmp_path: FilePath):
    both = judged(tmp_path)
    learner: Any = both.clients["a"].learner
    learner.words = (*learner.words, b"answer", b"so ")
    both.run(1)
    (lesson,) = (each for each in both.studies("a")[1].lessons if each.own and each.sample_id == "p1")
    assert lesson.chosen == "so answer gold1"
    assert lesson.chunks is not None
    # For the student: "so ", "answer", " ", "gold1" letter by letter, the end; for the teacher, each byte is a token.
    sizes = [3, 6, *[1] * 7]
    assert lesson.chunks.tokens.tolist() == [[i, i + 1] for i in range(len(sizes))]
    assert lesson.chunks.log_probs.tolist() == pytest.approx([size * np.log(0.5) for size in sizes], rel=1e-3)


def test_only_the_writer_is_told_and_no_vocabulary_goes_along(tmp_path: FilePath):
    both = judged(tmp_path)
    both.clients["b"].objective = make(OBJECTIVES, "sft")
    asked = {name: party.objective.needs.signal for name, party in both.clients.items()}
    both.server.signals = asked
    both.run(1)
    learn = {name: sent(both, "learn", name, 1)["llm"] for name in ("a", "b")}
    assert learn["a"].keys() == {PATHS, JUDGEMENTS}
    assert learn["b"].keys() == {PATHS}
    assert not own(both.studies("b")[1].lessons)


def test_clients_judge_the_llms_paths_one_round_later(tmp_path: FilePath):
    both = judged(tmp_path)
    both.run(1)
    assert all(JUDGEMENTS not in payload for payload in sent(both, "contribute", "llm", 1).values())
    assert not own(both.studies("llm")[0].lessons)
    wrote = both.server.memory[SENT]
    assert TO_JUDGE in both.clients["a"].memory
    learner: Any = both.clients["a"].learner
    learner.answers["public 4"] = right(4)  # a has found out by now
    both.run(2)
    assert both.server.memory[SENT] != wrote
    assert all(JUDGEMENTS in payload for payload in sent(both, "contribute", "llm", 2).values())
    lessons = both.studies("llm")[1].lessons
    assert taught(lessons)["p4"] == right(4)
    assert own(lessons)["p4"] == wrong(4, "llm")  # the text that the LLM sent in round 1
    assert own(lessons).keys() == taught(lessons).keys()


def test_one_way_clients_send_paths_only_to_be_judged(tmp_path: FilePath):
    both = judged(tmp_path, directions="llm_to_slm")
    both.clients["b"].objective = make(OBJECTIVES, "sft")
    both.server.signals = {name: party.objective.needs.signal for name, party in both.clients.items()}
    both.run(1, 2)
    for round in (1, 2):
        told = sent(both, "contribute", "llm", round)
        assert {name: payload.keys() - {"metrics", "times"} for name, payload in told.items()} == {
            "a": {PATHS},
            "b": set(),
        }
    assert not both.studies("llm")
    assert own(both.studies("a")[1].lessons) == {"p0": wrong(0, "a"), "p1": right(1)}


@pytest.mark.parametrize("directions", ["both", "llm_to_slm"])
def test_scores_that_name_tokens_need_a_vocabulary_once(tmp_path: FilePath, directions: str):
    both = judged(tmp_path, directions=directions, estimator="jsd", k=3)
    both.run(1, 2)
    assert [VOCABULARY in sent(both, "learn", "a", round)["llm"] for round in (1, 2)] == [True, False]
    lessons = both.studies("a")[1].lessons
    soft = [each.soft for each in lessons if each.soft is not None]
    assert len(soft) == len(own(lessons)) > 0
    assert all(each.ids.shape[1] == 3 for each in soft)
    if directions == "both":
        assert VOCABULARY in sent(both, "contribute", "llm", 2)["a"]
        assert any(each.own and each.soft is not None for each in both.studies("llm")[1].lessons)


def test_both_sides_texts_are_scored_where_both_are_asked_for(tmp_path: FilePath):
    both = judged(tmp_path, "distillm2", k=3)
    both.run(1, 2)
    assert {SOFT, JUDGEMENTS} <= sent(both, "learn", "a", 2)["llm"].keys()
    assert {SOFT, JUDGEMENTS} <= sent(both, "contribute", "llm", 2)["a"].keys()
    assert VOCABULARY not in sent(both, "contribute", "llm", 2)["a"]  # it was sent in round 1
    lessons = both.studies("a")[1].lessons
    assert all(each.soft is not None for each in lessons)
    assert {each.own for each in lessons} == {True, False}


def test_without_a_weight_on_labels_the_own_texts_are_all_there_is(tmp_path: FilePath):
    both = judged(tmp_path, label_weight=0.0)
    both.run(1)
    assert not both.studies("llm")  # nobody has judged its texts so far
    assert not taught(both.studies("a")[1].lessons)
    assert own(both.studies("a")[1].lessons) == {"p0": wrong(0, "a"), "p1": right(1)}


def test_what_cannot_be_judged_or_traced_is_counted(tmp_path: FilePath):
    both = judged(tmp_path, directions="llm_to_slm")
    llm: Any = both.server.learner
    a: Any = both.clients["a"].learner
    llm.untraceable = frozenset({wrong(0, "a")})
    a.untraceable = frozenset({right(1)})
    both.run(1)
    assert not own(both.studies("a")[1].lessons)
    notices = [*both.server.report.notices, *both.clients["a"].report.notices]
    assert any("1 of 5 judgements of llm is left out" in notice for notice in notices)
    assert any("2 of 2 own texts on which a follows llm are left out" in notice for notice in notices)


def test_a_text_that_was_changed_is_learnt_as_sent_and_counted(tmp_path: FilePath):
    both = judged(tmp_path, directions="llm_to_slm")
    client: Any = both.clients["a"]
    client.policies = (("shout", Shout()),)
    both.run(1)
    assert own(both.studies("a")[1].lessons) == {"p0": wrong(0, "a").upper(), "p1": right(1).upper()}
    notices = [*both.server.report.notices, *client.report.notices]
    assert any("2 of 2 own texts on which a follows llm were changed" in notice for notice in notices)


class Shout:
    """A policy that writes texts in capitals."""

    texts, scores, losses = True, False, False

    def init(self, seed: int) -> dict[str, Any]:
        return {}

    def release(self, state: Any, knowledge: Any, owner: Any) -> Any:
        return state, replace(knowledge, paths=tuple(replace(path, text=path.text.upper()) for path in knowledge.paths))

    def report(self, report: Any, party: str, moment: Any) -> Any:
        return report


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"knowledge": "labels"}, r"host\.options\.knowledge: objective 'on_policy' .* expected 'paths'"),
        ({"directions": "slm_to_llm"}, r"host\.options\.directions: .* expected 'both' or 'llm_to_slm'"),
    ],
)
def test_rounds_in_which_no_teacher_sees_texts_are_refused(options: dict[str, Any], said: str):
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate(options))
    with pytest.raises(InputError, match=said):
        host.round(1, make(OBJECTIVES, "on_policy"))


@pytest.mark.parametrize("objective", ["on_policy", "distillm2"])
def test_one_way_the_plan_lists_the_paths_that_clients_send(objective: str):
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({"directions": "llm_to_slm"}))
    sent = [kind for step in host.plan(2, make(OBJECTIVES, objective)) if step.side == "client" for kind in step.sends]
    assert sent == [PATHS]


def test_the_plan_lists_who_scores_and_what_is_sent():
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({}))
    steps = [step for step in host.plan(2, make(OBJECTIVES, "on_policy")) if step.phase == "score-others"]
    assert [(step.side, step.verb, step.sends) for step in steps] == [
        ("client", "log_probs", (JUDGEMENTS,)),
        ("server", "log_probs", (JUDGEMENTS,)),
    ]
    first = [step for step in host.plan(1, make(OBJECTIVES, "on_policy")) if step.phase == "score-others"]
    assert [step.side for step in first] == ["server"]


def pairs(lessons: list[Lesson]) -> dict[str, tuple[str, str | None, float | None, float | None]]:
    return {
        each.sample_id: (each.chosen, each.rejected, each.teacher_chosen, each.teacher_rejected) for each in lessons
    }


def test_both_paths_of_a_pair_are_as_likely_as_the_teacher_finds_them(tmp_path: FilePath):
    both = judged(tmp_path, "path_alignment", directions="llm_to_slm", prefer="role")
    llm: Any = both.server.learner
    llm.sure = {"public 0": -7.5}
    both.run(1)
    lessons = both.studies("a")[1].lessons
    mine, half = wrong(0, "a"), np.log(0.5)
    (chosen, rejected, *likely) = pairs(lessons)["p0"]
    assert (chosen, rejected) == (right(0), mine)
    # Its own path is as likely as it said; of the client's, each byte and the end have half of the probability.
    assert likely == [-7.5, pytest.approx((len(mine) + 1) * half, rel=1e-3)]
    assert pairs(lessons)["p1"] == (right(1), None, None, None)  # both wrote the same
    assert not own(lessons)
    assert not any(lesson.chunks for lesson in lessons)


def test_a_text_that_the_teacher_read_only_in_part_has_no_likelihood(tmp_path: FilePath):
    both = judged(tmp_path, "path_alignment", directions="llm_to_slm", prefer="role")
    llm: Any = both.server.learner
    log_probs = llm.log_probs

    def short(pairs: Any, k: int, **more: Any) -> Any:
        found = log_probs(pairs, k, **more)
        return [first(each, 5 if "0" in question else 99) for each, (question, _) in zip(found, pairs, strict=True)]

    llm.log_probs = short
    both.run(1)
    told = pairs(both.studies("b")[1].lessons)
    assert told["p0"][2:] == (None, None)  # five of its tokens would look likelier than all of them
    assert told["p1"][3] == pytest.approx((len(wrong(1, "b")) + 1) * np.log(0.5), rel=1e-3)


def first(scores: TokenScores, n: int) -> TokenScores:
    top = SparseLogProbs(scores.top.ids[:n], scores.top.log_probs[:n])
    return TokenScores(scores.tokens[:n], scores.offsets[:n], top)


@pytest.mark.parametrize(("count", "expected"), [(3, -3.0), (2, -2.0), (1, None), (0, None)])
def test_a_total_is_that_of_a_whole_text(count: int, expected: float | None):
    offsets = np.array([[0, 2], [2, 4], [4, 5]], np.int32)  # the last is the end, which a label does not have
    scores = TokenLogProbs(offsets[:count], np.full(count, -1.0, np.float32))
    assert total_of(scores, "abcd") == expected


def test_the_right_path_may_be_the_students_own(tmp_path: FilePath):
    both = federation(
        tmp_path,
        "fedmkt",
        KNOWS,
        {"directions": "llm_to_slm", **NO_REPLAY},
        objective=make(OBJECTIVES, "path_alignment"),
        allocator="all",
    )
    both.run(1)
    (chosen, rejected, *likely) = pairs(both.studies("a")[1].lessons)["p2"]
    assert (chosen, rejected) == (right(2), wrong(2, "llm"))
    assert likely == [pytest.approx((len(right(2)) + 1) * np.log(0.5), rel=1e-3), -1.0]


def test_the_llm_aligns_with_its_clients_one_round_later(tmp_path: FilePath):
    both = judged(tmp_path, "path_alignment", prefer="role")
    both.run(1)
    assert {pair[2:] for pair in pairs(both.studies("llm")[0].lessons).values()} == {(None, None)}
    lacking = [notice for notice in both.server.report.notices if "likelihood" in notice]
    assert lacking == [f"round 1: 1 of 1 pair of llm lacks a likelihood of {name}" for name in "ab"]
    learner: Any = both.clients["a"].learner
    learner.answers["public 4"] = right(4)  # a has found out by now
    both.run(2)
    (chosen, rejected, *likely) = pairs(both.studies("llm")[1].lessons)["p4"]
    assert (chosen, rejected) == (right(4), wrong(4, "llm"))  # the latter as the LLM sent it in round 1
    assert likely == [-1.0, pytest.approx((len(wrong(4, "llm")) + 1) * np.log(0.5), rel=1e-3)]


def test_a_cut_path_or_a_silent_teacher_leaves_a_pair_without_likelihoods():
    lesson = Lesson("s", "?", "t", "u")
    theirs, mine = path("t", -3.0), path("u", -9.0)
    told = with_teacher_totals([lesson], {"s": theirs}, {"s": mine}, {"s": -4.0})
    assert told == [replace(lesson, teacher_chosen=-3.0, teacher_rejected=-4.0)]
    turned = replace(lesson, chosen="u", rejected="t")
    assert with_teacher_totals([turned], {"s": theirs}, {"s": mine}, {"s": -4.0}) == [
        replace(turned, teacher_chosen=-4.0, teacher_rejected=-3.0)
    ]
    unsaid = replace(theirs, likelihood=Likelihood.unknown(1))
    for teacher, student, judged in (
        ({}, {"s": mine}, {"s": -4.0}),
        ({"s": theirs}, {}, {"s": -4.0}),
        ({"s": theirs}, {"s": mine}, {}),
        ({"s": unsaid}, {"s": mine}, {"s": -4.0}),
        ({"s": replace(theirs, cut=True)}, {"s": mine}, {"s": -4.0}),
        ({"s": theirs}, {"s": replace(mine, cut=True)}, {"s": -4.0}),
        ({"s": theirs}, {"s": replace(mine, text="as it was changed")}, {"s": -4.0}),
    ):
        assert with_teacher_totals([lesson], teacher, student, judged) == [lesson]


def path(text: str, total: float) -> Path:
    return Path("s", "somebody", text, None, None, Likelihood(total, total, 2, 1))
