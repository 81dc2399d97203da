"""A name is bound to a key at the server, a key to a node of Flower's, and a run asks nobody else by that name."""

import base64
import hashlib
import json
import shutil
import stat
import struct
from subprocess import CompletedProcess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from federations import change, write
from typer.testing import CliRunner

from lada.cli.main import app
from lada.config import make_config
from lada.config_source import read_config
from lada.core.errors import FederationError, InputError
from lada.engines import server
from lada.engines.binding import NODES, read_binding, read_keys, write_binding
from lada.engines.certificates import write_node_key
from lada.engines.client_file import read_client
from lada.engines.family import Family, flower
from lada.engines.identity import fingerprint, seal_of
from lada.engines.server_file import read_server
from lada.engines.setup import init, renew
from lada.federation.client_app import ERROR_LOG, UNSEALED
from lada.federation.messages import SERVER, Envelope


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binding")
    init(write(folder), folder / "fed", port=19000)
    return folder / "fed"


@pytest.fixture
def fed(written, tmp_path):
    """A federation whose files a test may change."""
    return shutil.copytree(written, tmp_path / "fed")


def register(fed, **nodes):
    write_binding(fed / "server", read_keys(fed / "server" / "keys"), nodes)


def test_a_fingerprint_is_that_of_ssh_keygen():
    public = ec.derive_private_key(7, ec.SECP384R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ecdsa-sha2-nistp384", b"nistp384", point))
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    assert fingerprint(public) == "SHA256:" + digest[:43]
    assert digest[43:] == "="


def test_a_run_reads_what_the_server_registered_and_shares_a_seal_with_each_client(fed):
    register(fed, clinic=5, warehouse=2**64 - 3)
    file = fed / "server" / NODES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    enrolled = json.loads(file.read_bytes())
    assert enrolled["clinic"]["fingerprint"] == fingerprint(read_keys(fed / "server" / "keys")["clinic"])
    binding = read_binding(fed / "server", ["clinic"])
    assert binding.names == {5: "clinic", 2**64 - 3: "warehouse"}
    for name in ("clinic", "warehouse"):
        mine = fed / "clients" / name
        assert seal_of(mine / "client.key", mine / "identity.pub", name) == binding.seal(name)
    sealed = binding.seal("clinic").asking(Envelope("r", "learn", 1, SERVER), {})
    assert not binding.seal("warehouse").is_asking(sealed, {})


def test_a_run_without_a_server_or_for_a_client_without_a_key_is_refused(fed):
    config = read_config(fed / "server" / "run.yaml")
    with pytest.raises(InputError, match=r"nodes\.json' is missing or damaged, .*; start `lada server`"):
        server.check_deployment(config, fed / "server")
    register(fed, clinic=5)
    with pytest.raises(InputError, match="clients: 'warehouse' has no key that `lada server` registered"):
        server.check_deployment(config, fed / "server")
    register(fed, clinic=5, warehouse=6)
    server.check_deployment(config, fed / "server")
    write_node_key(fed / "mine", fed / "server" / "keys" / "clinic.pub")
    with pytest.raises(InputError, match="'clinic' has no key that `lada server` registered"):  # another by now
        server.check_deployment(config, fed / "server")
    assert make_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kitchen.pub", "clinic.pub and kitchen.pub in .* hold the same key, and each client needs its own"),
        ("not a name.pub", "is not named after a client; expected NAME.pub"),
    ],
)
def test_a_key_that_is_anothers_or_no_clients_is_refused_at_the_start(fed, name, said):
    keys = fed / "server" / "keys"
    shutil.copy(keys / "clinic.pub", keys / name)
    with pytest.raises(InputError, match=said) as caught:
        server.run_server(fed / "server" / "server.yaml", print)
    assert "\n" not in str(caught.value)


def public(curve):
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@pytest.mark.parametrize("data", [b"", b"no key", public(ec.SECP256R1())])
def test_a_key_that_is_none_is_refused_on_both_sides(fed, data):
    (fed / "server" / "keys" / "clinic.pub").write_bytes(data)
    with pytest.raises(InputError, match=r"keys: .*clinic\.pub' is no key on P-384 .*ssh-keygen -t ecdsa -b 384"):
        server.run_server(fed / "server" / "server.yaml", print)
    (fed / "clients" / "clinic" / "identity.pub").write_bytes(data)
    with pytest.raises(InputError, match=r"identity: .*identity\.pub' is no key on P-384"):
        read_client(fed / "clients" / "clinic" / "client.yaml")


@pytest.mark.parametrize("key", ["key", "identity"])
def test_a_private_key_that_is_none_is_refused(fed, key):
    mine = fed / "clients" / "clinic"
    short = ec.generate_private_key(ec.SECP256R1())
    data = short.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    file = mine / "client.key" if key == "key" else fed / "server" / "identity.key"
    file.write_bytes(data)
    with pytest.raises(InputError, match=rf"{key}: .*\.key' is no key on P-384"):
        read_client(mine / "client.yaml") if key == "key" else server.run_server(fed / "server" / "server.yaml", print)


def test_the_identity_is_for_the_servers_eyes(fed):
    (fed / "server" / "identity.key").chmod(0o644)
    with pytest.raises(InputError, match=r"identity: others may read .*chmod 600"):
        read_server(fed / "server" / "server.yaml")


def test_a_federation_of_an_earlier_version_is_told_what_to_do_and_renewed(fed):
    mine = fed / "clients" / "clinic"
    for file in (fed / "server" / "identity.key", fed / "server" / "identity.pub", *fed.glob("clients/*/identity.pub")):
        file.unlink()
    with pytest.raises(InputError, match=r"identity: there is no file .* run `lada federation renew`"):
        read_server(fed / "server" / "server.yaml")
    with pytest.raises(InputError, match=r"identity: there is no file .* get it from the server's operator"):
        read_client(mine / "client.yaml")
    result = CliRunner().invoke(app, ["doctor", str(mine / "client.yaml")])
    assert result.exit_code == 2
    assert "identity: there is no file" in result.output
    assert renew(fed)
    register(fed, clinic=5, warehouse=6)
    binding = read_binding(fed / "server", ["clinic", "warehouse"])
    assert seal_of(mine / "client.key", mine / "identity.pub", "clinic") == binding.seal("clinic")
    before = (fed / "server" / "identity.key").read_bytes()
    assert not renew(fed)
    assert (fed / "server" / "identity.key").read_bytes() == before


def test_doctor_tells_of_messages_that_were_refused(fed):
    mine = fed / "clients" / "clinic"
    (mine / "state").mkdir()
    (mine / "state" / ERROR_LOG).write_text(f"FederationError: {UNSEALED}\n" * 3)
    change(mine / "client.yaml", superlink="127.0.0.1:1")
    result = CliRunner().invoke(app, ["doctor", str(mine / "client.yaml")])
    assert result.exit_code == 1
    assert "3 messages were refused, since the server had not sealed them for this client" in result.output


def test_the_node_is_what_flower_says_it_made_of_the_key(tmp_path):
    said, called = ['{"success": true, "node-id": 18446744073709551613}'], []

    def call(command):
        called.append(command)
        return CompletedProcess(command, 1, stdout=said[-1], stderr="")

    key = tmp_path / "clinic.pub"
    with Family() as family:
        family.call = call
        assert server._register(family, key) == 18446744073709551613
        assert called == [flower("flwr", "supernode", "register", str(key), "federation", "--format", "json")]
        for answer in ("Public key in use", '{"success": false}'):
            said.append(answer)
            with pytest.raises(FederationError, match=rf"keys: clinic\.pub cannot be registered: {answer}"):
                server._register(family, key)
