"""Restricts what a node may push to Flower's server: only its own replies to the server.

Flower checks that a request's node owns the key that signed it, but it believes the messages inside: a node with a key
could push a message to another node as if it came from the server.
"""

from collections.abc import Callable
from logging import WARNING
from typing import Any

from fastapi import HTTPException, Request
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import PushMessagesRequest

FORBIDDEN = 403


def own_replies_alone(authenticate: Callable[[Request], None], log: Callable[..., None]) -> Callable[[Request], None]:
    """Return a replacement for Flower's `authenticate_node`. It also refuses messages that are not the node's own
    replies to the server."""
    refused = 0

    def check(request: Request) -> None:
        nonlocal refused
        authenticate(request)
        pushed: Any = request.state.protobuf_request
        if not isinstance(pushed, PushMessagesRequest):
            return
        node = pushed.node.node_id
        for message in pushed.messages_list:
            said = message.metadata
            if said.src_node_id == node and said.dst_node_id == SUPERLINK_NODE_ID and said.reply_to_message_id:
                continue
            refused += 1
            log(
                WARNING,
                "refused: node %s pushed a message from node %s to node %s, in answer to %r; a node may push its own "
                "replies alone. Its name is in nodes.json; take its key out of `keys` unless you know why (%s so far)",
                node,
                said.src_node_id,
                said.dst_node_id,
                said.reply_to_message_id[:64],
                refused,
            )
            raise HTTPException(FORBIDDEN, "A node may push its own replies alone")

    return check
