"""A deployment's server and clients in one process: real exchange, roster, seals and ClientApp, and nodes that lie."""

import itertools
from concurrent.futures import Future

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_to_proto
from toy_nodes import ToyNode

from lada.federation.bound import Binding, Bound
from lada.federation.client_app import make_client_app
from lada.federation.exchange import GridExchange
from lada.federation.grid import LocalGrid, read_message
from lada.federation.journal import Journal
from lada.federation.ledger import Ledger
from lada.federation.messages import Envelope, decode, encode
from lada.federation.seal import of_client, of_server
from lada.federation.session import Rules, Session

NAMES = ("clinic", "kitchen", "ward")
NUMBERS = itertools.count()


class Present(LocalGrid):
    """A grid that some nodes are away from."""

    away = frozenset()

    def get_node_ids(self):
        return [node for node in super().get_node_ids() if self._names[node] not in self.away]


class Sealed:
    """Three clients with keys. `lies[name]` takes the place of a client's own answer to a message."""

    def __init__(self, folder):
        self.folder = folder
        keys = {name: ec.generate_private_key(ec.SECP384R1()) for name in NAMES}
        identity = ec.generate_private_key(ec.SECP384R1())
        self.binding = Binding(
            {
                name: Bound(node, of_server(identity, keys[name].public_key(), name))
                for node, name in enumerate(NAMES, start=2)
            }
        )
        self.seals = {name: of_client(keys[name], identity.public_key(), name) for name in NAMES}
        self.lies = {}
        self.asked = []
        self.handled = []
        self.grid = Present(NAMES, self.submit)
        self.ledger = Ledger(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ledger.close()

    def submit(self, name, data):
        message, future = read_message(data), Future()
        self.asked.append((name, message))
        reply = self.lies.get(name, self.honest)(name, message)
        future.set_result(message_to_proto(reply).SerializeToString())
        return future

    def honest(self, name, message):
        """Answer as the client's own ClientApp does."""

        def open_node(context, run, emit):
            self.handled.append((name, run))
            return ToyNode(context, emit)

        app = make_client_app(open_node, open_seal=lambda: self.seals[name])
        node_config = {"name": name, "folder": str(self.folder / name), "config": ""}
        return app(message, Context(1, 2, node_config, RecordDict(), {}))

    def deliver(self, name, envelope, payload, number=1):
        """Hand a client a message from any sender; return the client's reply."""
        node = NAMES.index(name) + 2
        message = Message(encode(envelope, payload), node, "query.lada", group_id=str(number))
        return decode(self.honest(name, message).content)

    def exchange(self, names=NAMES, *, quorum=0.3, missing=None, timeout=0.05):
        """Return an exchange that is connected."""
        journal = Journal(self.folder / f"journal-{next(NUMBERS)}")
        session = Session(
            run="r",
            folder=self.folder,
            rules=Rules(timeout=timeout, quorum=quorum, reply_bytes=20 << 20),
            journal=lambda round: journal.at(str(round)),
            on_missing=(missing if missing is not None else []).append,
            binding=self.binding,
        )
        exchange = GridExchange(self.grid, names, session, self.ledger)
        exchange.connect()
        return exchange


def claiming(other, seal, payload=None, code=None):
    """Return a lie: the answer that a node gives in another client's name, sealed with what it has."""

    def lie(_, message):
        envelope, got = decode(message.content)
        reply = Envelope(envelope.run, envelope.phase, envelope.round, other, code, code and "0" * 8)
        told = {} if code else (got if payload is None else payload)
        sealed = seal.answering(reply, told, envelope.mac or "") if seal else reply
        return Message(encode(sealed, told), reply_to=message)

    return lie
