"""Peer review in a round: what the server gathers, what it tells each client, and what is learnt from it."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import Federation, federation, make, make_party, right, task, wrong

from lada.allocators.base import ALLOCATORS, Candidates
from lada.codecs.base import Reading
from lada.codecs.reviews import FIELDS, KIND, Ballot, BallotCodec
from lada.codecs.table import pack, signed
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.registry import Options
from lada.core.terms import Knowledge, Likelihood, Path, Sample
from lada.hosts import fedmkt
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.rounds.knowledge import Offer
from lada.rounds.reviewing import of_offer
from lada.rounds.wire import reading

KNOWS = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
"""All differ on 0 and 4; on 1 the LLM and a agree, on 2 both clients; on 3 b alone is right, and all differ."""
NO_REPLAY = {
    f"{side}_replay": {"private": 0.0, "paths": 0.0, "general": 0.0, "least": 0} for side in ("client", "server")
}
PLAIN = {"reliability": False, "likelihood": False}
"""Votes alone count: that of two parties has 13.5² of 13.5² + 13.5 + 8 parts."""


def reviewing(folder: FilePath, objective: Any = "sft", rule: Any = None, **host: Any) -> Federation:
    allocator = ALLOCATORS.make("peer_review", PLAIN if rule is None else rule)
    return federation(folder, "fedmkt", KNOWS, {**NO_REPLAY, **host}, allocator=allocator, objective=objective)


def taught(both: Federation, name: str) -> dict[str, str]:
    """Return what a party studies of others' choice, by sample, in its last study."""
    return {id: chosen for id, (chosen, _) in both.studies(name)[-1].texts().items()}


def sent(both: Federation, name: str, round: int = 1) -> dict[str, bytes]:
    (message,) = (m for m in both.exchange.sent if (m.phase, m.receiver, m.round) == ("learn", name, round))
    return message.payload


def ballot(both: Federation, name: str, round: int = 1) -> Ballot:
    return reading(both.clients[name], sent(both, name, round), "llm", round).part(KIND)


@pytest.mark.parametrize("trust", ["auto", "off", "agreement"])
def test_the_llm_learns_what_clients_agree_on_and_a_client_what_others_agree_on(tmp_path: FilePath, trust: str):
    both = reviewing(tmp_path, share_votes=True, trust=trust)
    both.run(1)
    assert taught(both, "llm") == {"p2": right(2)}
    # The LLM knows 0 to 2 by then. What a and b wrote themselves is from before.
    assert taught(both, "a") == {"p1": right(1), "p2": right(2)}
    assert taught(both, "b") == {"p1": right(1), "p2": right(2)}
    assert not both.exchange.dropped


def test_without_votes_a_client_has_two(tmp_path: FilePath):
    both = reviewing(tmp_path)
    both.run(1)
    assert KIND not in sent(both, "b")
    assert taught(both, "a") == {"p1": right(1), "p2": right(2)}
    assert taught(both, "b") == {"p2": right(2)}  # the LLM and b differ on 1


def test_each_client_is_told_who_agrees_and_neither_answers_nor_names(tmp_path: FilePath):
    both = reviewing(tmp_path, share_votes=True)
    both.run(1)
    told = ballot(both, "b")
    assert told.ids == tuple(f"p{i}" for i in range(5))
    # The LLM as it answers now, b, and a.
    same = [[int(one == other) for one in row for other in row] for row in told.answers.tolist()]
    assert same == [
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
        [1, 0, 1, 0, 1, 0, 1, 0, 1],
        [1] * 9,
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
    ]
    # It is as sure of its own paths as the learner is, and judges others' at -2 nats.
    sizes = [len(right(1)), len(wrong(1, "b")), len(right(1))]
    assert told.log_probs[1].tolist() == pytest.approx([-1 / sizes[0], -2 / sizes[1], -1 / sizes[2]], rel=1e-3)
    assert told.log_probs[0].tolist() == pytest.approx(
        [-1 / 15, -2 / len(wrong(0, "b")), -2 / len(wrong(0, "a"))], 1e-3
    )
    assert b"gold" not in sent(both, "b")[KIND]
    assert ballot(both, "a").answers[1].tolist() == [0, 0, 1]  # the LLM, a, b


@pytest.mark.parametrize("trust", ["auto", "agreement", "off"])
def test_liars_who_agree_have_no_vote_once_their_record_is_against_them(tmp_path: FilePath, trust: str):
    public = tuple(Sample(f"p{i}", f"public {i}", None, domain="farm") for i in range(60))
    honest = {"llm": set(range(48)), **{name: set(range(k, 60, 3)) | set(range(30)) for k, name in enumerate("abc")}}
    options = {**NO_REPLAY, "share_votes": True, "trust": trust}
    rule = ALLOCATORS.make("peer_review", {"likelihood": False})
    liars: dict[str, set[int]] = {name: set() for name in "xyz"}
    both = federation(tmp_path, "fedmkt", honest | liars, options, allocator=rule, data=replace(task(), public=public))
    for name in liars:
        learner: Any = both.clients[name].learner
        learner.answers |= {sample.question: wrong(i, "x") for i, sample in enumerate(public)}
    both.run(1)
    voted = (ballot(both, "a").answers >= 0).all(0).tolist()
    lies, a = {wrong(i, "x") for i in range(60)}, set(taught(both, "a").values())
    if trust == "off":  # three of seven agree on everything, and outvote four who mostly do
        assert voted == [True] * 7
        assert set(taught(both, "llm").values()) == lies
    else:
        assert voted == [True] * 4 + [False] * 3
        assert both.studies("llm") == []
        assert a.isdisjoint(lies)
        assert {right(i) for i in range(48)} <= a


class Kept:
    """An allocator that keeps what it is given."""

    def __init__(self) -> None:
        self.needs, self.seen = ALLOCATORS.make("peer_review", {}).needs, []
        self._rule = ALLOCATORS.make("peer_review", PLAIN)

    def init(self, seed: int) -> Any:
        return {}

    def apply(self, state: Any, candidates: Candidates) -> Any:
        self.seen.append(candidates)
        return self._rule.apply(state, candidates)


@pytest.mark.parametrize("trust", ["auto", "off"])
def test_the_server_has_the_matrix_of_all_that_was_told(tmp_path: FilePath, trust: str):
    kept = Kept()
    objective = make(OBJECTIVES, "on_policy")
    both = federation(
        tmp_path,
        "fedmkt",
        KNOWS,
        {**NO_REPLAY, "trust": trust, "share_votes": True},
        allocator=kept,
        objective=objective,
    )
    both.run(1, 2)
    server = [each for each in kept.seen if each.student == "llm"]
    assert [(each.round, each.teacher) for each in server] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    first, later = server[0].reviews, server[2].reviews
    assert first is not None
    assert later is not None
    assert first.parties == ("a", "llm", "b")
    assert first.answers[1].tolist()[0] == first.answers[1].tolist()[1] != first.answers[1].tolist()[2]
    places = {"a": 0, "llm": 1, "b": 2}

    def known(reviews: Any) -> set[tuple[str, str]]:
        names = {place: name for name, place in places.items()}
        return {(names[j], names[w]) for (j, w), each in reviews.log_probs.items() if np.isfinite(each).all()}

    own = {("a", "a"), ("b", "b")} if trust == "off" else set()
    assert known(first) == {("llm", "llm"), ("llm", "a"), ("llm", "b")} | own
    # In round 2 clients have scored the paths that the LLM sent in round 1, at log .5 for a letter and for the end.
    assert known(later) == known(first) | {("a", "llm"), ("b", "llm")}
    size = len(right(0))
    assert later.log_probs[0, 1][0] == pytest.approx(np.log(0.5) * (size + 1) / size, rel=1e-3)
    (client,) = (each for each in kept.seen if each.student == "a" and each.round == 1)
    assert client.reviews is not None
    assert client.reviews.parties == ("llm", "a", "party 2")
    assert set(client.reviews.log_probs) == {(0, 0), (1, 0), (1, 1), (0, 1), (0, 2)}


@pytest.mark.parametrize("trust", ["auto", "gain"])
def test_a_client_whose_reply_cannot_be_used_has_no_vote(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, trust: str
):
    def judge(party: Any, round: int, teacher: Knowledge, own: Knowledge) -> Any:
        if teacher.party == "b" and party.name == "llm":
            raise CodecError("what b sent")
        return usual(party, round, teacher, own)

    usual = fedmkt.judge
    monkeypatch.setattr(fedmkt, "judge", judge)
    both = reviewing(tmp_path, share_votes=True, trust=trust)
    both.run(1)
    assert [(client, why) for _, _, client, why in both.exchange.dropped] == [("b", "what b sent")]
    assert ballot(both, "a").answers.shape == (5, 2)
    assert not any(m.receiver == "b" for m in both.exchange.sent if m.phase == "learn")


def offered(party: Any, told: Ballot | None, **more: Any) -> Offer:
    return Offer(Knowledge("llm", 1, ()), ballot=told, **more)


def pair(*answers: tuple[str | None, str | None]) -> Candidates:
    def path(row: int, writer: str, answer: str | None) -> Path:
        return Path(f"p{row}", writer, f"so {answer}", answer, None, Likelihood(-2.0, -1.0, 4, 10))

    party = make_party("a", set(), FilePath("unused"))
    return Candidates(
        round=1,
        teacher="llm",
        student="a",
        samples=party.task.public[: len(answers)],
        teacher_paths=tuple(path(i, "llm", each) for i, (each, _) in enumerate(answers)),
        student_paths=tuple(path(i, "a", each) for i, (_, each) in enumerate(answers)),
        student_on_teacher=(Likelihood(-3.0, -1.0, 4, 10),) * len(answers),
        agree=tuple(one is not None and one == other for one, other in answers),
        seed=1,
    )


def test_an_own_answer_that_was_never_sent_still_counts(tmp_path: FilePath):
    party, mine = make_party("a", set(), tmp_path), Knowledge("a", 1, ())
    numbers = np.array([[0, -1, 1], [0, -1, 1], [0, -1, 0], [0, 1, 1]])
    told = Ballot("llm", 1, ("p0", "p1", "p2", "p3"), numbers, np.full((4, 3), -0.5))
    table = pair(("1", "1"), ("1", "2"), ("1", None), ("1", "2"), ("1", "2"))
    found = of_offer(party, offered(party, told), mine)(table)
    assert found.answers.tolist() == [[0, 0, 1], [0, 2, 1], [0, -1, 0], [0, 1, 1], [0, 1, -1]]
    assert np.isnan(found.log_probs[0, 2]).tolist() == [False] * 4 + [True]
    alone = of_offer(party, offered(party, None), mine)(table)
    assert alone.parties == ("llm", "a")
    assert alone.answers.tolist() == [[0, 0], [0, 1], [0, -1], [0, 1], [0, 1]]
    assert np.isnan(alone.log_probs[0, 1]).all()


def written(answers: list[bytes], log_probs: list[bytes], parties: str = "3", round: int = 1) -> bytes:
    columns = {"id": [f"p{i}" for i in range(len(answers))], "answers": answers, "log_probs": log_probs}
    return pack(KIND, FIELDS, columns, {**signed("llm", round), "parties": parties})


def halves(*values: float) -> bytes:
    return np.array(values, "<f2").tobytes()


def numbers(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        written([numbers(0, 1)], [halves(-1, -1, -1)]),
        written([numbers(0, 1, 2, 0)], [halves(-1, -1, -1)]),
        written([numbers(0, 1, 2)], [halves(-1, -1)]),
        written([numbers(0, 1, 3)], [halves(-1, -1, -1)]),
        written([numbers(0, 1, 2)], [halves(-1, 0.5, -1)]),
        written([numbers(0, 1, 2)], [halves(-1, float("inf"), -1)]),
        written([numbers(0, 1, 2)], [halves(-1, float("-inf"), -1)]),
        written([numbers(0, 1, 2)], [halves(-1, -2e4, -1)]),
        written([numbers(0)], [halves(-1)], parties="1"),
        written([numbers(0, 1, 2)], [halves(-1, -1, -1)], parties="-3"),
        written([b""], [b""], parties="0"),
        written([numbers(0, 1, 2)] * 6, [halves(-1, -1, -1)] * 6),  # p5 is no question
    ],
)
def test_a_ballot_that_no_server_writes_is_refused(tmp_path: FilePath, data: bytes):
    with pytest.raises(CodecError, match="reviews: "):
        reading(make_party("a", set(), tmp_path), {KIND: data}, "llm", 1).part(KIND)


def test_unknown_log_probs_are_read_and_what_is_of_another_round_is_not(tmp_path: FilePath):
    data = written([numbers(0, 65535, 2)], [halves(-1, float("nan"), -0.5)], round=2)
    read: Reading = reading(make_party("a", set(), tmp_path), {KIND: data}, "llm", 1)
    found = read.part(KIND)
    assert found.answers.tolist() == [[0, -1, 2]]
    assert np.isnan(found.log_probs).tolist() == [[False, True, False]]
    with pytest.raises(FederationError, match="round"):
        BallotCodec(Options()).check(found, read)


@pytest.mark.parametrize(
    ("answers", "log_probs"),
    [
        (np.zeros((1, 1), np.int64), np.zeros((1, 1))),
        (np.full((1, 2), 2), np.zeros((1, 2))),
        (np.zeros((1, 2), np.int64), np.full((1, 2), 0.1)),
        (np.zeros((1, 2), np.int64), np.full((1, 2), -np.inf)),
        (np.zeros((2, 2), np.int64), np.zeros((2, 2))),
    ],
)
def test_nothing_is_written_that_would_be_refused(answers: np.ndarray, log_probs: np.ndarray):
    with pytest.raises(CodecError, match="reviews: "):
        BallotCodec(Options()).encode({}, Ballot("llm", 1, ("p0",), answers, log_probs))


@pytest.mark.parametrize(
    ("allocator", "options", "key"),
    [
        ("lada", {}, "allocator"),
        ("peer_review", {"directions": "llm_to_slm"}, "host.options.directions"),
        ("peer_review", {"directions": "slm_to_llm"}, "host.options.directions"),
    ],
)
def test_votes_that_nobody_reads_are_refused(allocator: str, options: dict[str, Any], key: str):
    method = HOSTS.get("fedmkt")
    host = method.make(method.options.model_validate({"share_votes": True, **options}))
    with pytest.raises(InputError, match=rf"share_votes: true has no effect with this {key}"):
        host.check(ALLOCATORS.make(allocator, {}), {})
