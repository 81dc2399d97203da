"""What a client makes of the server that it finds, over real TLS on loopback."""

import socket
import ssl
import stat
import threading
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from federations import change, write
from typer.testing import CliRunner

from lada.cli.main import app
from lada.core.errors import InputError
from lada.engines import link
from lada.engines.certificates import (
    check_server_certificate,
    write_authority,
    write_node_key,
    write_server_certificate,
)
from lada.engines.setup import init


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    write_authority(folder, 30)
    return folder


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(link, "SECONDS", 5.0)


@contextmanager
def listening(context=None):
    """Accept one connection after another on a free port; without a context in plain text."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        if context:
                            context.wrap_socket(connection, server_side=True).close()
                        else:
                            connection.recv(100)
                            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    except OSError:
                        pass

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def server(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


def test_a_server_of_the_own_authority_is_trusted_by_each_of_its_names(authority, tmp_path):
    write_server_certificate(authority, tmp_path, ["fed.example.org", "192.0.2.7"], 1)
    with listening(server(tmp_path)) as port:
        for host in ("127.0.0.1", "localhost"):
            assert link.fault(f"{host}:{port}", authority / "ca.crt") is None
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fed.example.org", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, "the server's certificate has expired; its operator renews it"), (1, "is not signed by ca.crt")],
)
def test_an_expired_and_a_foreign_certificate_are_refused(authority, tmp_path, days, said):
    signer = authority
    if days:
        signer = tmp_path / "other"
        signer.mkdir()
        write_authority(signer, 1)
    write_server_certificate(signer, tmp_path, [], days)
    with listening(server(tmp_path)) as port:
        assert said in str(link.fault(f"127.0.0.1:{port}", authority / "ca.crt"))


def test_the_doctor_says_whether_a_client_reaches_its_server(authority, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    init(write(tmp_path), tmp_path / "fed")
    client = tmp_path / "fed" / "clients" / "clinic" / "client.yaml"
    for folder, code, said in (
        (tmp_path / "fed" / "server", 0, "answers over TLS, with a certificate of the federation's authority"),
        (tmp_path, 1, "is not signed by ca.crt"),
    ):
        if code:
            write_server_certificate(authority, folder, [], 1)
        with listening(server(folder)) as port:
            change(client, superlink=f"127.0.0.1:{port}")
            result = CliRunner().invoke(app, ["doctor", str(client)])
        assert (result.exit_code, said in result.output) == (code, True), result.output


def test_a_certificate_for_another_name_is_refused(authority, tmp_path, monkeypatch):
    monkeypatch.setattr("lada.engines.certificates.LOCAL", ())
    write_server_certificate(authority, tmp_path, ["fed.example.org"], 1)
    with listening(server(tmp_path)) as port:
        assert "is not for '127.0.0.1'" in str(link.fault(f"127.0.0.1:{port}", authority / "ca.crt"))


def test_plain_text_silence_and_a_broken_file_are_told_apart(authority, tmp_path):
    with listening() as port:
        assert "does not speak TLS" in str(link.fault(f"127.0.0.1:{port}", authority / "ca.crt"))
    assert "cannot be reached" in str(link.fault(f"127.0.0.1:{port}", authority / "ca.crt"))
    (tmp_path / "ca.crt").write_text("no certificate")
    assert "not a valid PEM file" in str(link.fault("127.0.0.1:1", tmp_path / "ca.crt"))


def test_private_keys_are_for_their_owner_alone(authority, tmp_path):
    write_server_certificate(authority, tmp_path, [], 1)
    write_node_key(tmp_path / "client.key", tmp_path / "c.pub")
    for file in (authority / "ca.key", tmp_path / "server.key", tmp_path / "client.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = load_ssh_private_key((tmp_path / "client.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"
    public = load_ssh_public_key((tmp_path / "c.pub").read_bytes())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.public_numbers() == key.public_key().public_numbers()


def test_without_the_authority_nothing_is_signed(tmp_path):
    with pytest.raises(InputError, match=r"lacks a valid ca\.key or ca\.crt"):
        write_server_certificate(tmp_path, tmp_path, [], 1)


def test_a_host_that_is_none_is_refused(authority, tmp_path):
    with pytest.raises(InputError, match="neither a host name nor an IP address"):
        write_server_certificate(authority, tmp_path, ["größe.example"], 1)


def test_a_server_does_not_start_with_a_certificate_that_nobody_would_trust(authority, tmp_path):
    write_server_certificate(authority, tmp_path, [], 40)
    assert check_server_certificate(tmp_path / "server.crt", authority / "ca.crt") == 39  # and most of a day
    write_authority(tmp_path, 1)
    with pytest.raises(InputError, match=r"is not signed by .*ca\.crt.* of one federation"):
        check_server_certificate(tmp_path / "server.crt", tmp_path / "ca.crt")
    write_server_certificate(authority, tmp_path, [], 0)
    with pytest.raises(InputError, match=r"expired on \d{4}-\d\d-\d\d.*call `lada federation renew`"):
        check_server_certificate(tmp_path / "server.crt", authority / "ca.crt")
    (tmp_path / "server.crt").write_text("no certificate")
    with pytest.raises(InputError, match=r"server\.crt or ca\.crt is not valid PEM"):
        check_server_certificate(tmp_path / "server.crt", authority / "ca.crt")


IMPOSSIBLE = [
    "",
    " ",
    "a b",
    "*",
    "*.example.org",
    "a" * 64,
    "a." * 130 + "a",
    "bücher.example",
    "fe80::1%eth0",
    "[::1]",
]
IMPOSSIBLE += [
    "host:9092",
    "http://host",
    "a\nb",
    "a\x00b",
    "a..b",
    ".",
    "example.org.",
    "-a",
    "a-",
    "999.1.1.1",
    "10.0.1",
]


@pytest.mark.parametrize("host", IMPOSSIBLE)
def test_a_host_that_no_client_could_reach_is_refused_in_one_line_that_names_the_option(authority, tmp_path, host):
    with pytest.raises(InputError, match=r"^--host: .* is neither a host name nor an IP address; expected") as caught:
        write_server_certificate(authority, tmp_path, ["fed.example.org", host], 30)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "host", ["localhost", "fed.example.org", "xn--bcher-kva.example", "lada_server", "7.example", "10.0.0.1", "::1"]
)
def test_a_host_that_a_client_can_reach_is_in_the_certificate(authority, tmp_path, host):
    write_server_certificate(authority, tmp_path, [host], 30)
    names = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes()).extensions
    held = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert host in map(str, [*held.get_values_for_type(x509.DNSName), *held.get_values_for_type(x509.IPAddress)])


def test_a_host_that_is_none_ends_the_commands_with_one_line(tmp_path):
    config = write(tmp_path)
    done = CliRunner().invoke(app, ["federation", "init", str(config), "--folder", str(tmp_path / "f"), "--host", ""])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: --host: '' is neither a host name nor an IP address")
    assert len(done.stderr.splitlines()) == 1
    long = CliRunner().invoke(app, ["federation", "init", str(config), "--days", "10000000"])
    assert long.exit_code == 2
    assert "--days" in long.stderr
