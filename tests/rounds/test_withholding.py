"""A client keeps back what repeats its private samples: paths, token scores, vocabulary, notices."""

from dataclasses import replace
from functools import cache
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import CANARY, PUBLIC, Federation, federation, make, make_party, right

from lada.codecs import paths
from lada.codecs.metrics import decode_records
from lada.codecs.soft_targets import SoftTargets
from lada.core.results import PartyInfo, PartyReport, Withheld
from lada.objectives.base import OBJECTIVES
from lada.privacy.distinctive import Distinctive, texts_of
from lada.privacy.options import Withholding
from lada.rounds.knowledge import PATHS, SOFT, VOCABULARY, receive_knowledge, send_knowledge, write_knowledge
from lada.rounds.party import Party
from lada.rounds.reports import METRICS, report_payload

SECRET = f"it was {CANARY}2 so answer gold1"


def guarded(party: Party, **options: Any) -> Party:
    known = [text for sample in (*party.task.public, *party.task.test, *party.task.replay) for text in texts_of(sample)]
    party.distinctive = cache(lambda: Distinctive(party.private, known, Withholding(**options)))
    return party


def client(folder: FilePath, others: list[str], **more: Any) -> Party:
    """Return a client that repeats a secret on public question 1, and what it samples there instead."""
    party = guarded(make_party("a", {0, 1, 2, 3, 4}, folder, **more))
    learner: Any = party.learner
    learner.answers[PUBLIC[1].question] = SECRET
    learner.others[PUBLIC[1].question] = others
    return party


def told(party: Party) -> dict[str, str]:
    payload = send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths")
    knowledge = receive_knowledge(make_party("llm", set(), party.folder), payload, "a", 1, "paths").knowledge
    return {path.sample_id: path.text for path in knowledge.paths}


def test_a_path_that_repeats_a_sample_is_sampled_again(tmp_path: FilePath):
    party = client(tmp_path, [right(1)])
    assert told(party) == {f"p{i}": right(i) for i in range(5)}
    assert party.report.withheld == (Withheld(party="a", round=1, paths=5, sampled_again=1, withheld=0),)
    assert "round 1: a resampled 1 of 5 paths and withheld 0" in party.report.notices[0]


def test_one_that_repeats_it_each_time_is_withheld(tmp_path: FilePath):
    party = client(tmp_path, [f"now {CANARY}3"])
    assert told(party) == {f"p{i}": right(i) for i in (0, 2, 3, 4)}
    assert party.report.withheld == (Withheld(party="a", round=1, paths=5, sampled_again=0, withheld=1),)
    assert [phase.phase for phase in party.report.phases] == ["answer", *(f"answer-instead-{i}" for i in range(1, 5))]


def test_without_a_catch_nothing_is_sampled_and_nothing_told(tmp_path: FilePath):
    honest = guarded(make_party("a", {0, 1}, tmp_path))
    plain = make_party("a", {0, 1}, tmp_path)
    known = write_knowledge(honest, 1, "answer", "paths")
    assert send_knowledge(honest, known, "paths") == send_knowledge(
        plain, write_knowledge(plain, 1, "answer", "paths"), "paths"
    )
    assert (honest.report.withheld, honest.report.notices) == ((), ())
    assert [phase.phase for phase in honest.report.phases] == ["answer"]


def test_what_is_withheld_has_no_scores_and_scores_that_spell_a_passage_stay_too(tmp_path: FilePath):
    party = client(tmp_path, [SECRET], objective=make(OBJECTIVES, "soft_targets", k=2))
    payload = send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths")
    scores = SoftTargets(payload[SOFT], known_ids=None)
    assert sorted(scores) == ["p0", "p2", "p3", "p4"]
    learner: Any = party.learner
    log_probs = learner.log_probs

    def dreaming(pairs: Any, k: int, **more: Any) -> Any:
        """Spell the secret at one text by the likeliest tokens."""
        found = log_probs(pairs, k, **more)
        own = found[0].tokens
        secret = np.resize(np.frombuffer(b"room 92 ", np.uint8), len(own)).astype(np.int32)
        ids = np.sort(np.stack([secret, np.where(own == secret, 256, own)], axis=1), axis=1)
        top = np.where(ids == secret[:, None], -0.1, -3.0).astype(np.float32)
        found[0] = replace(found[0], top=replace(found[0].top, ids=ids, log_probs=top))
        return found

    learner.log_probs = dreaming
    payload = send_knowledge(party, write_knowledge(party, 2, "answer", "paths"), "paths")
    assert "p0" not in SoftTargets(payload[SOFT], known_ids=None)
    assert party.report.withheld[-1] == Withheld(party="a", round=2, paths=4, scores=1)


def test_a_vocabulary_with_a_private_name_stays_with_its_scores(tmp_path: FilePath):
    party = guarded(make_party("a", {0, 1}, tmp_path, objective="soft_targets"))
    learner: Any = party.learner
    assert {SOFT, VOCABULARY} <= send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths").keys()
    learner.words = (*learner.words, f"{CANARY}1".encode())
    assert send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths").keys() == {PATHS}
    assert "sends no token scores" in party.report.notices[-1]


def test_notices_and_domains_are_told_without_private_text(tmp_path: FilePath):
    party = guarded(make_party("a", set(), tmp_path))
    who = PartyInfo(
        name="a",
        role="client",
        model="m",
        architecture="x",
        parameters=1,
        domains=("farm", f"{CANARY}1 ward"),
        private_samples=4,
        weights="",
    )
    party.note(notices=("round 1: all is well", f"cannot read {CANARY}1"), parties=(who,))
    (report,) = decode_records(report_payload(party)[METRICS], PartyReport)
    assert report.parties[0].domains == ("farm",)
    assert report.notices == (
        "round 1: all is well",
        "a withheld 2 notices or names of domains that repeat private text",
    )


HOSTED = [
    ("fedmkt", {}),
    ("fedmkt", {"trust": "agreement"}),
    ("fedmkt", {"trust": "gain"}),
    ("fedmkt, lada", {}),
    ("fedcot", {}),
]


@pytest.mark.parametrize(("host", "options"), HOSTED)
@pytest.mark.parametrize("everything", [False, True])
def test_hosts_go_on_without_what_is_withheld(host: str, options: dict[str, Any], everything: bool, tmp_path: FilePath):
    host, _, allocator = host.partition(", ")
    knows = {"llm": {0, 1}, "a": {0, 2}, "b": {1, 3}}
    fed = federation(tmp_path, host, knows, options, allocator=allocator or "verified")
    for name, party in fed.clients.items():
        guarded(party)
        learner: Any = party.learner
        for sample in PUBLIC if everything else PUBLIC[:2]:
            learner.answers[sample.question] = f"{CANARY} {name} 1 so answer gold1"
    fed.run(1, 2)
    _nothing_leaves(fed)
    counts = [row.withheld for row in fed.server.report.withheld if row.round == 1]
    assert counts == ([] if host == "fedcot" else [5 if everything else 2] * 2)


def _nothing_leaves(fed: Federation) -> None:
    for sent in fed.exchange.sent:
        if sent.sender != "llm" and PATHS in sent.payload:
            texts = [path.text for path in paths.decode(sent.payload[PATHS], known_ids=None).paths]
            assert not [text for text in texts if CANARY in text]
