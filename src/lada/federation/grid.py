"""A Flower Grid within one machine: it passes each message, as bytes, to the code that runs the clients.

Only this module uses parts of Flower that are not public: `TaskIdentity`, without which no message can be created;
`Run.create_empty`; and the conversion of messages to protobuf.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as Proto
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from lada.core.errors import FederationError
from lada.federation.client_app import make_client_app
from lada.federation.worker_process import load
from lada.federation.workers import DeadWorkerError, FailedTaskError, Handle

if TYPE_CHECKING:
    from lada.rounds.party import Emit

RUN_ID = 1
SERVER_NODE = 1
# Flower's codes for "the ClientApp raised" and "the client's process crashed".
RAISED, CRASHED = 2, 8


class LocalGrid(Grid):
    """Reaches the named clients through `submit(name, message) -> reply`, both as bytes."""

    def __init__(self, clients: Collection[str], submit: Callable[[str, bytes], Future[bytes]]) -> None:
        """Node ids follow the sorted names, from 2; 1 is the server. It also gives this process its identity."""
        self._names = dict(enumerate(sorted(clients), start=SERVER_NODE + 1))
        self._submit = submit
        self._run = Run.create_empty(RUN_ID)
        self._sent: dict[str, tuple[Message, Future[bytes]]] = {}
        self._count = 0
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, SERVER_NODE, SERVER_NODE

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a new message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of all clients."""
        return list(self._names)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their ids."""
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        self._count += 1
        proto = message_to_proto(message)
        proto.metadata.message_id = f"local-{self._count}"
        data = proto.SerializeToString()
        proto.content.Clear()
        self._sent[proto.metadata.message_id] = (
            message_from_proto(proto),
            self._submit(self._names[message.metadata.dst_node_id], data),
        )
        return proto.metadata.message_id

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that have arrived; each is returned once."""
        ready = [one for one in message_ids if one in self._sent and self._sent[one][1].done()]
        return [self._reply(*self._sent.pop(one)) for one in ready]

    @staticmethod
    def _reply(sent: Message, future: Future[bytes]) -> Message:
        try:
            return read_message(future.result())
        except DeadWorkerError:
            return Message(Error(CRASHED), reply_to=sent)
        except (FailedTaskError, FederationError):
            return Message(Error(RAISED), reply_to=sent)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages, wait at most `timeout` seconds and return the replies that arrived."""
        ids = list(self.push_messages(messages))
        wait([self._sent[one][1] for one in ids], timeout=timeout)
        return self.pull_messages(ids)


def read_message(data: bytes) -> Message:
    """Return the message in some bytes. Raises only FederationError, for any other bytes."""
    try:
        return message_from_proto(Proto.FromString(data))
    except Exception as error:  # protobuf and Flower may raise anything on bytes made to break them
        raise FederationError("message: it is not a message of Flower") from error


def open_clients(config: str, emit: Emit) -> Handle:
    """Return a function that answers messages to the local clients, in any process.

    `config` is JSON: `open_node`, the function for `make_client_app` as `package.module:function`; `clients`, the
    folder that holds their folders; `texts`; and `nodes`, the number of each client's text by name. Between messages,
    only `open_node` keeps anything, since the next message may go to another process.
    """
    options = json.loads(config)
    app: ClientApp = make_client_app(load(options["open_node"]), emit)

    def handle(name: str, data: bytes) -> bytes:
        message = read_message(data)
        node = message.metadata.dst_node_id
        folder, text = f"{options['clients']}/{name}", options["texts"][options["nodes"][name]]
        node_config = {"name": name, "folder": folder, "config": text}
        context = Context(message.metadata.run_id, node, node_config, RecordDict(), {})
        return message_to_proto(app(message, context)).SerializeToString()

    return handle
