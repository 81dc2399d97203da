"""A client answers each message once, whatever happens between."""

import json
import shutil
import time

import pytest

from lada.codecs.metrics import decode_records
from lada.config import make_config
from lada.core.errors import FederationError
from lada.core.results import PartyReport
from lada.federation import checkpoints, party_cache
from lada.federation.nodes import FINISH, Node
from lada.federation.parties import Place, read_task
from lada.federation.pieces import What
from lada.hosts.base import HOSTS
from lada.models.learner import HuggingFaceLearner

SEEN = []


@pytest.fixture
def node(tmp_path):
    config = make_config(
        {
            "host": {"name": "standalone"},
            "task": {"kind": "rulebooks", "public": 6, "private": 6, "test_per_domain": 1, "replay": 2},
            "server": {"model": {"model": "zoo:slm-gpt2"}},
            "clients": [
                {
                    "name": "c",
                    "model": {"model": "zoo:slm-gpt2", "max_new_tokens": 8},
                    "private": {"steps": 1, "batch_size": 2},
                    "distil": {"steps": 1, "batch_size": 2},
                }
            ],
        }
    )
    return Node(config, Place(tmp_path, tmp_path, time.time()), lambda: read_task(config, tmp_path), "c", SEEN.append)


@pytest.fixture(autouse=True)
def _nothing_held():
    party_cache.forget()


def state(node):
    folder = node._place.checkpoint("c")
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def numbers(reply):
    return reply["metrics"]  # times differ from one reply to the next


def test_a_message_that_comes_twice_changes_nothing_and_gets_the_same_bytes(node):
    first = node.handle("study", 1, {})
    after = state(node)
    assert node.handle("study", 1, {}) == first
    assert state(node) == after


def test_a_replay_and_a_forgery_are_refused_and_change_nothing(node):
    node.handle("evaluate", 0, {})
    node.handle("study", 1, {})
    after = state(node)
    with pytest.raises(FederationError, match=r"message 0-evaluate: .* it is a replay"):
        node.handle("evaluate", 0, {})
    with pytest.raises(FederationError, match=r"message 1-study: .* other content"):
        node.handle("study", 1, {"paths": b"forged"})
    assert state(node) == after


def test_a_phase_that_was_broken_off_is_gone_through_again_to_the_same_bits(node, tmp_path, monkeypatch):
    twin = Node(node._config, Place(tmp_path / "twin", tmp_path, time.time()), node._task, "c", SEEN.append)
    expected = numbers(twin.handle("study", 1, {}))
    done = []

    def breaks_off(party, round):
        done.append(round)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lada.rounds.outline.evaluate_party", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            node.handle("study", 1, {})
    assert done == [1]
    SEEN.clear()
    assert numbers(node.handle("study", 1, {})) == expected
    assert {event["phase"] for event in SEEN if event["kind"] == "phase"} == {"evaluate"}  # both studies were kept
    weights = "model/model.safetensors"
    assert (node._place.checkpoint("c") / weights).read_bytes() == (twin._place.checkpoint("c") / weights).read_bytes()


@pytest.mark.parametrize("lost", ["model/model.safetensors", "state.safetensors", "manifest.json"])
def test_from_the_checkpoint_before_the_last_message_is_answered_again_first(node, tmp_path, lost):
    twin = Node(node._config, Place(tmp_path / "twin", tmp_path, time.time()), node._task, "c", SEEN.append)
    for each in (node, twin):
        each.handle("evaluate", 0, {})
        each.handle("study", 1, {})
    (node._place.checkpoint("c") / lost).write_bytes(b"rust")
    party_cache.forget()
    reply, expected = (json.loads(_unpacked(each.handle(FINISH, 1, {}))) for each in (node, twin))
    assert expected["parties"][0]["weights"] == reply["parties"][0]["weights"]


def _unpacked(reply):
    from lada.codecs.metrics import decode_records
    from lada.core.results import PartyReport

    (report,) = decode_records(reply["metrics"], PartyReport)
    return report.model_dump_json()


def test_where_no_checkpoint_is_whole_the_error_says_what_to_delete(node):
    node.handle("evaluate", 0, {})
    folder = node._place.checkpoint("c")
    shutil.rmtree(folder / "model")
    party_cache.forget()
    with pytest.raises(
        Exception, match=r"model/.* is missing or cannot be read, and the previous one is not valid either; delete"
    ):
        node.handle("study", 1, {})


def test_a_message_that_fails_is_forgotten_and_the_next_one_answered(node, monkeypatch):
    before = node.handle("evaluate", 0, {})
    with monkeypatch.context() as patch:
        patch.setattr("lada.rounds.outline.study", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            node.handle("study", 1, {})
    assert node._place.journal("c").names() == ["0-evaluate"]
    assert node.handle("evaluate", 0, {}) == before
    assert "metrics" in node.handle("study", 2, {})


def test_a_message_heard_and_not_answered_comes_before_the_next(node, monkeypatch):
    answered = []
    host = type(HOSTS.get("standalone").make(HOSTS.get("standalone").options()))
    reply = host.reply

    def dies_once(self, phase, party, round, payload):
        answered.append((round, phase))
        if len(answered) == 1:
            raise KeyboardInterrupt  # as good as the death of the process: nothing of ours runs after it
        return reply(self, phase, party, round, payload)

    monkeypatch.setattr(host, "reply", dies_once)
    with pytest.raises(KeyboardInterrupt):
        node.handle("study", 1, {})
    node.handle("study", 2, {})
    assert answered == [(1, "study"), (1, "study"), (2, "study")]


def test_pieces_of_a_reply_add_up_and_the_checkpoint_is_verified_with_the_first_of_a_kind_alone(node, monkeypatch):
    reply = node.handle("study", 1, {})
    verify, verified = checkpoints.verify, []

    def counting(folder, needed=()):
        verified.append(folder)
        verify(folder, needed)

    monkeypatch.setattr(checkpoints, "verify", counting)
    size, step = len(reply["metrics"]), 100
    pieces = [node.fetch(1, What("study", "metrics", start, min(step, size - start))) for start in range(0, size, step)]
    assert len(pieces) > 2
    assert b"".join(pieces) == reply["metrics"]
    assert verified == [node._place.checkpoint("c")]


def test_pieces_of_an_altered_or_an_older_reply_are_refused(node):
    node.handle("evaluate", 0, {})
    node.handle("study", 1, {})
    with pytest.raises(FederationError, match="the reply to 0-evaluate no longer has this part"):
        node.fetch(0, What("evaluate", "metrics", 0, 10))
    (node._place.checkpoint("c") / "reply" / "0").write_bytes(b"altered")
    with pytest.raises(FederationError, match="the reply to 1-study no longer has this part"):
        node.fetch(1, What("study", "metrics", 0, 10))


def studies(reply):
    (report,) = decode_records(reply["metrics"], PartyReport)
    return [study for study in report.studies if study.round == 3]


def model_files(folder):
    return {path.name: path.stat().st_ino for path in (folder / "model").iterdir()}


def test_what_a_study_left_in_the_journal_is_one_file_with_that_of_the_checkpoint(node, monkeypatch):
    saved, save = [], HuggingFaceLearner.save
    monkeypatch.setattr(HuggingFaceLearner, "save", lambda self, folder: saved.append(folder) or save(self, folder))
    node.handle("study", 1, {})  # two studies: of both budgets
    assert len(saved) == 2
    kept = node._place.checkpoint("c")
    assert model_files(kept) == model_files(node._place.journal("c").at("1-study").folder("private-more"))
    checkpoints.verify(kept)
    node.handle("finish", 1, {})  # changes nothing, and has a file of its own beside the checkpoint before
    assert len(saved) == 3
    before = model_files(kept.with_name(".c.before"))
    assert model_files(kept).keys() == before.keys()
    assert not set(model_files(kept).values()) & set(before.values())


def test_a_file_system_without_links_makes_no_difference(node, tmp_path, monkeypatch):
    twin = Node(node._config, Place(tmp_path / "twin", tmp_path, time.time()), node._task, "c", SEEN.append)
    node.handle("study", 1, {})
    party_cache.forget()

    def refuse(*_):
        raise OSError("no links")

    monkeypatch.setattr(checkpoints.os, "link", refuse)
    twin.handle("study", 1, {})
    assert {k: v for k, v in state(twin).items() if k.parts[0] == "model"} == {
        k: v for k, v in state(node).items() if k.parts[0] == "model"
    }


def test_a_learner_in_memory_is_not_read_from_disk(node, monkeypatch):
    node.handle("study", 1, {})
    looked_at, digest = [], checkpoints._digest
    monkeypatch.setattr(checkpoints, "_digest", lambda file: looked_at.append(file.parent.name) or digest(file))
    answered = node._kept_beside().answered
    assert looked_at
    assert "model" not in looked_at
    party_cache.forget()
    assert node._kept_beside() is None
    assert node._kept().answered == answered
    assert "model" in looked_at


def test_a_checkpoint_that_is_damaged_under_a_learner_in_memory_is_answered_once(node, tmp_path):
    twin = Node(node._config, Place(tmp_path / "twin", tmp_path, time.time()), node._task, "c", SEEN.append)
    for round in (1, 2):
        twin.handle("study", round, {})
    expected = numbers(twin.handle("study", 3, {}))
    party_cache.forget()
    for round in (1, 2):
        node.handle("study", round, {})
    (node._place.checkpoint("c") / "state.safetensors").write_bytes(b"")
    reply = node.handle("study", 3, {})
    assert [s.last_loss for s in studies(reply)] == [s.last_loss for s in studies({"metrics": expected})]
