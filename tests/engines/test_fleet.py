"""A node with a key gets its own messages and pushes its own replies, at the real SuperLink, and nothing else."""

from importlib import import_module

import flwr.superlink.cli
import flwr.superlink.main as served
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SUPERLINK_NODE_ID
from superlinks import Node, SuperLink

from lada.engines.operator_secret import VARIABLE
from lada.federation.messages import SERVER, Envelope, encode

AUTH = import_module("flwr.superlink.routers.fleet.node_auth")
ASKED = Envelope("r", "learn", 1, SERVER)


def reply(name):
    return encode(Envelope("r", "learn", 1, name), {})


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """A SuperLink; what it replaced in Flower is put back in the end."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (flwr.superlink.cli, "flower_superlink"),
            (served, "create_app"),
            (uvicorn.Config, "__init__"),
            (AUTH, "authenticate_node"),
        ):
            patch.setattr(module, name, getattr(module, name))
        patch.setenv(VARIABLE, "")  # put back in the end as well
        yield SuperLink(tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def nodes(link):
    return [Node(link, ec.generate_private_key(ec.SECP384R1())) for _ in range(2)]


def test_a_node_answers_what_it_was_asked(link, nodes):
    clinic, _ = nodes
    asked = link.ask(clinic.id, ASKED, {"paths": b"x"})
    assert clinic.pull() == (200, [asked])
    assert clinic.push(reply("clinic"), answers=asked) == 200
    assert link.replies(asked) == clinic.id


def test_it_cannot_speak_as_the_server_to_another(link, nodes, capfd):
    clinic, kitchen = nodes
    before = link.waiting(clinic.id)
    assert kitchen.push(encode(ASKED, {"paths": b"lies"}), source=SUPERLINK_NODE_ID, target=clinic.id) == 403
    assert kitchen.push(encode(ASKED, {"paths": b"lies"}), target=clinic.id) == 403
    assert kitchen.push(encode(ASKED, {"paths": b"lies"}), source=clinic.id, target=clinic.id, answers="x") == 403
    assert link.waiting(clinic.id) == before
    assert clinic.pull() == (200, [])


def test_it_cannot_answer_for_another(link, nodes):
    clinic, kitchen = nodes
    asked = link.ask(clinic.id, ASKED, {"paths": b"x"})
    assert kitchen.pull(clinic.id)[0] == 401
    assert kitchen.push(reply("clinic"), source=clinic.id, answers=asked) == 403
    assert kitchen.push(reply("clinic"), source=clinic.id, answers=asked, node=clinic.id) == 401
    kitchen.push(reply("clinic"), answers=asked)  # as itself: Flower compares with who was asked
    assert link.replies(asked) is None
    assert clinic.pull() == (200, [asked])
    assert clinic.push(reply("clinic"), answers=asked) == 200
    assert link.replies(asked) == clinic.id
