"""In a deployment, the server believes a node only about itself, and clients believe only the server."""

import json
from dataclasses import replace

import pytest
from flwr.app import Message
from sealed import NAMES, Sealed, claiming

from lada.core.errors import FederationError, LadaError
from lada.core.sealed import unseal
from lada.federation.bound import DROPPED, Binding
from lada.federation.client_app import ERROR_LOG, unsealed
from lada.federation.messages import HELLO, SERVER, Code, Envelope, decode, encode
from lada.federation.pieces import BYTES, FETCH, PIECE


@pytest.fixture
def fed(tmp_path):
    with Sealed(tmp_path) as fed:
        yield fed


def asked(fed, name):
    """Return how often a client was asked for its name."""
    return sum(who == name and decode(message.content)[0].phase == HELLO for who, message in fed.asked)


def test_honest_clients_are_found_by_their_keys_and_answer(fed):
    missing = []
    exchange = fed.exchange(missing=missing)
    assert exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait() == {
        name: {"x": name.encode()} for name in NAMES
    }
    assert (missing, fed.binding.notices()) == ([], [])


@pytest.mark.parametrize("away", [True, False])
def test_no_node_takes_another_clients_name_in_a_hello(fed, away):
    fed.grid.away = frozenset({"clinic"} if away else ())
    fed.lies["kitchen"] = claiming("clinic", fed.seals["kitchen"])
    missing = []
    exchange = fed.exchange(missing=missing)
    assert exchange._channel.is_there("ward")
    assert (exchange._channel.is_there("clinic"), exchange._channel.is_there("kitchen")) == (not away, False)
    replies = exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait()
    assert replies == {name: {"x": name.encode()} for name in (["ward"] if away else ["clinic", "ward"])}
    assert [(one.party, one.why) for one in missing] == [
        (name, "absent (no node of that name is connected)") for name in (["clinic"] if away else []) + ["kitchen"]
    ]
    assert asked(fed, "kitchen") == 1
    assert fed.binding.dropped == {"kitchen": 1}
    assert fed.binding.notices() == [
        "1 reply of the node of kitchen dropped: under another name, or not sealed by kitchen in answer to the question"
    ]


def test_a_refusal_in_anothers_name_counts_for_the_node_that_sent_it(fed):
    fed.grid.away = frozenset({"ward"})
    fed.lies["kitchen"] = claiming("clinic", fed.seals["kitchen"], code=Code.FAILED)
    with pytest.raises(FederationError) as caught:
        fed.exchange(quorum=1.0)
    told = str(caught.value)
    assert "connected are clinic." in told
    assert "Client 'kitchen' refused: dropped (it gives another name than its own)." in told
    assert "Client 'clinic'" not in told
    exchange = fed.exchange(quorum=0.3)
    assert exchange._channel.is_there("clinic")


@pytest.mark.parametrize("seal", ["kitchen", None])
@pytest.mark.parametrize("code", [None, Code.FAILED, Code.MALFORMED])
@pytest.mark.parametrize("name", ["clinic", "kitchen"])
def test_in_a_phase_a_reply_that_is_not_its_own_is_dropped_and_counted(fed, seal, code, name):
    missing = []
    exchange = fed.exchange(missing=missing)
    fed.lies["kitchen"] = claiming(name, seal and fed.seals["clinic" if name == "kitchen" else seal], code=code)
    asked = {one: {"x": b"1"} for one in NAMES}
    assert sorted(exchange.ask("echo", 1, asked).wait()) == ["clinic", "ward"]
    (gone,) = missing
    said = "it gives another name" if name == "clinic" else "it is not sealed in answer to this message"
    assert gone.party == "kitchen"
    assert gone.why.startswith(f"dropped ({said}")
    assert fed.binding.dropped == {"kitchen": 1}
    assert sorted(exchange.ask("echo", 2, asked).wait()) == ["clinic", "ward"]
    assert fed.binding.dropped == {"kitchen": 2}


def test_what_was_dropped_is_known_after_a_kill(fed, tmp_path):
    fed.binding.keep_in(tmp_path)
    fed.lies["kitchen"] = claiming("clinic", None)
    exchange = fed.exchange()
    for round in (1, 2):
        exchange.ask("echo", round, {name: {"x": b"1"} for name in NAMES}).wait()
    dropped = dict(fed.binding.dropped)
    assert dropped["kitchen"] >= 1
    assert json.loads(unseal(tmp_path / DROPPED)) == dropped
    again = Binding({})
    again.keep_in(tmp_path)
    again.drop("ward")
    again.drop("kitchen")
    assert again.dropped == {"kitchen": dropped["kitchen"] + 1, "ward": 1}
    assert len(again.notices()) == 2
    third = Binding({})
    third.keep_in(tmp_path)
    assert third.dropped == again.dropped


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"kitchen": "x"}', b'{"kitchen": 9}', b"[" * 10**5])
def test_counts_that_are_damaged_are_told_of_and_begin_anew(tmp_path, damage):
    before = Binding({})
    before.keep_in(tmp_path)
    before.drop("kitchen")
    (tmp_path / DROPPED).write_bytes(damage)
    after = Binding({})
    with pytest.raises(LadaError, match=DROPPED):
        after.keep_in(tmp_path)
    after.drop("ward")
    last = Binding({})
    last.keep_in(tmp_path)
    assert last.dropped == {"ward": 1}


def test_a_reply_to_another_message_is_dropped(fed):
    exchange = fed.exchange()
    kept = []

    def again(name, message):
        kept.append(fed.honest(name, message))
        return Message(kept[0].content, reply_to=message)

    fed.lies["kitchen"] = again
    asked = {"kitchen": {"x": b"1"}, "ward": {"x": b"1"}}
    assert sorted(exchange.ask("echo", 1, asked).wait()) == ["kitchen", "ward"]
    assert sorted(exchange.ask("echo", 2, asked).wait()) == ["ward"]


def test_nodes_that_flower_mixes_up_answer_for_nobody(fed):
    exchange = fed.exchange()
    fed.grid._names |= {2: "kitchen", 3: "clinic"}
    assert list(exchange.ask("echo", 1, {name: {"x": b"1"} for name in NAMES}).wait()) == ["ward"]
    assert fed.binding.dropped == {"clinic": 1, "kitchen": 1}
    assert unsealed(fed.folder / "clinic") == unsealed(fed.folder / "kitchen") == 1


def test_who_is_not_expected_or_not_bound_is_not_asked(fed):
    del fed.binding.names[4]
    with pytest.raises(FederationError, match="expected clinic, other; connected are clinic, kitchen"):
        fed.exchange(["clinic", "other"], quorum=1.0)
    assert [asked(fed, name) for name in NAMES] == [1, 0, 0]


def test_pieces_are_sealed_one_by_one(fed):
    exchange = fed.exchange(timeout=60)
    payload = {"large": {"size": (2 * PIECE + 3).to_bytes(8, "big")}}
    whole = exchange.ask("large", 1, {"clinic": payload["large"]}).wait()["clinic"]
    assert bytes(whole["large"]) == bytes(i % 251 for i in range(2 * PIECE + 3))
    kept = []

    def swapped(name, message):
        reply = fed.honest(name, message)
        if decode(message.content)[0].phase == FETCH:
            kept.append(reply)
            return Message(kept[0].content, reply_to=message)
        return reply

    fed.lies["kitchen"] = swapped
    replies = exchange.ask("large", 2, {"ward": payload["large"], "kitchen": payload["large"]}).wait()
    assert list(replies) == ["ward"]
    assert len(kept) == 2
    assert fed.binding.dropped == {"kitchen": 1}
    whole = decode(kept[0].content)[1]
    assert len(whole[BYTES]) == PIECE


ASKED = Envelope("r", "grow", 1, SERVER)
PAYLOAD = {"seed": b"1"}


@pytest.mark.parametrize(
    "forge",
    [
        lambda fed: ASKED,
        lambda fed: replace(ASKED, mac="0" * 64),
        lambda fed: fed.binding.seal("kitchen").asking(ASKED, PAYLOAD),
        lambda fed: fed.seals["clinic"].answering(ASKED, PAYLOAD, ""),
        lambda fed: replace(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), run="s"),
        lambda fed: replace(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), round=2),
        lambda fed: replace(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), phase="echo"),
        lambda fed: replace(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), sender="clinic"),
        lambda fed: fed.binding.seal("clinic").asking(ASKED, {"seed": b"2"}),
        lambda fed: replace(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), phase=HELLO),
    ],
)
def test_a_client_does_nothing_for_a_message_that_the_server_did_not_seal_for_it(fed, forge):
    envelope, payload = fed.deliver("clinic", forge(fed), PAYLOAD)
    assert (envelope.code, payload, fed.handled) == (Code.MALFORMED, {}, [])
    log = (fed.folder / "clinic" / ERROR_LOG).read_text()
    assert f"reference {envelope.reference}" in log
    assert "the server did not seal it for this client" in log
    assert unsealed(fed.folder / "clinic") == 1
    fed.deliver("clinic", forge(fed), PAYLOAD)
    assert unsealed(fed.folder / "clinic") == 2
    assert unsealed(fed.folder / "kitchen") == 0
    assert not (fed.folder / "clinic" / "state").exists()


def test_a_sealed_message_is_answered_and_so_is_it_again(fed):
    sealed = fed.binding.seal("clinic").asking(ASKED, PAYLOAD)
    envelope, payload = fed.deliver("clinic", sealed, PAYLOAD)
    assert envelope.code is None
    assert fed.binding.seal("clinic").is_answering(envelope, payload, sealed.mac or "")
    assert unsealed(fed.folder / "clinic") == 0


def test_a_message_that_cannot_be_read_is_refused_under_the_clients_seal(fed):
    records = encode(fed.binding.seal("clinic").asking(ASKED, PAYLOAD), PAYLOAD)
    records["more"] = records["envelope"]
    reply = fed.honest("clinic", Message(records, 2, "query.lada", group_id="1"))
    envelope, payload = decode(reply.content)
    assert envelope.code is Code.MALFORMED
    assert fed.binding.seal("clinic").is_answering(envelope, payload, "")
