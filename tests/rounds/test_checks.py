"""What a message may say: every field that another party could lie in, one by one, by both halves."""

import json
import re
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, make, make_party, right

from lada.codecs import adapters, paths
from lada.codecs.metrics import REPORTED
from lada.codecs.ranges import RANGES
from lada.core.errors import CodecError, FederationError
from lada.core.limits import Limits
from lada.core.results import (
    AllocationRecord,
    Evaluation,
    Interval,
    Membership,
    PartyInfo,
    PartyReport,
    PhaseTime,
    StudyRecord,
)
from lada.core.terms import Knowledge, Likelihood, Path
from lada.hosts.base import HOSTS
from lada.models.base import StudyReport
from lada.objectives.base import OBJECTIVES
from lada.rounds.base import MessageSchema, Payload, Phase
from lada.rounds.checks import FINISH, Guard, check_kinds, check_parts
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT, VOCABULARY, receive_knowledge
from lada.rounds.party import NoJournal, Party
from lada.rounds.reports import METRICS, TIMES, collect, report_payload
from lada.rounds.steps import evaluate_party, gold_lessons, sft, study


@pytest.fixture
def llm(tmp_path: FilePath) -> Party:
    return make_party("llm", {0}, tmp_path)


@pytest.fixture
def report(tmp_path: FilePath) -> Payload:
    """A sound report of client a after round 1."""
    a = make_party("a", {0}, tmp_path)
    study(a, gold_lessons(a, a.private), sft(), a.studies.private, round=1, phase="private")
    evaluate_party(a, 1)
    return report_payload(a)


def guard(party: Party, **options: Any) -> Guard:
    return Guard(make(HOSTS, "fedmkt", **options), party)


def with_field(report: Payload, path: str, value: Any) -> Payload:
    """Return the report with another value at a dotted path."""
    data = json.loads(report[METRICS])
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node = data[0]
    for part in parents:
        node = node[part]
    node[last] = value
    return {**report, METRICS: json.dumps(data).encode()}


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("evaluations.0.party", "b", "party: another than the sender"),
        ("studies.0.party", "llm", "party: another than the sender"),
        ("phases.0.party", "b", "party: another than the sender"),
        ("evaluations.0.round", 2, "evaluations: round: another than the message's"),
        ("evaluations.0.round", -1, "evaluations: round: a number out of range"),
        ("evaluations.0.round", 0, "evaluations: round: another than the message's"),
        ("studies.0.steps", 10**12 + 1, "studies: steps: a number out of range"),
        ("studies.0.tokens", 10**30, "studies: tokens: a number out of range"),
        ("studies.0.lessons", -1, "studies: lessons: a number out of range"),
        ("studies.0.first_loss", 1.1e6, "studies: first_loss: a number out of range"),
        ("studies.0.epsilon", -0.1, "studies: epsilon: a number out of range"),
        ("studies.0.delta", "NaN", "studies: delta: a number out of range"),
        ("studies.0.phase", "other", "phase: not one of this host's"),
        ("phases.0.phase", "other", "phase: not one of this host's"),
        ("evaluations.0.overall.value", 100.5, "evaluations: value: a number out of range"),
        ("evaluations.0.overall.low", -1, "evaluations: low: a number out of range"),
        ("evaluations.0.overall.high", "NaN", "evaluations: high: a number out of range"),
        ("evaluations.0.overall.count", 5, "evaluations: more questions than there are"),
        ("evaluations.0.calibration_error", 1.1, "evaluations: calibration_error: a number out of range"),
        ("evaluations.0.agreement", 50, "evaluations: agreement: it is the server's to say"),
        ("evaluations.0.domains.shop.count", 2, "evaluations: more questions than there are"),
        ("evaluations.0.domains", {"<b>": None}, "PartyReport: not readable at 0.evaluations"),
        ("evaluations.0.domains.moon", {"value": 1, "low": 1, "high": 1, "count": 1}, "domains that the task does not"),
        ("evaluations.0.difficulty.9", {"value": 1, "low": 1, "high": 1, "count": 1}, "difficulties that the task"),
        ("evaluations.0.domains", {f"d{i}": None for i in range(3)}, "PartyReport: not readable"),
        ("notices", ["x"] * 101, "notices: more than limits.notices, 100"),
        ("notices", ["x" * 501], "notices: a text too long or not printable"),
        ("notices", ["a\u001b[31mred"], "notices: a text too long or not printable"),
        ("notices", ["two\nlines"], "notices: a text too long or not printable"),
        ("notices", [{}] * 3, "PartyReport: not readable at 0.notices"),
        ("missing", [{"party": "b", "round": 1, "phase": "p", "why": "w"}], "a client cannot say who is missing"),
        (
            "exchanges",
            [{"round": 1, "phase": "p", "waited": 1, "computing": 1, "exchange": 0, "clients": []}],
            "a client cannot say how long messages took",
        ),
        (
            "augmentations",
            [
                {"party": "a", "round": 1, "method": "pgkd", "calls": 1, "read": 1, "written": 1, "drafts": 1}
                | {"refused": {}, "kept": 1, "pool": 1, "diagnostics": {}}
            ],
            "augmentations: a client generates no samples",
        ),
        ("studies.0.phase", "x" * 501, "studies: a text too long or not printable"),
        ("<script>", 1, "PartyReport: not readable at 0"),
        ("phases.0.start", 1, None),
        ("studies.0.last_loss", "NaN", None),
        ("studies.0.last_loss", "Infinity", None),
        ("studies.0.last_loss", -1e6, None),
        ("studies.0.phase", "distil", None),
        ("notices", ["<script>alert(1)</script>"], None),
    ],
)
def test_a_report_is_about_its_sender_and_its_numbers_can_be(
    llm: Party, report: Payload, path: str, value: Any, told: str | None
):
    changed = with_field(report, path, value)
    if told is None:
        return guard(llm).check_reply("a", "learn", 1, changed)
    with pytest.raises((FederationError, CodecError), match=told) as caught:
        guard(llm).check_reply("a", "learn", 1, changed)
    assert "<" not in str(caught.value)
    return None


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (np.array([np.nan, 0.0, 0.0]), "start: a number that is not finite or out of range"),
        (np.array([np.inf, 0.0, 0.0]), "start"),
        (np.array([0.0, np.inf, 0.0]), "seconds"),
        (np.array([0.0, 0.0, np.inf]), "peak_memory"),
        (np.array([-86_400.5, 0.0, 0.0]), "start"),
        (np.array([0.0, 0.0, -0.5]), "peak_memory"),
        (np.array([0.0, 0.0, 2.0**47 + 1]), "peak_memory"),
        (np.array([86_411.5, 0.0, 0.0]), "start"),  # the run is 10 s old, and a day and a second are granted
        (np.array([0.0, 86_411.5, 0.0]), "seconds"),
        (np.array([0.0, 1e308, 0.0]), "seconds"),
        (np.zeros(2), "16 bytes for 1 phase;"),
    ],
)
def test_times_are_times(llm: Party, report: Payload, times: np.ndarray, told: str):
    assert len(json.loads(report[METRICS])[0]["phases"]) == 2
    llm.clock = lambda: 10.0
    one = with_field(report, "phases", json.loads(report[METRICS])[0]["phases"][:1])
    with pytest.raises((FederationError, CodecError), match=told):
        guard(llm).check_reply("a", "learn", 1, {**one, TIMES: times.astype("<f8").tobytes()})


def test_allocations_and_parties_are_the_senders_own(llm: Party, report: Payload):
    allocation = {
        "teacher": "llm", "student": "a", "round": 1, "candidates": 5, "chosen": 2, "from_teacher": 2,
        "right": None, "agreement": 0.0, "diagnostics": {"auc": "NaN"},
    }  # fmt: skip
    info = {
        "name": "a", "role": "client", "model": "m", "architecture": "x", "parameters": 1, "domains": [],
        "private_samples": 0, "weights": "f" * 64,
    }  # fmt: skip
    membership = {
        "party": "a", "round": 1, "attack": "loss", "auc": 0.5, "low": 0.4, "high": 0.6, "tpr": 0.0, "members": 2000,
        "others": 1,
    }  # fmt: skip
    learnt = with_field(report, "allocations", [allocation])
    guard(llm).check_reply("a", "learn", 1, learnt)
    nothing = {**with_field(report, "phases", []), TIMES: b""}
    for rows in ("evaluations", "studies"):
        nothing = with_field(nothing, rows, [])
    sound = with_field(with_field(nothing, "parties", [info]), "memberships", [membership])
    guard(llm).check_reply("a", FINISH, 1, sound)
    for path, value in (
        ("allocations.0.teacher", "b"),
        ("allocations.0.student", "b"),
        ("allocations.0.chosen", 6),
        ("allocations.0.right", 100.1),
        ("allocations.0.diagnostics", {"x" * 501: 1.0}),
        ("allocations.0.diagnostics", {f"x{i}": 1.0 for i in range(65)}),
        ("allocations.0.diagnostics", {"x": 1e13}),
        ("allocations.0.candidates", 6),
        ("allocations.0.round", 0),
        ("parties.0.name", "b"),
        ("parties.0.role", "server"),
        ("parties.0.weights", "<b>"),
        ("parties.0.parameters", 10**14 + 1),
        ("parties.0.domains", ["x"] * 1001),
        ("parties", [info, info]),
        ("memberships.0.party", "b"),
        ("memberships.0.round", 0),
        ("memberships.0.attack", "mind reading"),
        ("memberships.0.auc", 1.1),
        ("memberships.0.members", 2001),
        ("memberships", [membership] * 2),
    ):
        phase, told = ("learn", learnt) if path.startswith("allocations") else (FINISH, sound)
        with pytest.raises(FederationError, match=path.partition(".")[0]):
            guard(llm).check_reply("a", phase, 1, with_field(told, path, value))


def told(*texts: str, party: str = "a", round: int = 1, **more: Any) -> bytes:
    rows = tuple(
        Path(f"p{i}", party, text, more.get("answer"), True, Likelihood(-1.0, -1.0, 1, len(text.encode())))
        for i, text in enumerate(texts)
    )
    return paths.encode(Knowledge(party, round, rows))


def test_what_a_writer_says_of_its_own_path_is_not_believed(llm: Party):
    claims = told("so answer moon", right(1), "", answer="gold0")
    received = receive_knowledge(llm, {PATHS: claims}, "a", 1, "paths").knowledge.paths
    assert [(path.answer, path.right, path.likelihood.size) for path in received] == [
        ("moon", False, 14),
        ("gold1", True, 15),
        (None, False, 0),
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (told("x", party="b"), "paths: of another party or round than the message"),
        (told("x", round=2), "paths: of another party or round than the message"),
        (told("x" * 11), "paths: a text of more than limits.path_chars, 10 characters"),
        (told(*["x"] * 6), "6 rows; expected at most 5"),
    ],
)
def test_paths_are_the_senders_and_short(llm: Party, data: bytes, why: str):
    llm.limits = Limits(path_chars=10)
    with pytest.raises((FederationError, CodecError), match=why):
        check_parts(llm, "a", 1, {PATHS: data})


def test_answers_that_take_for_ever_to_compare_cost_no_more_than_their_time(llm: Party, monkeypatch):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("lada.rounds.verdicts.time.monotonic", lambda: next(now))
    llm.limits = Limits(check_seconds=25.0)
    check_parts(llm, "a", 1, {PATHS: told("x", "y")})
    with pytest.raises(FederationError, match=r"longer than limits.check_seconds, 25"):
        check_parts(llm, "a", 1, {PATHS: told("x", "y", "z")})


def test_a_phase_has_its_kinds_and_no_others(llm: Party, report: Payload):
    both = {PATHS: told("x"), **report}
    guard(llm).check_reply("a", "contribute", 1, both)
    for phase, payload, why in (
        ("contribute", report, "kinds: paths missing"),
        ("contribute", {**both, "adapter": b""}, "one does not belong to this phase; expected metrics, paths, times"),
        ("contribute", {**both, SOFT: b""}, "one does not belong to this phase"),
        ("learn", both, "one does not belong to this phase; expected metrics, times"),
        ("average", report, "phase: expected one of contribute, finish, learn"),
        ("evaluate", report, "phase: expected one of contribute, finish, learn"),
        ("../etc", report, "phase: expected one of"),
    ):
        with pytest.raises(FederationError, match=why):
            guard(llm).check_reply("a", phase, 1, payload)


def test_a_client_refuses_what_a_server_may_not_send(tmp_path: FilePath):
    a = make_party("a", {0}, tmp_path)
    asked = guard(a)
    asked.check_ask("llm", "learn", 1, {PATHS: told("x", party="llm")})
    asked.check_ask("llm", "contribute", 1, {})
    for phase, payload, why in (
        ("learn", {}, "kinds: paths missing"),
        ("learn", {PATHS: told("x", party="../../x")}, "of another party"),
        ("learn", {PATHS: told("x", party="llm"), METRICS: b"[]"}, "kinds: one does not belong to this phase"),
        ("contribute", {"run": b"rm"}, "kinds: one does not belong to this phase; expected none"),
    ):
        with pytest.raises(FederationError, match=why):
            asked.check_ask("llm", phase, 1, payload)


def test_adapters_are_bounded(llm: Party, report: Payload):
    averaging = guard(llm, average_adapters=True)
    data = adapters.encode({"w": np.zeros(100, np.float32)}, 1)
    averaging.check_reply("a", "learn", 1, {**report, "adapter": data})
    llm.limits = Limits(adapter_bytes=len(data) - 1)
    with pytest.raises(CodecError, match="bytes; expected at most"):
        averaging.check_reply("a", "learn", 1, {**report, "adapter": data})


def test_every_kind_of_every_host_has_a_check(tmp_path: FilePath):
    llm = make_party("llm", {0}, tmp_path, objective=make(OBJECTIVES, "soft_targets"))
    assert all(kind in llm.codecs for kind in (PATHS, LIKELIHOODS, SOFT, VOCABULARY, METRICS, TIMES))
    for method in HOSTS:
        for phase in method.make(method.options()).phases(1, llm).values():
            for kinds in (phase.asks, phase.replies):
                assert all(kind in llm.codecs for kind in kinds.required | kinds.optional)


def test_a_kind_that_nothing_checks_is_refused(llm: Party):
    class Careless:
        def phases(self, round: int, party: Party) -> dict[str, Phase]:
            return {"new": Phase(replies=MessageSchema(frozenset({"new"})))}

    careless: Any = Careless()
    with pytest.raises(FederationError, match="kinds: there is no check for new"):
        Guard(careless, llm).check_reply("a", "new", 1, {"new": b""})


def test_kinds_that_may_be_missing():
    kinds = MessageSchema(frozenset({"a"}), frozenset({"b"})) | MessageSchema(frozenset({"c"}))
    for sound in ("ac", "abc"):
        check_kinds(sound, kinds)
    for wrong in ("a", "ab", "abcd"):
        with pytest.raises(FederationError):
            check_kinds(wrong, kinds)


@pytest.mark.parametrize(("tokens", "size", "sound"), [(32, 1, True), (33, 1, False), (1, 2, False), (0, 1, True)])
def test_a_likelihood_is_of_its_text(llm: Party, tmp_path: FilePath, tokens: int, size: int, sound: bool):
    """One byte has at most 16 tokens for it and 16 more; the claims of an API may include hidden tokens."""
    for party, sender in ((llm, "a"), (make_party("a", {0}, tmp_path), "llm")):
        said = Likelihood(-1.0 if tokens else 0.0, -1.0 if tokens == 1 else 0.0, tokens, size)
        if tokens > 1:
            said = Likelihood(-1.0, -1.0, tokens, size)
        data = paths.encode(Knowledge(sender, 1, (Path("p0", sender, "x", None, None, said),)))
        if sound or (sender == "llm" and size == 1):
            check_parts(party, sender, 1, {PATHS: data})
        else:
            with pytest.raises(FederationError, match="likelihoods: "):
                check_parts(party, sender, 1, {PATHS: data})


def test_a_report_has_no_more_rows_than_its_phase_can_give(llm: Party, report: Payload):
    """A client of fedmkt has two studies, one evaluation and one allocation in a round, and 21 phases.

    These are twice its six steps, one look at 5 public samples and eight more.
    """
    rows = json.loads(report[METRICS])[0]
    phases = with_field(report, "phases", rows["phases"][:1] * 21)
    guard(llm).check_reply("a", "learn", 1, {**phases, TIMES: bytes(24 * 21)})
    for kind, more, why in (
        ("phases", rows["phases"][:1] * 9000, "phases: 9000 rows; a reply of this phase has at most "),
        ("evaluations", rows["evaluations"] * 2, "evaluations: the same twice"),
        ("studies", rows["studies"] * 2, "studies: the same twice"),
        ("studies", [{**rows["studies"][0], "phase": each} for each in ("private", "distil", "score")], "studies: 3"),
    ):
        flood = with_field(report, kind, more)
        flood = {**flood, TIMES: bytes(24 * len(more))} if kind == "phases" else flood
        with pytest.raises(FederationError, match=why):
            guard(llm).check_reply("a", "learn", 1, flood)
    with pytest.raises(FederationError, match="evaluations: 1 row; a reply of this phase has at most 0"):
        guard(llm).check_reply("a", FINISH, 1, report)


def test_what_was_told_before_is_left_out_and_counted(llm: Party, report: Payload):
    llm.clock = lambda: 10.0
    collect(llm, {"a": report})
    before = llm.report
    collect(llm, {"a": report})
    assert (llm.report.evaluations, llm.report.studies) == (before.evaluations, before.studies)
    assert llm.report.notices == ("a reported some rows twice: 1 of its evaluations, 1 of its studies are left out",)


def test_times_of_other_clocks_are_moved_into_the_run(llm: Party, report: Payload):
    llm.clock = lambda: 10.0
    times = np.array([[-5.0, 3.0, 0.0], [4000.0, -0.5, 2.0**47]], "<f8")
    guard(llm).check_reply("a", "learn", 1, {**report, TIMES: times.tobytes()})
    collect(llm, {"a": {**report, TIMES: times.tobytes()}})
    assert [(p.start, p.seconds, p.peak_memory) for p in llm.report.phases] == [(0, 3, 0), (11, 0, 2**47)]


def test_a_study_that_another_run_did_may_have_taken_longer(llm: Party, report: Payload, tmp_path: FilePath):
    times = np.array([[0.0, 1e6, 0.0], [0.0, 1.0, 0.0]], "<f8")
    with pytest.raises(CodecError, match="seconds"):
        guard(llm).check_reply("a", "learn", 1, {**report, TIMES: times.tobytes()})
    llm.common = NoJournal()
    guard(llm).check_reply("a", "learn", 1, {**report, TIMES: times.tobytes()})


def test_a_loss_out_of_range_is_told_as_infinite(llm: Party, tmp_path: FilePath):
    a = make_party("a", {0}, tmp_path)
    losses = {"first_loss": 1e30, "last_loss": -2e6}
    a.learner.study = lambda *_, **__: StudyReport(3, 4, 0, 0, 30, **losses)  # type: ignore[method-assign]
    study(a, gold_lessons(a, a.private), sft(), a.studies.private, round=1, phase="private")
    told = report_payload(a)
    guard(llm).check_reply("a", "learn", 1, told)
    collect(llm, {"a": told})
    assert (llm.report.studies[0].first_loss, llm.report.studies[0].last_loss) == (np.inf, -np.inf)


def test_every_number_of_a_report_has_a_range():
    for kind in (Evaluation, Interval, StudyRecord, AllocationRecord, PhaseTime, PartyInfo, Membership):
        numbers = {name for name, each in kind.model_fields.items() if re.search(r"int|float", str(each.annotation))}
        assert numbers - {"overall", "own", "other", "general", "domains", "difficulty"} == set(RANGES[kind])
    told = {name: str(PartyReport.model_fields[name].annotation) for name in REPORTED}
    assert all(any(kind.__name__ in annotation for kind in RANGES) for annotation in told.values())
    assert set(PartyReport.model_fields) == {*REPORTED, "augmentations", "exchanges", "missing", "notices"}


def test_the_first_word_on_private_samples_holds(llm: Party, report: Payload):
    averaging = guard(llm, average_adapters=True)

    def adapter(samples: int) -> Payload:
        return {**report, "adapter": adapters.encode({"w": np.zeros(2, np.float32)}, samples)}

    averaging.check_reply("a", "learn", 1, adapter(8))
    averaging.check_reply("b", "learn", 1, {**with_party(report, "b"), "adapter": adapter(999_999_999)["adapter"]})
    for samples in (7, 9, 999_999_999, 0):
        with pytest.raises(FederationError, match="samples: not the number that the client has, or that it claimed"):
            averaging.check_reply("a", "learn", 1, adapter(samples))
    averaging.check_reply("a", "learn", 1, adapter(8))
    llm.memory.clear()
    llm.samples_of = {"a": 4, "b": 4}.get
    with pytest.raises(FederationError, match="samples: not the number"):
        averaging.check_reply("a", "learn", 1, adapter(999_999_999))
    averaging.check_reply("a", "learn", 1, adapter(4))


def with_party(report: Payload, name: str) -> Payload:
    """Return the report as if it were another client's."""
    return {**report, METRICS: report[METRICS].replace(b'"party":"a"', f'"party":"{name}"'.encode())}


def test_an_honest_report_is_within_its_limits_whatever_happened(llm: Party, tmp_path: FilePath):
    a = make_party("a", {0}, tmp_path)
    a.note(notices=tuple(f"{i}\n{'x' * 1000}" for i in range(200)))
    guard(llm).check_reply("a", FINISH, 1, report_payload(a))
    assert len(PUBLIC) == 5
