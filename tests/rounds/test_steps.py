from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import pytest
from actors import PRIVATE, TEST, ScriptedLearner, extract, make_party, right, task

from lada.codecs.paths import decode
from lada.core.errors import CodecError
from lada.core.results import PhaseTime, StudyRecord
from lada.core.seeds import seed_of
from lada.core.terms import Lesson, Sample
from lada.models.base import Progress, silent
from lada.rounds.knowledge import write_knowledge
from lada.rounds.party import Party
from lada.rounds.reports import collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study, write_paths

PEAK = 1_500_000_000


@pytest.fixture
def party(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> Party:
    monkeypatch.setattr("lada.rounds.party.peak_memory", lambda device: PEAK)
    return make_party("a", {0, 2}, tmp_path)


def learner(party: Party) -> ScriptedLearner:
    assert isinstance(party.learner, ScriptedLearner)
    return party.learner


@pytest.mark.parametrize(
    ("rationale", "text"),
    [
        ("2 + 3 = 5, so answer 5", "2 + 3 = 5, so answer 5"),
        ("2 + 3 = 5", "2 + 3 = 5 answer 5"),
        ("so answer 6", "so answer 6 answer 5"),
        ("", "answer 5"),
        (None, "answer 5"),
    ],
)
def test_a_gold_lesson_ends_in_the_gold_answer(party: Party, rationale: str | None, text: str):
    assert gold_lessons(party, [Sample("s", "q?", "5", rationale)]) == [Lesson("s", "q?", text)]


def test_the_tasks_comparison_decides_whether_a_rationale_ends_in_the_answer(party: Party):
    assert gold_lessons(party, [Sample("s", "q?", "YES", "so answer yes")]) == [Lesson("s", "q?", "so answer yes")]


def test_a_sample_without_an_answer_gives_no_lesson(party: Party):
    assert gold_lessons(party, [Sample("s", "q?", None, "so answer 5"), Sample("t", "r?", "0")]) == [
        Lesson("t", "r?", "answer 0")
    ]


def test_paths_are_verified_where_the_gold_answer_is_known(party: Party):
    learner(party).answers |= {"new 1": "so answer GOLD", "new 2": "hm", "new 3": "answer 7"}
    samples = [Sample("n1", "new 1", "gold"), Sample("n2", "new 2", "gold"), Sample("n3", "new 3")]
    knowledge = write_paths(party, samples, 4, "answer")
    assert (knowledge.party, knowledge.round) == ("a", 4)
    assert [(path.sample_id, path.writer, path.answer, path.right) for path in knowledge.paths] == [
        ("n1", "a", "GOLD", True),
        ("n2", "a", None, False),
        ("n3", "a", "7", None),
    ]
    assert knowledge.paths[0].likelihood.size == len("so answer GOLD")


def test_what_is_known_to_be_wrong_is_tried_again_and_the_likeliest_right_path_is_told(party: Party):
    script = learner(party)
    script.answers |= {"new 1": "answer 1", "new 2": "answer 9", "new 3": "answer 9", "new 4": "answer 9"}
    script.others |= {
        "new 2": ["a answer 2", "answer 8", "b answer 2"],
        "new 3": ["answer 7", "answer 8", "answer 9"],
        "new 4": ["answer 4"] * 3,
        "new 1": ["better answer 1"] * 3,
    }
    script.judgements |= {"a answer 2": -3.0, "b answer 2": -1.0, "answer 8": -0.1}
    samples = [Sample(f"n{i}", f"new {i}", None if i == 4 else str(i)) for i in (1, 2, 3, 4)]
    told = write_paths(party, samples, 4, "answer", tries=4)
    assert [(path.text, path.right) for path in told.paths] == [
        ("answer 1", True),  # right at once
        ("b answer 2", True),
        ("answer 9", False),  # the first stays where none is right
        ("answer 9", None),  # nobody knows that it is wrong
    ]
    assert [time.phase for time in party.report.phases] == ["answer", "answer-again"]
    assert write_paths(party, samples, 5, "answer").paths[1].text == "answer 9"


def test_a_study_is_recorded(party: Party):
    lessons = [Lesson("x", "x?", "y", "n"), Lesson("z", "z?", "y")]
    study(party, lessons, sft(), PRIVATE, round=2, phase="distil", replayed=1)
    (asked,) = learner(party).studies
    assert (asked.lessons, asked.options) == (lessons, PRIVATE)
    assert asked.seed == seed_of(3, 2, "distil", "a")
    report = party.take_report()
    assert report.studies == (
        StudyRecord(
            party="a",
            round=2,
            phase="distil",
            steps=3,
            lessons=2,
            pairs=1,
            replayed=1,
            tokens=30,
            first_loss=2.0,
            last_loss=1.0,
        ),
    )
    assert report.phases == (PhaseTime(party="a", round=2, phase="distil", start=0.0, seconds=0.0, peak_memory=PEAK),)
    assert party.take_report().studies == ()


def test_an_evaluation_tells_own_from_other_domains(party: Party):
    evaluate_party(party, 1)
    (evaluation,) = party.take_report().evaluations
    assert evaluation.own is not None
    assert evaluation.other is not None
    assert evaluation.general is not None
    # farm: t0 right, t3 not; shop: t1 right; sums, of skill alone: t2 not.
    assert (evaluation.own.value, evaluation.own.count) == (50.0, 2)
    assert (evaluation.other.value, evaluation.other.count) == (100.0, 1)
    assert (evaluation.general.value, evaluation.general.count) == (0.0, 1)
    assert evaluation.overall.value == pytest.approx(200 / 3, abs=1e-4)
    kept = decode((party.folder / "test-paths-1.arrow").read_bytes(), known_ids={sample.id for sample in TEST})
    assert [path.right for path in kept.paths] == [True, True, False, False]


def test_the_servers_own_domains_are_those_no_client_has(tmp_path: FilePath):
    server = make_party("llm", set(), tmp_path)
    evaluate_party(server, 0)
    (evaluation,) = server.take_report().evaluations
    assert evaluation.own is not None
    assert evaluation.other is not None
    assert (evaluation.own.value, evaluation.own.count) == (100.0, 1)  # shop
    assert (evaluation.other.value, evaluation.other.count) == (50.0, 2)  # farm


@pytest.mark.parametrize(
    ("name", "known", "new", "mixed", "other"),
    [
        # farm is the clients' own: t0 right, t3 not; shop, nobody's: t1 right; t2, of sums, not.
        ("a", {"farm", "shop"}, (100.0, 1), (0.0, 1), (100.0, 1)),
        ("llm", {"shop"}, (50.0, 2), (0.0, 1), (50.0, 2)),
        ("llm", {"farm", "shop"}, None, (0.0, 1), (50.0, 2)),
        ("a", set(), None, (0.0, 1), (100.0, 1)),
    ],
)
def test_an_evaluation_tells_what_is_new_where_the_task_says_what_the_llm_knows(
    tmp_path: FilePath, name: str, known: set[str], new, mixed, other
):
    data = replace(task(), general=frozenset(), mixed=frozenset({"sums"}), known=frozenset(known))
    party = make_party(name, set(), tmp_path, data=data)
    evaluate_party(party, 1)
    (found,) = party.take_report().evaluations
    told = [each and (each.value, each.count) for each in (found.new, found.mixed, found.other)]
    assert told == [new, mixed, other]
    assert found.overall.count == 4


def test_paths_that_are_taught_are_sampled_where_the_configuration_says_so(party: Party):
    asked: list[float] = []
    answer = party.learner.answer

    def noting(questions: Sequence[str], *, seed: int, temperature: float = 0.0, progress: Progress = silent):
        asked.append(temperature)
        return answer(questions, seed=seed, progress=progress)

    party.learner.answer = noting
    party.temperature = 0.7
    write_knowledge(party, 1, "answer", "paths")
    evaluate_party(party, 1)
    assert asked == [0.7, 0.0]  # test questions are answered greedily


def test_progress_is_live_and_phases_are_timed(party: Party):
    events, clock = [], iter([1.0, 1.25, 3.0004])
    party.emit, party.clock = events.append, lambda: next(clock)
    with party.phase(2, "answer") as progress:
        progress("answer", 3, 9, 40)
    where = {"party": "a", "round": 2, "phase": "answer"}
    assert events == [
        {"kind": "phase", **where},
        {"kind": "progress", **where, "verb": "answer", "done": 3, "total": 9, "tokens": 40, "seconds": 0.25},
    ]
    assert party.report.phases == (PhaseTime(**where, start=1.0, seconds=2.0, peak_memory=PEAK),)


def test_reports_are_gathered_client_by_client(tmp_path: FilePath):
    server, a, b = (make_party(name, set(), tmp_path) for name in ("llm", "a", "b"))
    server.note(notices=("mine",))
    a.note(notices=("from a",))
    b.note(notices=("from b", "again from b"))
    collect(server, {"b": report_payload(b), "a": report_payload(a)})
    assert server.report.notices == ("mine", "from a", "from b", "again from b")
    assert a.report.notices == ()


def test_times_and_memory_arrive_as_they_were_and_no_message_grows_with_them(party: Party, tmp_path: FilePath):
    server, sizes = make_party("llm", set(), tmp_path), set()
    server.clock = lambda: 20_000.0
    for seconds in (1.0, 12345.678):
        clock = iter([0.0, seconds])
        party.clock = lambda clock=clock: next(clock)
        with party.phase(1, "answer"):
            pass
        payload = report_payload(party)
        sizes.add(tuple(len(part) for part in payload.values()))
        collect(server, {"a": payload})
    assert [(phase.seconds, phase.peak_memory) for phase in server.report.phases] == [(1.0, PEAK), (12345.678, PEAK)]
    assert len(sizes) == 1


@pytest.mark.parametrize("numbers", [[0.0, 1.0], [0.0, 1.0, float("nan")], [0.0, 1.0, 2.0, 3.0]])
def test_times_that_do_not_fit_are_refused(party: Party, tmp_path: FilePath, numbers: list[float]):
    with party.phase(1, "answer"):
        pass
    payload = {**report_payload(party), "times": np.array(numbers, "<f8").tobytes()}
    with pytest.raises(CodecError, match="times"):
        collect(make_party("llm", set(), tmp_path), {"a": payload})


def test_the_server_announces_what_it_measured_and_what_it_heard(tmp_path: FilePath):
    server, client = make_party("llm", set(), tmp_path), make_party("a", set(), tmp_path)
    said, whispered = [], []
    server.clock = lambda: 10.0
    server.emit, client.emit = said.append, whispered.append
    client.note(
        notices=("mind the gap",),
        phases=(PhaseTime(party="a", round=1, phase="study", start=0.5, seconds=2.0, peak_memory=7),),
        studies=(
            StudyRecord(
                party="a",
                round=1,
                phase="study",
                steps=3,
                lessons=2,
                pairs=0,
                replayed=0,
                tokens=30,
                first_loss=2.0,
                last_loss=float("nan"),
            ),
        ),
    )
    assert whispered == []
    collect(server, {"a": report_payload(client)})
    by_kind = {event["kind"]: event for event in said}
    assert by_kind["notice"] == {"kind": "notice", "text": "mind the gap"}
    where = {"party": "a", "round": 1, "phase": "study"}
    assert by_kind["timing"] == {"kind": "timing", **where, "start": 0.5, "seconds": 2.0, "peak_memory": 7}
    assert (by_kind["study"]["first_loss"], by_kind["study"]["last_loss"]) == (2.0, "NaN")
    assert len(said) == 3


def test_the_script_reads_answers_as_the_tests_mean_it():
    assert (extract(right(2)), extract("no idea")) == ("gold2", None)
