"""Flower's own SuperLink in this process, set up as `lada server` sets it up, and nodes that ask what they like."""

import asyncio
import datetime
import os
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flwr.superlink.cli
import flwr.superlink.main as served
import httpx
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID, SUPERLINK_NODE_ID, TIMESTAMP_HEADER
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest
from flwr.proto.node_pb2 import Node as NodeProto
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER, NOOP_FEDERATION_ID
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.task_identity import TaskIdentity

from lada.engines import flower
from lada.engines.fence import KEY
from lada.engines.operator_secret import VARIABLE, make_secret
from lada.federation.messages import MESSAGE_TYPE, encode


class SuperLink:
    """A SuperLink with one active run."""

    def __init__(self, folder: Path):
        """Keep the operator's secret in a folder."""
        os.environ[VARIABLE] = str(make_secret(folder))
        flwr.superlink.cli.flower_superlink = lambda: None  # what the launcher starts once all is set up
        flower.superlink()
        fenced: Any = served.create_app()
        door: Any = SimpleNamespace(
            know=lambda _: None, client=("127.0.0.1", 1)
        )  # stands for the connection that uvicorn would have

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await fenced({**scope, "extensions": {KEY: door}}, receive, send)

        self._app = app
        self.state = fenced._app.state.linkstate_factory.state()
        self.run = self.state.create_run("", "", "", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, "flwr-serverapp")
        task = self.state.get_run_info(run_ids=[self.run])[0].primary_task_id
        assert self.state.claim_task(task)
        assert self.state.activate_task(task)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self.run, SUPERLINK_NODE_ID, task

    def post(self, path, content, headers):
        """Hand over a request as a connection does; return the response."""

        async def send():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="https://link") as http:
                return await http.post(path, content=content, headers=headers)

        return asyncio.run(send())

    def ask(self, node, envelope, payload):
        """Send a message to a node as a ServerApp does; return its id."""
        message = Message(encode(envelope, payload), node, MESSAGE_TYPE, group_id="1")
        message.metadata.__dict__["_message_id"] = message.object_id
        tree = get_object_tree(message)
        stored, _ = self.state.store_message_and_object_tree(message, tree, self.state.start_session(self.run))
        assert stored
        return message.metadata.message_id

    def waiting(self, node):
        """Return how many messages lie ready for a node."""
        return sum(one.metadata.dst_node_id == node for one in self.state.message_ins_store.values())

    def replies(self, message_id):
        """Return the node whose reply to a message has arrived, or None if there is none."""
        reply = self.state.message_ins_id_to_message_res_id.get(message_id)
        return reply and self.state.message_res_store[reply].metadata.src_node_id


class Node:
    """The owner of a key that the server has registered."""

    def __init__(self, link, key):
        self.link, self.key = link, key
        self.public = public_key_to_bytes(key.public_key())
        self.id = link.state.create_node(NOOP_FLWR_AID, "", self.public, 30.0)
        assert link.state.activate_node(self.id, 30.0)

    def post(self, path, request):
        """Sign a request and send it; return the status and the answer's bytes."""
        timestamp = datetime.datetime.now(datetime.UTC).isoformat()
        headers = {
            FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(self.public).decode(),
            TIMESTAMP_HEADER: timestamp,
            FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(self.key, timestamp.encode())).decode(),
            "content-type": PROTOBUF_MEDIA_TYPE,
        }
        got = self.link.post(f"/v1/fleet/{path}", request.SerializeToString(), headers)
        return got.status_code, got.content

    def pull(self, node=None):
        """Ask for the next message to a node, by default this one; return the status and its id."""
        status, data = self.post("pull-messages", PullMessagesRequest(node=NodeProto(node_id=node or self.id)))
        messages = PullMessagesResponse.FromString(data).messages_list if status == 200 else []
        return status, [one.metadata.message_id for one in messages]

    def push(self, content, *, source=None, target=SUPERLINK_NODE_ID, answers="", node=None):
        """Push a message; return the status. `source` is the node that it says it is from, `node` who says to push."""
        message = Message(content, target, MESSAGE_TYPE, ttl=60.0, group_id="1")
        message.metadata.__dict__ |= {"_src_node_id": source or self.id, "_reply_to_message_id": answers}
        message.metadata.__dict__["_message_id"] = message.object_id
        request = PushMessagesRequest(
            node=NodeProto(node_id=node or self.id),
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
            clientapp_runtime_list=[1.0],
        )
        return self.post("push-messages", request)[0]
