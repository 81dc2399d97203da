from concurrent.futures import Future

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Proto
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from lada.federation.grid import LocalGrid
from lada.federation.messages import MESSAGE_TYPE
from lada.federation.workers import DeadWorkerError


def reverse(data: bytes) -> bytes:
    """A client that sends its message's text back, reversed."""
    message = message_from_proto(Proto.FromString(data))
    text = str(message.content.config_records["c"]["text"])
    return message_to_proto(
        Message(RecordDict({"c": ConfigRecord({"text": text[::-1]})}), reply_to=message)
    ).SerializeToString()


def done(name, data):
    future = Future()
    future.set_result(reverse(data))
    return future


def content(text: str) -> RecordDict:
    return RecordDict({"c": ConfigRecord({"text": text})})


def test_what_flower_does_not_publish_is_as_we_use_it():
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 7, 8, 9
    message = Message(content("x"), 3, MESSAGE_TYPE)
    assert (message.metadata.run_id, message.metadata.src_node_id, message.metadata.src_task_id) == (7, 8, 9)
    assert Run.create_empty(5).run_id == 5
    proto = message_to_proto(message)
    proto.metadata.message_id = "given"
    back = message_from_proto(Proto.FromString(proto.SerializeToString()))
    assert back.metadata.message_id == "given"
    assert back.content == message.content
    reply = Message(content("y"), reply_to=back)
    assert reply.metadata.reply_to_message_id == "given"
    assert (reply.metadata.src_node_id, reply.metadata.dst_node_id) == (3, 8)


def test_nodes_follow_the_sorted_names():
    grid = LocalGrid(["b", "a"], done)
    assert list(grid.get_node_ids()) == [2, 3]
    assert [node.node_id for node in grid.get_nodes()] == [2, 3]
    assert grid.run.run_id == 1


def test_messages_are_copied_and_each_reply_is_given_out_once():
    asked = []

    def submit(name, data):
        asked.append(name)
        return done(name, data)

    grid = LocalGrid(["a", "b"], submit)
    message = grid.create_message(content("abc"), MESSAGE_TYPE, 3, "1")
    (one,) = grid.push_messages([message])
    message.content["c"] = ConfigRecord({"text": "changed after it was sent"})
    (reply,) = grid.pull_messages([one, "unknown"])
    assert asked == ["b"]
    assert reply.content == content("cba")
    assert (reply.metadata.reply_to_message_id, reply.metadata.src_node_id) == (one, 3)
    assert list(grid.pull_messages([one])) == []


def test_send_and_receive_returns_what_is_there_at_the_timeout():
    def submit(name, data):
        return done(name, data) if name == "a" else Future()

    grid = LocalGrid(["a", "b"], submit)
    messages = [Message(content("xy"), node, MESSAGE_TYPE) for node in grid.get_node_ids()]
    (reply,) = grid.send_and_receive(messages, timeout=0.01)
    assert reply.content == content("yx")


def test_a_dead_worker_is_flowers_crash_and_another_exception_is_raised_here():
    future: Future[bytes] = Future()
    grid = LocalGrid(["a"], lambda name, data: future)
    (one,) = grid.push_messages([Message(content("x"), 2, MESSAGE_TYPE)])
    assert list(grid.pull_messages([one])) == []
    future.set_exception(DeadWorkerError())
    (reply,) = grid.pull_messages([one])
    assert (reply.error.code, reply.error.reason) == (8, None)
    assert reply.metadata.reply_to_message_id == one

    future = Future()
    (one,) = grid.push_messages([Message(content("x"), 2, MESSAGE_TYPE)])
    future.set_exception(OSError("events.jsonl: disk full"))
    with pytest.raises(OSError, match="disk full"):
        grid.pull_messages([one])
