"""What a federation must refuse, in real processes of Flower's: each is refused, and a log says what to do."""

import json
import os
import shutil
import time

import pytest
from federations import change, comparable, write
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as Proto
from flwr.proto.message_pb2 import Metadata
from flwr.proto.node_pb2 import Node
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from httpx import HTTPStatusError

import lada
from lada.core.results import Results
from lada.engines.binding import NODES
from lada.engines.certificates import write_authority, write_node_key, write_server_certificate
from lada.engines.family import Family, flower, free_port, python, wait_for_port
from lada.engines.identity import read_private
from lada.engines.server import online, reach
from lada.engines.server_file import read_server
from lada.engines.setup import init
from lada.federation import party_cache

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets"),
]
SECONDS = 400
ROGUE = os.path.join(os.path.dirname(__file__), "rogue_server.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def family():
    """What the tests start ends with them."""
    with Family(grace=30) as family:
        yield family


@pytest.fixture(scope="module")
def fed(folder, family):
    """A server that plays tricks, and two clients of which one takes small messages alone."""
    fed = folder / "fed"
    init(write(folder), fed, port=free_port())
    change(fed / "clients" / "clinic" / "client.yaml", limits={"max_message_bytes": 10**6})
    server = fed / "server"
    reach(family, read_server(server / "server.yaml"), server)
    family.start([*python("lada")[:1], ROGUE, str(server / "server.yaml")], server / "server.log")
    wait(server / "server.log", "ready:")
    for name in ("clinic", "warehouse"):
        mine = fed / "clients" / name
        family.start(python("lada", "client", str(mine / "client.yaml")), mine / "client.log")
    deadline = time.monotonic() + SECONDS
    while online(family) < 2:
        assert time.monotonic() < deadline
    return fed


def read(log):
    return log.read_text(errors="replace") if log.exists() else ""


def wait(log, *texts):
    """Wait until a log says all of it."""
    deadline = time.monotonic() + SECONDS
    while not all(text in read(log) for text in texts):
        assert time.monotonic() < deadline, f"{texts} not in: {read(log)[-3000:]}"
        time.sleep(0.2)


def stranger(folder, fed, name):
    """Return a copy of a client's files."""
    mine = folder / name
    shutil.copytree(fed / "clients" / "clinic", mine, ignore=shutil.ignore_patterns("state", "*.log"))
    return mine


def says(family, mine, *texts):
    """Let a client take part until its log says all of it."""
    process = family.start(python("lada", "client", str(mine / "client.yaml")), mine / "client.log")
    wait(mine / "client.log", *texts)
    process.terminate()
    assert process.wait(60) == 0


def run(family, folder, fed, name, *more):
    """Run an experiment in the federation; return how the command ended and what it printed."""
    arguments = ["--engine", "deployment", "--federation", str(fed / "server"), "--runs", str(folder / "runs")]
    command = python("lada", "run", str(fed / "server" / "run.yaml"), "--name", name, *arguments, *more)
    process = family.start(command, folder / f"{name}.log")
    return process.wait(SECONDS), read(folder / f"{name}.log")


def results(folder, name):
    return Results.model_validate_json((folder / "runs" / name / "results.json").read_text())


def test_an_unknown_key(folder, family, fed):
    mine = stranger(folder, fed, "unknown")
    write_node_key(mine / "client.key", mine / "clinic.pub")
    says(family, mine, "the server does not know this client's key", "give its operator what `ssh-keygen -y -f")
    wait(fed / "server" / "superlink.log", "its key is not registered here", "put the client's public key into")


def test_plain_text(folder, family, fed):
    address = f"127.0.0.1:{read_server(fed / 'server' / 'server.yaml').port}"
    before = online(family)
    arguments = ["--superlink", address, "--insecure", "--host", "127.0.0.1", "--port", str(free_port())]
    node = family.start(flower("supernode", *arguments), folder / "plain.log")
    wait(fed / "server" / "superlink.log", "it speaks plain text, which is not accepted", "`lada client`")
    node.terminate()
    assert online(family) == before


def test_a_foreign_authority(folder, family, fed):
    mine = stranger(folder, fed, "misled")
    write_authority(mine, 1)
    says(family, mine, "the server's certificate is not signed by ca.crt", "get the federation's ca.crt from its")
    wait(fed / "server" / "superlink.log", "it does not trust this server", "give it the federation's ca.crt")
    assert not (mine / "state" / "logs" / "supernode.log").exists()


def test_an_expired_certificate(folder, family, fed):
    mine, expired = stranger(folder, fed, "late"), folder / "expired"
    shutil.copytree(fed / "server", expired, ignore=shutil.ignore_patterns("*.log"))
    write_server_certificate(fed / "ca", expired, [], 0)
    port = free_port()
    change(expired / "server.yaml", port=port)
    server = family.start(python("lada", "server", str(expired / "server.yaml")), expired / "server.log")
    assert server.wait(SECONDS) == 2  # it does not even start; one that is up when its certificate expires goes on:
    assert "call `lada federation renew` where the authority's key is" in " ".join(read(expired / "server.log").split())
    names = {"--ssl-ca-certfile": "ca.crt", "--ssl-certfile": "server.crt", "--ssl-keyfile": "server.key"}
    files = [part for option, name in names.items() for part in (option, str(expired / name))]
    log = expired / "superlink.log"
    link = family.start(flower("superlink", "--host", "127.0.0.1", "--port", str(port), *files), log)
    wait_for_port(port, link, log)
    change(mine / "client.yaml", superlink=f"127.0.0.1:{port}")
    says(family, mine, "the server's certificate has expired; its operator renews it with `lada federation renew`")
    wait(log, "server.crt has expired, by its clock; call `lada federation renew`")
    link.terminate()
    assert not (mine / "state" / "logs" / "supernode.log").exists()


def test_a_client_that_speaks_as_the_server_or_for_another(folder, family, fed):
    """With the real processes of Flower's, over TLS: a client that has its key and pushes what it likes."""
    listed = json.loads((fed / "server" / NODES).read_text())
    key = read_private(fed / "clients" / "warehouse" / "client.key", "key")
    port = read_server(fed / "server" / "server.yaml").port
    interceptors = [NodeAuthHttpInterceptor(key, key.public_key())]
    certificate = str(fed / "clients" / "warehouse" / "ca.crt")
    me, other = listed["warehouse"]["node"], listed["clinic"]["node"]
    with FleetHttpClient.from_server_address(
        f"127.0.0.1:{port}", False, certificate, interceptors=interceptors
    ) as client:
        for source, target in ((SUPERLINK_NODE_ID, other), (other, SUPERLINK_NODE_ID)):
            metadata = Metadata(run_id=1, message_id="0" * 64, src_node_id=source, dst_node_id=target, ttl=60.0)
            request = PushMessagesRequest(node=Node(node_id=me), messages_list=[Proto(metadata=metadata)])
            with pytest.raises(HTTPStatusError) as caught:
                client.PushMessages(request)
            assert caught.value.response.status_code == 403
        with pytest.raises(HTTPStatusError) as caught:
            client.PullMessages(PullMessagesRequest(node=Node(node_id=other)))
        assert caught.value.response.status_code == 401
    wait(
        fed / "server" / "superlink.log", f"refused: node {me} pushed a message from node 1 to node {other}", "2 so far"
    )


def test_replayed_forged_and_oversized_messages_change_nothing(folder, family, fed):
    local = lada.run(folder / "run.yaml", runs=folder / "local")
    party_cache.forget()
    code, printed = run(family, folder, fed, "replays")
    assert code == 0, printed
    told = json.loads((folder / "runs" / "replays" / "tricks.json").read_text())
    assert {name: (code, same) for name, (code, _, same) in told.items()} == {
        "the same again": (None, True),
        "an old one": ("failed", False),
        "other content": ("failed", False),
        "of another run": ("failed", False),
        "not sealed": ("malformed", False),
        "other content, the old seal": ("malformed", False),
        "another run, the old seal": ("malformed", False),
        "too large": ("malformed", False),
    }
    assert comparable(results(folder, "replays")) | {"name": "small"} == comparable(local)
    for exchange in results(folder, "replays").wall_clock.exchanges:
        assert exchange.exchange is not None
        assert [one.party for one in exchange.clients] == ["clinic", "warehouse"]
    log = read(fed / "clients" / "clinic" / "state" / "errors.log")
    for name, said in {
        "an old one": "it is a replay. Nothing was changed; ask the server's operator",
        "other content": "two servers have the same name. Nothing was changed; ask the server's operator",
        "of another run": "a message of a run that this client has no part in is refused",
        "not sealed": "the server did not seal it for this client",
        "other content, the old seal": "the server did not seal it for this client",
        "another run, the old seal": "the server did not seal it for this client",
        "too large": "let the sender send less, or raise limits.max_message_bytes",
    }.items():
        _, reference, _ = told[name]
        assert said in log[log.index(f"reference {reference}") :].split(" reference ")[0], name


def test_a_replayed_reply_and_one_that_is_too_large(folder, family, fed):
    code, printed = run(family, folder, fed, "forged", "--set", "quorum=0.5")
    assert code == 3, printed
    assert "lost on the way: clinic in round 1 (learn): " in " ".join(printed.split())
    (gone,) = results(folder, "forged").missing
    assert (gone.party, gone.round, gone.phase) == ("clinic", 1, "learn")
    assert "it is not sealed in answer to this message, so it is a replay or from another sender" in gone.why
    assert "1 reply of the node of clinic dropped" in " ".join(results(folder, "forged").notices)
    assert gone.why in (folder / "runs" / "forged" / "report.html").read_text()
    code, printed = run(family, folder, fed, "narrow", "--set", "limits.max_message_bytes=100")
    assert code == 1
    assert "the limit is 100; let the sender send less, or raise limits.max_message_bytes" in " ".join(printed.split())
