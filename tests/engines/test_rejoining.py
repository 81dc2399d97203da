"""A message that a SuperNode took and did not answer is told to be lost when that node is there again."""

import pytest
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState

from lada.engines.flower import forget_lost_messages


class Lock:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class Meta:
    def __init__(self, node, delivered):
        self.metadata = type("Metadata", (), {"dst_node_id": node, "delivered_at": delivered})


class State:
    """As much of Flower's state as is looked at."""

    def __init__(self, activates):
        self.lock, self.activates = Lock(), activates
        self.message_ins_store = {
            "taken": Meta(7, "at noon"),
            "waiting": Meta(7, ""),
            "answered": Meta(7, "at noon"),
            "another's": Meta(8, "at noon"),
        }
        self.message_ins_id_to_message_res_id = {"answered": "reply"}

    def delete_messages(self, ids):
        for one in ids:
            del self.message_ins_store[one]


@pytest.mark.parametrize("activates", [True, False])
def test_only_what_was_taken_and_not_answered_by_a_node_that_comes_back(monkeypatch, activates):
    monkeypatch.setattr(InMemoryLinkState, "activate_node", lambda self, node, interval: self.activates)
    forget_lost_messages()
    state = State(activates)
    assert InMemoryLinkState.activate_node(state, 7, 30) is activates  # pyright: ignore
    left = set(state.message_ins_store)
    assert left == {"taken", "waiting", "answered", "another's"} - ({"taken"} if activates else set())
