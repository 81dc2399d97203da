"""FedCoLLM: adapters are averaged into the server's SLM, which the LLM and it then teach each other around."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import CANARY, DISTIL, PRIVATE, Federation, ScriptedLearner, make
from sharing import GOLD, NONE, SLM, config, learns, sharing, told

from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.errors import CodecError, FederationError, InputError
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.rounds.checks import Guard
from lada.rounds.party import SHARED_SLM, NoJournal, Within, no_slm

BARE = {"slm_replay": NONE, "server_replay": NONE}


def federated(folder: FilePath, **more: Any) -> tuple[Federation, ScriptedLearner]:
    """Return a federation, and the learner of the server's SLM."""
    objective = make(OBJECTIVES, "soft_targets", k=3, form="reverse_kl", label_weight=0.5)
    return sharing(folder, "fedcollm", BARE, **{"objective": objective, **more})


def test_all_start_alike_and_go_on_with_what_the_average_has_become(tmp_path: FilePath):
    both, slm = federated(tmp_path)
    learns(both, "a", [1, 2])
    learns(both, "b", [3, 6])
    both.clients["b"].private = both.clients["b"].private * 3  # 12 samples against a's 4
    seen: list[list[float]] = []
    usual = type(slm).study

    def study(*args: Any, **options: Any) -> Any:
        seen.append(slm.weights.tolist())
        slm.weights = slm.weights + 1
        return usual(slm, *args, **options)

    slm.study = study  # type: ignore[method-assign]
    both.run(0, 1)
    assert {told(both, "study", name, 1) == [9.0, 9.0] for name in ("a", "b")} == {True}
    assert seen == [[2.5, 5.0]]
    assert told(both, "take", "a", 1) == told(both, "take", "b", 1) == [3.5, 6.0]
    for party in both.clients.values():
        assert party.learner.adapter()["lora"].tolist() == [3.5, 6.0]
    both.run(2)
    assert told(both, "study", "a", 2) is None  # it has it
    assert [study.options for study in both.studies("a")] == [PRIVATE, DISTIL] * 2


def test_who_missed_the_newest_adapter_is_sent_it(tmp_path: FilePath):
    both, _ = federated(tmp_path)
    both.exchange.clients = ("a",)
    both.run(1)
    both.exchange.clients = ("a", "b")
    both.run(2)
    assert told(both, "study", "a", 2) is None
    assert told(both, "study", "b", 2) == told(both, "take", "a", 1)


def test_both_learn_what_the_other_knew_before(tmp_path: FilePath):
    both, slm = federated(tmp_path)
    both.run(1)
    (up,), (down,) = both.studies("llm"), slm.studies
    for study in (up, down):
        assert {id: text for id, (text, _) in study.texts().items()} == GOLD
        assert all(lesson.soft is not None for lesson in study.lessons)
    assert (up.options, down.options) == (both.server.studies.distil, SLM)
    # As the scripts have it: half for the own token, the rest for others.
    for lesson in (up.lessons[0], down.lessons[0]):
        assert lesson.soft is not None
        assert np.exp(lesson.soft.log_probs).max() == pytest.approx(0.5)
    report = both.server.report
    assert {(r.teacher, r.student, r.chosen) for r in report.allocations} == {
        (SHARED_SLM, "llm", 5),
        ("llm", SHARED_SLM, 5),
    }
    assert {(r.party, r.phase) for r in report.studies} == {
        *((name, phase) for name in ("a", "b") for phase in ("private", "private-more")),
        ("llm", "distil"),
        (SHARED_SLM, "distil"),
    }
    assert sorted(e.party for e in report.evaluations) == ["a", "b", "llm"]


def test_the_allocator_chooses_per_direction_what_is_distilled(tmp_path: FilePath):
    both, slm = federated(tmp_path, allocator="dual_min_ce")
    learner: Any = both.server.learner
    learner.judgements = {GOLD["p0"]: -1.0, GOLD["p1"]: -1.0}  # of the rest the SLM is surer
    slm.judgements = {GOLD[f"p{i}"]: -1.5 for i in (1, 2, 3)}
    both.run(1)
    distilled = {
        name: {lesson.sample_id for lesson in study.lessons if lesson.soft is not None}
        for name, study in (("llm", both.studies("llm")[0]), ("slm", slm.studies[0]))
    }
    assert distilled == {"llm": {"p2", "p3"}, "slm": {"p0", "p1"}}
    for study in (both.studies("llm")[0], slm.studies[0]):  # the labels are studied by both, chosen or not
        assert set(study.texts()) == set(GOLD)


def test_the_papers_filter_has_a_state_per_direction(tmp_path: FilePath):
    filter = make(ALLOCATORS, "lada_paper", clusters=2, hidden=4, epochs=2)
    both, _ = federated(tmp_path, allocator=filter)
    both.run(1, 2)
    filters = {key for key in both.server.states if ">" in key}
    assert filters == {f"{SHARED_SLM}>llm", f"llm>{SHARED_SLM}"}


def test_only_adapters_and_numbers_cross(tmp_path: FilePath):
    both, _ = federated(tmp_path)
    both.run(0, 1)
    crossed = [(m.phase, m.sender, sorted(m.payload)) for m in both.exchange.sent if "a" in (m.sender, m.receiver)][2:]
    assert crossed == [
        ("study", "llm", ["adapter"]),
        ("study", "a", ["adapter", "metrics", "times"]),
        ("take", "llm", ["adapter"]),
        ("take", "a", ["metrics", "times"]),
    ]
    assert not any(CANARY.encode() in data for message in both.exchange.sent for data in message.payload.values())


def test_hostile_messages_are_refused(tmp_path: FilePath):
    both, _ = federated(tmp_path)
    both.run(1)
    reply = next(m.payload for m in both.exchange.sent if m.phase == "study" and m.sender == "a")
    guard = Guard(both.host, both.server)
    guard.check_reply("a", "study", 1, reply)
    for payload in (
        {kind: data for kind, data in reply.items() if kind != "adapter"},
        {**reply, "adapter": reply["adapter"][:-1]},
        {**reply, "likelihoods": b""},
    ):
        with pytest.raises((FederationError, CodecError)):
            guard.check_reply("a", "study", 1, payload)
    with pytest.raises(FederationError, match="kinds: adapter missing"):
        Guard(both.host, both.clients["a"]).check_ask("llm", "take", 1, {})


def test_the_bare_host_weighs_labels_and_divergence_alike():
    made = make_config(config("fedcollm"))
    options = made.choice(OBJECTIVES).options
    assert (options["form"], options["label_weight"]) == ("reverse_kl", 0.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"plugin": "lada"}, "'fedcollm' works on gold texts, but the allocator compares paths"),
        ({"objective": "sft"}, "objective: host 'fedcollm' exchanges distributions over tokens"),
        ({"clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}]}, "has model.tune 'full'; expected 'lora'"),
        ({"engine": "deployment", "clients": [{"name": "one"}]}, "keeps a copy of the clients' model at the server"),
        ({"host": {"name": "fedcollm", "options": {"aggregation": "krum"}}}, "needs 5 clients"),
    ],
)
def test_what_it_cannot_work_with_is_refused_beforehand(changes: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        make_config(config("fedcollm") | changes)


def test_only_a_server_has_a_copy_of_the_clients_model(tmp_path: FilePath):
    with pytest.raises(LookupError):
        no_slm()
    assert Within(NoJournal(), "part").load("key") is None
    kept: list[str] = []

    class Keeps(NoJournal):
        def save(self, key: str, fill: Any) -> None:
            kept.append(key)

    Within(Keeps(), "part").save("key", lambda _: None)
    assert kept == ["part/key"]
    assert "fedcollm" in HOSTS.names()
