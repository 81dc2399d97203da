"""FedMD: the members' scores of gold texts are averaged in the LLM's tokens; who learns the average, and when."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import BYTES, CANARY, DISTIL, Federation, federation, make
from pydantic import ValidationError

from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.terms import TokenScores
from lada.hosts.base import HOSTS
from lada.hosts.options.fedmd import FedmdOptions
from lada.models.base import Study
from lada.objectives.base import OBJECTIVES
from lada.rounds.checks import Guard
from lada.rounds.soft import check_wants_soft_targets
from lada.rounds.steps import part_of

KNOWS: dict[str, set[int]] = {"llm": set(), "a": set(), "b": set()}
NONE = {"private": 0.0, "paths": 0.0, "general": 0.0}
BARE = {"client_replay": NONE, "server_replay": NONE}
GOLD = {f"p{i}": f"answer gold{i}" for i in range(5)}


def federated(folder: FilePath, **more: Any) -> Federation:
    options = {**BARE, **more.pop("options", {})}
    objective = make(OBJECTIVES, "soft_targets", k=3, form="forward_kl", label_weight=0.0)
    return federation(folder, "fedmd", KNOWS, options, **{"allocator": "all", "objective": objective, **more})


def says(both: Federation, party: str, own: float) -> None:
    """Let a party give each own token this probability, and the rest in equal parts to the two tokens behind it."""
    learner: Any = (both.server if party == "llm" else both.clients[party]).learner

    def log_probs(pairs: list[tuple[str, str]], k: int, **_: Any) -> list[TokenScores | None]:
        scores: list[TokenScores | None] = type(learner).log_probs(learner, pairs, k)
        for each in scores:
            if each is not None:
                mine = each.top.ids == each.tokens[:, None]
                each.top.log_probs[:] = np.log(np.where(mine, own, (0.9 - own) / (k - 1)))
        return scores

    learner.log_probs = log_probs


def own_probabilities(study: Any) -> dict[str, float]:
    """Return by sample what the soft targets of a study give to the first own token."""
    found = {}
    for lesson in study.lessons:
        mine = lesson.soft.ids[0] == lesson.chosen.encode()[0]
        found[lesson.sample_id] = float(np.exp(lesson.soft.log_probs[0][mine][0]))
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"average": "probabilities"}, (0.1 + 0.3 + 0.8) / 3),
        ({"average": "probabilities", "llm_member": False}, (0.3 + 0.8) / 2),
    ],
)
def test_the_consensus_is_the_mean(tmp_path: FilePath, options: dict[str, Any], expected: float):
    both = federated(tmp_path, options=options)
    for party, own in (("llm", 0.1), ("a", 0.3), ("b", 0.8)):
        says(both, party, own)
    both.run(1)
    for name in ("a", "b"):
        _, digest, _ = both.studies(name)
        assert digest.options == DISTIL
        # On the wire a log-prob is exact to 1/32 nat, twice: from a client and back.
        assert own_probabilities(digest) == pytest.approx(dict.fromkeys(GOLD, expected), rel=0.07)
    studies = both.studies("llm")
    assert len(studies) == (1 if options.get("llm_member", True) else 0)
    for study in studies:
        assert own_probabilities(study) == pytest.approx(dict.fromkeys(GOLD, expected), rel=0.035)


def test_a_cold_consensus_is_the_likeliest_token(tmp_path: FilePath):
    both = federated(tmp_path, options={"average": "probabilities", "temperature": 0.01})
    both.run(1)
    assert own_probabilities(both.studies("a")[1]) == pytest.approx(dict.fromkeys(GOLD, 1.0))


def test_who_does_what_in_a_round(tmp_path: FilePath):
    both = federated(tmp_path)
    both.run(0, 1)
    private, digest, revisit = both.studies("a")
    assert (private.options.steps, revisit.options.steps) == (2, 1)  # of 3 steps
    assert set(private.texts()) == set(revisit.texts()) == {f"a-{i}" for i in range(4)}
    assert {id: text for id, (text, _) in digest.texts().items()} == GOLD
    assert {(r.teacher, r.student) for r in both.server.report.allocations} == {
        ("consensus", "llm"),
        ("llm", "a"),
        ("llm", "b"),
    }
    assert [record.phase for record in both.server.report.studies if record.party == "a"] == [
        "private",
        "distil",
        "revisit",
    ]
    crossed = [(m.phase, m.sender, sorted(m.payload)) for m in both.exchange.sent if "a" in (m.sender, m.receiver)][2:]
    assert crossed == [
        ("contribute", "llm", []),
        ("contribute", "a", ["likelihoods", "metrics", "soft_targets", "times", "vocabulary"]),
        ("digest", "llm", ["likelihoods", "soft_targets", "vocabulary"]),
        ("digest", "a", ["metrics", "times"]),
    ]
    assert not any(CANARY.encode() in data for message in both.exchange.sent for data in message.payload.values())


def test_members_with_other_tokens_are_brought_into_the_llms(tmp_path: FilePath):
    both = federated(tmp_path, options={"average": "probabilities"})
    learner: Any = both.clients["b"].learner
    learner.words = (*BYTES, b"answer", b" gold")
    both.run(1, 2)
    (first, second) = (both.studies("b")[i] for i in (1, 4))
    assert first.lessons[0].soft is not None
    tokens = len(learner.tokenize([GOLD["p0"]])[0].tokens)
    assert len(first.lessons[0].soft.ids) == tokens == 4  # answer, gold, the number and the end
    assert second.lessons[0].soft is not None
    own = np.exp(first.lessons[0].soft.log_probs[3].max())  # of the end all are as sure
    assert own == pytest.approx(0.5, rel=0.07)


def test_clients_may_come_in_any_order_and_names_do_not_count(tmp_path: FilePath):
    def digest(folder: FilePath, shares: dict[str, float]) -> list[bytes]:
        both = federated(folder)
        for party, own in shares.items():
            says(both, party, own)
        both.run(1)
        return [lesson.soft.log_probs.tobytes() for lesson in both.studies("llm")[0].lessons if lesson.soft is not None]

    first = digest(tmp_path / "one", {"a": 0.3, "b": 0.7})
    assert len(first) == len(GOLD)
    assert first == digest(tmp_path / "other", {"b": 0.3, "a": 0.7})


def test_an_allocator_says_on_which_samples_a_client_matches(tmp_path: FilePath):
    both = federated(tmp_path, allocator=make(ALLOCATORS, "random", budget=2))
    both.run(1)
    for name, study in (("a", 1), ("b", 1), ("llm", 0)):
        assert len(both.studies(name)[study].lessons) == 2
    chosen = {name: set(both.studies(name)[1].texts()) for name in ("a", "b")}
    assert {(r.student, r.chosen) for r in both.server.report.allocations} == {("llm", 2), ("a", 2), ("b", 2)}
    assert all(ids <= set(GOLD) for ids in chosen.values())


def test_only_where_the_consensus_is_surer_than_oneself(tmp_path: FilePath):
    both = federated(tmp_path, allocator="dual_min_ce", options={"average": "probabilities"})
    for name, least in (("a", -90.0), ("b", -0.1)):
        learner: Any = both.clients[name].learner
        learner.judgements = dict.fromkeys(GOLD.values(), least)
    both.run(1)
    assert {(r.student, r.chosen) for r in both.server.report.allocations} == {("llm", 0), ("a", 5), ("b", 0)}
    assert "round 1: b found nothing to learn from the consensus" in both.server.report.notices


def test_the_papers_filter_may_choose(tmp_path: FilePath):
    filter = make(ALLOCATORS, "lada_paper", clusters=2, hidden=4, epochs=2)
    make(HOSTS, "fedmd").check(filter, {})
    both = federated(tmp_path, allocator=filter)
    both.run(1, 2)
    assert set(both.clients["a"].states) == {"llm>a"}
    assert set(both.server.states) == {"consensus>llm"}
    assert {r.chosen for r in both.server.report.allocations if r.round == 1} == {2}  # half of 5


def test_a_member_whose_scores_are_broken_has_no_say(tmp_path: FilePath):
    both = federated(tmp_path, options={"average": "probabilities", "llm_member": False})
    says(both, "b", 0.8)
    learner: Any = both.clients["a"].learner
    learner.broken = frozenset(GOLD.values())
    both.run(1)
    assert own_probabilities(both.studies("b")[1]) == pytest.approx(dict.fromkeys(GOLD, 0.8), rel=0.07)
    assert any("5 of 5 soft targets of a are left out" in notice for notice in both.server.report.notices)


def test_nobody_left_to_say_anything(tmp_path: FilePath):
    both = federated(tmp_path, options={"llm_member": False})
    for party in both.clients.values():
        learner: Any = party.learner
        learner.broken = frozenset(GOLD.values())
    both.run(1)
    assert [study.options.steps for study in both.studies("a")] == [2, 1]
    assert "round 1: a found nothing to learn from the consensus" in both.server.report.notices


def test_hostile_messages_are_refused(tmp_path: FilePath):
    both = federated(tmp_path)
    both.run(1)
    told = next(m.payload for m in both.exchange.sent if m.phase == "contribute" and m.sender == "a")
    guard = Guard(both.host, both.server)
    guard.check_reply("a", "contribute", 1, told)
    for sender, payload in (
        ("b", told),
        ("a", {**told, "soft_targets": told["soft_targets"][:-1]}),
        ("a", {**told, "paths": b""}),
        ("a", {kind: data for kind, data in told.items() if kind != "likelihoods"}),
        ("a", {**told, "vocabulary": b"x"}),
    ):
        with pytest.raises((FederationError, CodecError)):
            guard.check_reply(sender, "contribute", 1, payload)
    with pytest.raises(FederationError):
        Guard(both.host, both.clients["a"]).check_ask("llm", "digest", 1, {**told})


def test_a_part_of_a_study():
    whole = Study(steps=7)
    parts = [part_of(whole, 0.0, 0.5), part_of(whole, 0.5, 1.0)]
    assert [part.steps for part in parts] == [4, 3]
    assert part_of(Study(steps=1), 0.0, 0.5).steps == 1
    assert part_of(whole, 0.0, 1.0) == whole
    assert [part_of(Study(tokens=n), 0.5, 1.0).tokens for n in (101, 1)] == [51, 1]
    assert part_of(Study(epochs=2.0), 0.25, 1.0).epochs == 1.5


MODELS = {
    "server": {"model": {"model": "zoo:llm-world-0"}},
    "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
    "host": "fedmd",
}


def test_the_bare_host_has_no_labels_in_its_loss():
    config = make_config({**MODELS, "plugin": "none"})
    assert (config.choice(OBJECTIVES).name, config.choice(OBJECTIVES).options["label_weight"]) == ("soft_targets", 0.0)
    assert config.choice(ALLOCATORS).name == "all"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "'fedmd' works on gold texts, but the allocator compares paths"),
        ({"allocator": "random"}, "objective: host 'fedmd' exchanges distributions over tokens"),
        ({"allocator": "random", "objective": "alm"}, "expected soft_targets"),
    ],
)
def test_what_it_cannot_work_with_is_refused_beforehand(changes: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        make_config({**MODELS, **changes})
    check_wants_soft_targets("fedmd", make(OBJECTIVES, "soft_targets"))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"revisit": 1.0}, {"average": "median"}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        FedmdOptions(**options)
