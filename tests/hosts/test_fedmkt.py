from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pyarrow.parquet as pq
import pytest
from actors import CANARY, DISTIL, PRIVATE, PUBLIC, REPLAY, Federation, federation, make, make_party, right, task, wrong
from pydantic import ValidationError

from lada.allocators.base import ALLOCATORS
from lada.codecs.paths import decode
from lada.core.errors import FederationError, InputError
from lada.core.results import AllocationRecord
from lada.core.terms import Knowledge, Sample
from lada.rounds.allocating import round_percent
from lada.rounds.distilling import _trusted
from lada.rounds.options import Replay
from lada.rounds.steps import write_paths

KNOWS = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
"""Which public questions each party answers rightly; nobody the last."""


REPLAYED = {
    "client_replay": {"private": 0.2, "paths": 0.0, "general": 0.1, "least": 0},
    "server_replay": {"private": 0.0, "paths": 0.5, "general": 0.15, "least": 0},
}


@pytest.fixture
def both(tmp_path: FilePath) -> Federation:
    return federation(tmp_path, "fedmkt", KNOWS, REPLAYED, sure={"a": {2: -3.0}, "b": {2: -2.0}})


def public_of(texts: dict[str, Any]) -> dict[str, Any]:
    return {id: text for id, text in texts.items() if id.startswith("p")}


def test_before_the_first_round_everybody_is_only_evaluated(both: Federation):
    both.run(0)
    assert [evaluation.party for evaluation in both.server.report.evaluations] == ["llm", "a", "b"]
    assert {message.phase for message in both.exchange.sent} == {"evaluate"}
    assert not any(both.studies(name) for name in KNOWS)


def test_the_llm_learns_from_its_clients(both: Federation):
    both.run(1)
    (study,) = both.studies("llm")
    assert (study.options, study.objective.needs.rejected) == (DISTIL, False)
    # Of question 2 both clients have a right path, equally long: b is surer. Question 0 only the LLM itself is right
    # on, so it is replayed: 3 lessons are the 0.35 of 8.57 that replay leaves; half of these, 4, are not to be had of
    # own right paths; 0.15 of it, 1, is of general questions.
    texts = study.texts()
    assert public_of(texts) == {f"p{i}": (right(i), None) for i in (0, 1, 2, 3)}
    assert [lesson.sample_id for lesson in study.lessons[3:4]] == ["p0"]
    assert len(study.lessons) == 5
    assert study.lessons[4].sample_id in {sample.id for sample in REPLAY}
    record = next(record for record in both.server.report.studies if record.party == "llm")
    assert (record.phase, record.round, record.lessons, record.replayed) == ("distil", 1, 5, 2)


def test_clients_learn_what_the_llm_has_just_learnt_from_the_others(both: Federation):
    both.run(1)
    private, distil = both.studies("a")
    assert private.options == PRIVATE
    assert set(private.texts()) == {f"a-{i}" for i in range(4)}
    # Question 3 is b's: it came by way of the LLM. 4 lessons are 0.7 of 5.71; 0.2 of that, 1, is private, 0.1, again 1,
    # is general.
    assert distil.options == DISTIL
    assert public_of(distil.texts()) == {f"p{i}": (right(i), None) for i in range(4)}
    assert [lesson.sample_id[0] for lesson in distil.lessons[4:]] == ["a", "r"]
    records = [record for record in both.server.report.studies if record.party == "a"]
    assert [(r.phase, r.steps, r.lessons, r.replayed) for r in records] == [("private", 3, 4, 0), ("distil", 5, 6, 2)]


def test_a_right_answer_with_a_wrong_step_is_not_sound(both: Federation):
    # Each path has two steps; of the LLM's for question 1 the second does not hold, though the answer is right.
    def steps(sample: Sample, text: str) -> list[tuple[str, bool]]:
        return [(text, True), (text, sample.id != "p1")]

    both.clients["a"].task = replace(both.clients["a"].task, steps=steps)
    both.run(1)
    records = {(record.teacher, record.student): record for record in both.server.report.allocations}
    assert (records["llm", "a"].chosen, records["llm", "a"].right, records["llm", "a"].sound) == (4, 100.0, 75.0)
    assert records["llm", "b"].sound is None  # its task cannot say


@pytest.mark.parametrize(("sure", "winner"), [(-3.5, "a"), (-2.0, "b"), (-3.0, "a")])
def test_of_several_offers_the_surest_is_learnt(tmp_path: FilePath, sure: float, winner: str):
    # b's path is longer by its own words, so that it can be told apart; what counts is nats per byte.
    both = federation(tmp_path, "fedmkt", KNOWS, sure={"a": {2: -3.0}})
    learner: Any = both.clients["b"].learner
    learner.answers["public 2"] = "OH answer gold2"
    learner.sure["public 2"] = sure
    assert len(right(2)) == len("OH answer gold2")
    both.run(1)
    text = both.studies("llm")[0].texts()["p2"][0]
    assert text == {"a": right(2), "b": "OH answer gold2"}[winner]


def test_with_a_contrasting_objective_the_wrong_path_is_rejected(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, objective="contrastive")
    both.run(1)
    assert public_of(both.studies("llm")[0].texts()) == {
        "p0": (right(0), None),  # replayed
        "p1": (right(1), None),  # both were right
        "p2": (right(2), wrong(2, "llm")),
        "p3": (right(3), wrong(3, "llm")),
    }
    assert public_of(both.studies("b")[1].texts()) == {
        "p0": (right(0), wrong(0, "b")),
        "p1": (right(1), wrong(1, "b")),
        "p2": (right(2), None),
        "p3": (right(3), None),
    }
    assert not both.studies("b")[0].objective.needs.rejected  # private data has nothing to be contrasted with
    assert next(r for r in both.server.report.studies if r.party == "b" and r.phase == "distil").pairs == 2


def test_what_is_recorded_of_an_allocation(both: Federation):
    both.run(1)
    records = {(record.teacher, record.student): record for record in both.server.report.allocations}
    assert set(records) == {("a", "llm"), ("b", "llm"), ("llm", "a"), ("llm", "b")}
    # Of a's paths the LLM takes 1 and 2; on 0 it is right itself. They agree on question 1 of 5.
    assert records["a", "llm"] == AllocationRecord(
        teacher="a",
        student="llm",
        round=1,
        candidates=5,
        chosen=3,
        from_teacher=2,
        right=100.0,
        agreement=20.0,
        diagnostics={},
    )
    # The LLM is right on 0 to 3 by now, a on 1 and 2.
    assert (records["llm", "a"].chosen, records["llm", "a"].from_teacher, records["llm", "a"].agreement) == (4, 4, 40.0)


def test_the_share_of_right_paths_among_the_chosen(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"directions": "llm_to_slm"}, allocator="all")
    both.run(1)
    assert {(r.teacher, r.student, r.chosen, r.right) for r in both.server.report.allocations} == {
        ("llm", "a", 5, 40.0),
        ("llm", "b", 5, 40.0),
    }
    assert (round_percent([True, False, False]), round_percent([])) == (33.3333, None)


def test_an_allocation_is_kept_row_by_row_with_its_student(both: Federation):
    both.run(1)
    rows = pq.read_table(both.server.folder / "allocations/a/1.parquet").to_pylist()
    assert [row["sample_id"] for row in rows] == [sample.id for sample in PUBLIC]
    assert [row["chosen"] for row in rows] == [True, True, True, False, False]
    assert [row["source"] for row in rows] == ["student", "teacher", "teacher", None, None]
    assert [row["teacher_right"] for row in rows] == [False, True, True, False, False]
    assert [row["student_right"] for row in rows] == [True, True, False, False, False]
    assert {row["domain"] for row in rows} == {"farm", "shop"}
    assert rows[1]["reason"] == "the teacher's answer is right"
    assert (both.clients["b"].folder / "allocations/llm/1.parquet").exists()


def test_the_student_judges_the_teachers_paths(both: Federation):
    both.run(1)
    learner: Any = both.server.learner
    b = [right(i) if i in KNOWS["b"] else wrong(i, "b") for i in range(5)]  # the last to be judged
    assert learner.judged == [(sample.question, text) for sample, text in zip(PUBLIC, b, strict=True)]


def test_allocators_compare_answers_as_the_task_does(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", {"llm": {0}, "a": {0}}, {"directions": "llm_to_slm"}, allocator="winner")
    learner: Any = both.clients["a"].learner
    learner.answers["public 0"] = "so answer GOLD0"
    both.run(1)
    rows = pq.read_table(both.clients["a"].folder / "allocations/llm/1.parquet").to_pylist()
    assert [row["chosen"] for row in rows] == [False, True, True, True, True]
    assert both.server.report.allocations[0].agreement == 20.0


def test_one_way_the_llm_teaches_and_learns_nothing(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"directions": "llm_to_slm"})
    both.run(0, 1)
    assert not both.studies("llm")
    assert {(r.teacher, r.student) for r in both.server.report.allocations} == {("llm", "a"), ("llm", "b")}
    # a is right on 1 and 2: of 2 it keeps its own path.
    assert public_of(both.studies("a")[1].texts()) == {f"p{i}": (right(i), None) for i in (0, 1, 2)}
    # Nobody needs the clients' paths, so they stay where they are.
    assert not any("paths" in message.payload for message in both.exchange.sent if message.receiver == "llm")
    assert [phase.phase for phase in both.server.report.phases if phase.party == "llm"] == [
        "evaluate",
        "answer",
    ]


def test_one_way_the_llm_learns_and_clients_study_their_own_data_for_both_budgets(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"directions": "slm_to_llm"})
    both.run(0, 1)
    assert {(r.teacher, r.student) for r in both.server.report.allocations} == {("a", "llm"), ("b", "llm")}
    assert public_of(both.studies("llm")[0].texts()).keys() == {"p0", "p1", "p2", "p3"}
    private, more = both.studies("a")
    assert (private.options, more.options) == (PRIVATE, DISTIL)
    assert private.texts() == more.texts()
    assert set(private.texts()) == {f"a-{i}" for i in range(4)}
    # Nobody needs the LLM's paths: they stay where they are, and are not written anew.
    assert not any("paths" in message.payload for message in both.exchange.sent if message.sender == "llm")
    phases = [phase.phase for phase in both.server.report.phases if phase.party == "llm"]
    assert phases == ["evaluate", "answer", "judge", "judge", "distil", "evaluate"]
    assert {(e.party, e.round) for e in both.server.report.evaluations} == {(p, r) for p in KNOWS for r in (0, 1)}


def test_adapters_are_not_averaged_where_clients_hear_nothing(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"directions": "slm_to_llm", "average_adapters": True})
    with pytest.raises(InputError, match=r"host\.options\.average_adapters: .* expected directions 'both'"):
        both.host.check(make(ALLOCATORS, "all"), {})


def of_one_mind(tmp_path: FilePath, options: dict[str, Any] | None = None) -> Federation:
    """Return parties with equal paths and equal log-probs: nobody's loss is below another's."""
    both = federation(tmp_path, "fedmkt", {name: {0} for name in KNOWS}, options, allocator="dual_min_ce")
    for party in (both.server, *both.clients.values()):
        learner: Any = party.learner
        learner.answers |= {sample.question: right(i) for i, sample in enumerate(PUBLIC)}
    return both


NOTHING_NEW = (
    "round 1: llm found nothing to learn from its clients",
    "round 1: a found nothing to learn from llm",
    "round 1: b found nothing to learn from llm",
)


def test_where_nothing_is_chosen_nobody_studies_and_a_notice_says_so(tmp_path: FilePath):
    both = of_one_mind(tmp_path)
    both.run(1)
    assert not both.studies("llm")
    assert [study.options for study in both.studies("a")] == [PRIVATE]
    assert both.server.report.notices == NOTHING_NEW
    assert sorted(e.party for e in both.server.report.evaluations) == ["a", "b", "llm"]


def test_where_nothing_is_chosen_replay_alone_may_fill_the_budget(tmp_path: FilePath):
    both = of_one_mind(tmp_path, {"server_replay": {"private": 0.0, "paths": 0.4, "general": 0.2, "alone": True}})
    both.run(1)
    (study,) = both.studies("llm")
    assert study.options == DISTIL
    assert [lesson.sample_id for lesson in study.lessons] == [sample.id for sample in (*PUBLIC, *REPLAY)]
    record = next(record for record in both.server.report.studies if record.party == "llm")
    assert record.lessons == record.replayed == len(PUBLIC) + len(REPLAY)
    assert [study.options for study in both.studies("a")] == [PRIVATE]
    assert both.server.report.notices == NOTHING_NEW


def test_a_budget_is_never_spent_on_a_handful_of_lessons(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, allocator=make(ALLOCATORS, "verified", budget=1))
    both.run(1)
    for name, own in (("llm", {"p0", "p1"}), ("a", {"p1", "p2"})):
        distilled = both.studies(name)[-1]
        # One path is chosen of each teacher; all there is to replay is less than what 32 lessons lack.
        teachers = 2 if name == "llm" else 1
        new, replayed = (
            {x.sample_id for x in part} for part in (distilled.lessons[:teachers], distilled.lessons[teachers:])
        )
        private = set() if name == "llm" else {f"a-{i}" for i in range(4)}
        assert replayed == (own - new) | private | {sample.id for sample in REPLAY}


def test_private_data_can_be_left_after_some_rounds(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {"private_rounds": 1})
    both.run(1, 2)
    assert [record.phase for record in both.server.report.studies if record.party == "a" and record.round == 2] == [
        "distil"
    ]
    assert {lesson.sample_id[0] for lesson in both.studies("a")[2].lessons} == {"p", "a", "r"}


def test_every_pair_and_direction_has_a_filter_of_its_own(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, allocator=make(ALLOCATORS, "lada_paper", hidden=4, epochs=2))
    both.run(1, 2, 3)
    assert set(both.server.states) == {"a>llm", "b>llm"}
    assert set(both.clients["a"].states) == {"llm>a"}
    states = [*both.server.states.values(), *both.clients["a"].states.values()]
    assert len({int(state["seed"]) for state in states}) == 3
    history = {(r.student, r.round): r.diagnostics["history"] for r in both.server.report.allocations}
    first = next(r for r in both.server.report.allocations if (r.student, r.round) == ("a", 1))
    assert (history["a", 1], history["a", 2], history["a", 3]) == (0, 0, first.chosen)


def test_nothing_private_crosses(both: Federation):
    both.run(0, 1, 2)
    assert any(CANARY in lesson.chosen for study in both.studies("a") for lesson in study.lessons)
    messages = [message for message in both.exchange.sent if message.payload]
    assert {kind for message in messages for kind in message.payload} == {"paths", "metrics", "times"}
    for message in messages:
        for kind, data in message.payload.items():
            assert CANARY.encode() not in data
            if kind == "paths":
                knowledge = decode(data, known_ids={sample.id for sample in PUBLIC})
                assert not any(CANARY in path.text for path in knowledge.paths)


def test_what_crosses_and_when(both: Federation):
    both.run(1)
    assert [(m.phase, m.sender, m.receiver, sorted(m.payload)) for m in both.exchange.sent] == [
        ("contribute", "llm", "a", []),
        ("contribute", "llm", "b", []),
        ("contribute", "a", "llm", ["metrics", "paths", "times"]),
        ("contribute", "b", "llm", ["metrics", "paths", "times"]),
        ("learn", "llm", "a", ["paths"]),
        ("learn", "llm", "b", ["paths"]),
        ("learn", "a", "llm", ["metrics", "times"]),
        ("learn", "b", "llm", ["metrics", "times"]),
    ]
    # What is left is how each answers the test questions now.
    assert all(key.startswith(party.knows("")) for party in both.clients.values() for key in party.memory)


def test_a_client_that_speaks_for_another_stops_the_round(both: Federation):
    impostor = both.clients["b"]
    impostor.name = "a"
    with pytest.raises(FederationError, match="paths: of another party or round than the message"):
        both.run(1)


def test_a_client_may_study_nothing_but_its_own_verified_paths(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", KNOWS, {**REPLAYED, "tries": 3}, allocator="self_verified")
    learner: Any = both.clients["a"].learner
    learner.others = {"public 3": [wrong(3, "a"), f"then {right(3)}"], "public 4": [wrong(4, "a")] * 2}
    both.run(0, 1)
    # a knows 1 and 2 at once, 3 at its third try and 4 never; the LLM, which knows 0 and 1, teaches it nothing.
    expected = {f"p{i}": (right(i), None) for i in KNOWS["a"]} | {"p3": (f"then {right(3)}", None)}
    assert public_of(both.studies("a")[1].texts()) == expected
    records = {(r.teacher, r.student): (r.chosen, r.from_teacher, r.right) for r in both.server.report.allocations}
    assert records["llm", "a"] == (3, 0, 100.0)


def test_own_paths_are_trusted_where_they_are_right_or_surer_than_most(tmp_path: FilePath):
    known = tuple(Sample(f"p{i}", f"public {i}", None if i < 4 else f"gold{i}") for i in range(6))
    party = make_party("llm", {4}, tmp_path, data=task(known), sure={0: -1, 1: -2, 2: -3, 3: -4, 4: -9, 5: -0.1})
    own = write_paths(party, known, 1, "answer")
    # Of log-probs 0.1, 1, 2, 3, 4, 9 the median is 2.5: 0 and 1 are surer. 4 is right, 5 is wrong.
    assert [lesson.sample_id for lesson in _trusted(party, own, set())] == ["p0", "p1", "p4"]
    assert [lesson.sample_id for lesson in _trusted(party, own, {"p1", "p4"})] == ["p0"]
    unfinished = Knowledge("llm", 1, tuple(replace(path, answer=None, right=None) for path in own.paths))
    assert _trusted(party, unfinished, set()) == []


@pytest.mark.parametrize("shares", [(-0.1, 0.2, 0.2), (0.4, 0.4, 0.2), (0.0, 1.0, 0.0), (0.2, 0.2, -0.1)])
def test_shares_that_leave_nothing_new_are_refused(shares: tuple[float, float, float]):
    with pytest.raises(ValidationError, match=r"sum below 1|or equal to 0|less than 1"):
        Replay(**dict(zip(("private", "paths", "general"), shares, strict=True)))


def test_a_client_replays_its_own_paths_too(tmp_path: FilePath):
    options = {"directions": "llm_to_slm", "client_replay": {"private": 0.0, "paths": 0.6, "general": 0.2, "least": 0}}
    both = federation(tmp_path, "fedmkt", KNOWS, options, allocator=make(ALLOCATORS, "verified", budget=1))
    both.run(1)
    (new, *replayed) = both.studies("b")[1].lessons
    # One new lesson is 0.2 of 5: 3 are to be b's right paths, 2 and 3, but for the question just taught; 1 is general.
    own = {"p2", "p3"} - {new.sample_id}
    assert [lesson.sample_id for lesson in replayed[:-1]] == sorted(own)
    assert all(lesson.chosen == right(int(lesson.sample_id[1])) for lesson in replayed[:-1])
    assert replayed[-1].sample_id.startswith("r")
