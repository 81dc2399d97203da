"""What a message may say: every field that another party could lie in, one by one, by both halves."""

import json
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import PUBLIC, make, make_party, right

from lada.codecs import adapters, paths
from lada.core.errors import CodecError, FederationError
from lada.core.limits import Limits
from lada.core.terms import Knowledge, Likelihood, Path
from lada.hosts.base import HOSTS, Kinds, Payload, Phase
from lada.hosts.checks import CHECKS, FINISH, Guard, check_kinds
from lada.hosts.knowledge import LIKELIHOODS, PATHS, SOFT, VOCABULARY, check_knowledge, hear
from lada.hosts.party import Party
from lada.hosts.reports import METRICS, TIMES, report_payload
from lada.hosts.steps import evaluate_party, gold_lessons, sft, study


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
        ("evaluations.0.round", 2, "round: it is not there yet"),
        ("evaluations.0.round", -1, "evaluations: a number out of range"),
        ("studies.0.steps", 2**53, "studies: a number out of range"),
        ("studies.0.tokens", 10**30, "studies: a number out of range"),
        ("evaluations.0.overall.value", 100.5, "evaluations: a percentage out of range"),
        ("evaluations.0.overall.low", -1, "evaluations: a percentage out of range"),
        ("evaluations.0.overall.high", "NaN", "evaluations: a percentage out of range"),
        ("evaluations.0.overall.count", 5, "evaluations: more questions than there are"),
        ("evaluations.0.calibration_error", 1.1, "evaluations: a percentage out of range"),
        ("evaluations.0.agreement", 101, "evaluations: a percentage out of range"),
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
        ("studies.0.phase", "x" * 501, "studies: a text too long or not printable"),
        ("<script>", 1, "PartyReport: not readable at 0"),
        ("phases.0.start", 1, None),
        ("studies.0.last_loss", "NaN", None),
        ("notices", ["<script>alert(1)</script>"], None),
    ],
)
def test_a_report_is_about_its_sender_and_its_numbers_can_be(
    llm: Party, report: Payload, path: str, value: Any, told: str | None
):
    changed = with_field(report, path, value)
    if told is None:
        return guard(llm).check_reply("a", "evaluate", 1, changed)
    with pytest.raises((FederationError, CodecError), match=told) as caught:
        guard(llm).check_reply("a", "evaluate", 1, changed)
    assert "<" not in str(caught.value)
    return None


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (np.array([0.0, np.nan, 0.0]), "not finite"),
        (np.array([np.inf, 0.0, 0.0]), "not finite"),
        (np.array([0.0, 0.0, np.inf]), "not finite"),
        (np.array([-0.1, 0.0, 0.0]), "negative"),
        (np.array([0.0, 0.0, -0.5]), "negative"),
        (np.array([0.0, 0.0, 1e300]), "phases: a number out of range"),
        (np.zeros(2), "16 bytes for 1 phases"),
    ],
)
def test_times_are_times(llm: Party, report: Payload, times: np.ndarray, told: str):
    assert len(json.loads(report[METRICS])[0]["phases"]) == 2
    one = with_field(report, "phases", json.loads(report[METRICS])[0]["phases"][:1])
    with pytest.raises((FederationError, CodecError), match=told):
        guard(llm).check_reply("a", "evaluate", 1, {**one, TIMES: times.astype("<f8").tobytes()})


def test_allocations_and_parties_are_the_senders_own(llm: Party, report: Payload):
    allocation = {
        "teacher": "llm", "student": "a", "round": 1, "candidates": 5, "chosen": 2, "from_teacher": 2,
        "right": None, "agreement": 0.0, "diagnostics": {"auc": "NaN"},
    }  # fmt: skip
    info = {
        "name": "a", "role": "client", "model": "m", "architecture": "x", "parameters": 1, "domains": [],
        "private_samples": 0, "weights": "f" * 64,
    }  # fmt: skip
    sound = with_field(with_field(report, "allocations", [allocation]), "parties", [info])
    guard(llm).check_reply("a", FINISH, 1, sound)
    for path, value in (
        ("allocations.0.teacher", "b"),
        ("allocations.0.student", "b"),
        ("allocations.0.chosen", 6),
        ("allocations.0.right", 100.1),
        ("allocations.0.diagnostics", {"x" * 501: 1.0}),
        ("parties.0.name", "b"),
        ("parties.0.role", "server"),
        ("parties.0.weights", "<b>"),
    ):
        with pytest.raises(FederationError, match=path.partition(".")[0]):
            guard(llm).check_reply("a", FINISH, 1, with_field(sound, path, value))


def told(*texts: str, party: str = "a", round: int = 1, **more: Any) -> bytes:
    likelihood = Likelihood(-1.0, -1.0, 1, 1)
    rows = tuple(Path(f"p{i}", party, text, more.get("answer"), True, likelihood) for i, text in enumerate(texts))
    return paths.encode(Knowledge(party, round, rows))


def test_what_a_writer_says_of_its_own_path_is_not_believed(llm: Party):
    claims = told("so answer moon", right(1), "", answer="gold0")
    heard = hear(llm, {PATHS: claims}, "a", 1, "paths").knowledge.paths
    assert [(path.answer, path.right, path.likelihood.size) for path in heard] == [
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
        check_knowledge(llm, "a", 1, {PATHS: data})


def test_answers_that_take_for_ever_to_compare_cost_no_more_than_their_time(llm: Party, monkeypatch):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("lada.hosts.knowledge.time.monotonic", lambda: next(now))
    llm.limits = Limits(check_seconds=25.0)
    check_knowledge(llm, "a", 1, {PATHS: told("x", "y")})
    with pytest.raises(FederationError, match=r"longer to check than limits.check_seconds, 25"):
        check_knowledge(llm, "a", 1, {PATHS: told("x", "y", "z")})


def test_a_phase_has_its_kinds_and_no_others(llm: Party, report: Payload):
    both = {PATHS: told("x"), **report}
    guard(llm).check_reply("a", "contribute", 1, both)
    for phase, payload, why in (
        ("contribute", report, "kinds: paths missing"),
        ("contribute", {**both, "adapter": b""}, "one that this phase does not have; expected metrics, paths, times"),
        ("contribute", {**both, SOFT: b""}, "one that this phase does not have"),
        ("evaluate", both, "one that this phase does not have; expected metrics, times"),
        ("average", report, "phase: expected one of contribute, evaluate, finish, learn"),
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
        ("learn", {PATHS: told("x", party="llm"), METRICS: b"[]"}, "kinds: one that this phase does not have"),
        ("contribute", {"run": b"rm"}, "kinds: one that this phase does not have; expected none"),
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


def test_every_kind_of_every_host_has_a_check(llm: Party):
    checked = frozenset[str]().union(*(kinds for kinds, _ in CHECKS))
    assert checked >= {PATHS, LIKELIHOODS, SOFT, VOCABULARY, METRICS, TIMES}
    for method in HOSTS:
        for phase in method.make(method.options()).phases(llm).values():
            for kinds in (phase.asks, phase.replies):
                assert kinds.must | kinds.may <= checked


def test_a_kind_that_nothing_checks_is_refused(llm: Party):
    class Careless:
        def phases(self, party: Party) -> dict[str, Phase]:
            return {"new": Phase(replies=Kinds(frozenset({"new"})))}

    careless: Any = Careless()
    with pytest.raises(FederationError, match="kinds: nothing checks new"):
        Guard(careless, llm).check_reply("a", "new", 1, {"new": b""})


def test_kinds_that_may_be_missing():
    kinds = Kinds(frozenset({"a"}), frozenset({"b"})) | Kinds(frozenset({"c"}))
    for sound in ("ac", "abc"):
        check_kinds(sound, kinds)
    for wrong in ("a", "ab", "abcd"):
        with pytest.raises(FederationError):
            check_kinds(wrong, kinds)


def test_an_honest_report_is_within_its_limits_whatever_happened(llm: Party, tmp_path: FilePath):
    a = make_party("a", {0}, tmp_path)
    a.note(notices=tuple(f"{i}\n{'x' * 1000}" for i in range(200)))
    guard(llm).check_reply("a", FINISH, 1, report_payload(a))
    assert len(PUBLIC) == 5
