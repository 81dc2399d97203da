"""If a client's handshake fails, the log says what to do: with uvicorn's context and with Flower's."""

import asyncio
import os
import socket
import ssl

import pytest

from lada.engines import link
from lada.engines.certificates import write_authority, write_server_certificate
from lada.engines.family import Family, flower, free_port, wait_for_port
from lada.engines.handshake import OTHERWISE, told_of


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A folder with authority, certificate and key."""
    folder = tmp_path_factory.mktemp("ours")
    write_authority(folder, 30)
    write_server_certificate(folder, folder, [], 30)
    return folder


def context(folder, least):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.minimum_version = least
    return context


def told(folder, meet, least=ssl.TLSVersion.TLSv1_2):
    """Return what `meet(address)` came to, and what was logged about it."""
    logged = []

    async def close(_reader, writer):
        writer.close()

    async def go():
        made = told_of(lambda _, text: logged.append(text))(None, lambda: context(folder, least))
        server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=made)
        async with server:
            port = server.sockets[0].getsockname()[1]
            outcome = await asyncio.to_thread(meet, f"127.0.0.1:{port}")
            await asyncio.sleep(0.1)  # what the client said last is on its way
        return outcome

    return asyncio.run(go()), logged


def plain(address):
    """Speak plain text, as a SuperNode with --insecure does."""
    import httpx

    with pytest.raises(httpx.TransportError):
        httpx.post(f"http://{address}/v1/fleet/create-node", timeout=5)


def test_a_client_that_trusts_the_server_is_not_told_of(ours):
    assert told(ours, lambda address: link.fault(address, ours / "ca.crt")) == (None, [])


def test_plain_text_is_told_of(ours):
    _, logged = told(ours, plain)
    assert logged == [
        "refused: a client without a sound TLS handshake (HTTP_REQUEST): it speaks plain text, which is not "
        "accepted; start it with `lada client`"
    ]


def test_both_sides_tell_of_an_authority_that_is_not_the_clients(ours, tmp_path):
    write_authority(tmp_path, 1)
    fault, (line,) = told(ours, lambda address: link.fault(address, tmp_path / "ca.crt"))
    assert "is not signed by ca.crt" in str(fault)
    assert "give it the federation's ca.crt" in line


def test_both_sides_tell_of_a_certificate_that_has_expired(ours, tmp_path):
    write_server_certificate(ours, tmp_path, [], 0)
    fault, (line,) = told(tmp_path, lambda address: link.fault(address, ours / "ca.crt"))
    assert "has expired; its operator renews it with `lada federation renew`" in str(fault)
    assert "call `lada federation renew`, start `lada server` again" in line


def test_both_sides_tell_of_a_certificate_for_another_name(ours, tmp_path, monkeypatch):
    monkeypatch.setattr("lada.engines.certificates.LOCAL", ())
    write_server_certificate(ours, tmp_path, ["fed.example.org"], 1)
    fault, (line,) = told(tmp_path, lambda address: link.fault(address, ours / "ca.crt"))
    assert "is not for '127.0.0.1'" in str(fault)
    assert "a name that server.crt does not hold" in line


def test_of_anything_else_there_is_advice_too(ours):
    def old(address):
        context = ssl.create_default_context(cafile=ours / "ca.crt")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        host, port = address.split(":")
        with socket.create_connection((host, int(port))) as connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_hostname=host)

    _, (line,) = told(ours, old, least=ssl.TLSVersion.TLSv1_3)
    assert line.endswith(OTHERWISE)


@pytest.mark.skipif(os.name != "posix", reason="needs Unix sockets")
def test_flowers_server_tells_of_it(ours, tmp_path):
    port, log = free_port(), tmp_path / "superlink.log"
    names = {"--ssl-ca-certfile": "ca.crt", "--ssl-certfile": "server.crt", "--ssl-keyfile": "server.key"}
    files = [part for option, name in names.items() for part in (option, str(ours / name))]
    with Family() as family:
        family.environment["FLWR_HOME"] = str(family.folder)
        arguments = ["superlink", "--host", "127.0.0.1", "--port", str(port), *files]
        wait_for_port(port, family.start(flower(*arguments), log), log)
        plain(f"127.0.0.1:{port}")
        assert link.fault(f"127.0.0.1:{port}", ours / "ca.crt") is None
    assert "it speaks plain text, which is not accepted" in log.read_text()
