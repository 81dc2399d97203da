"""Flower's real servers, started as LaDa starts them, and one that asks them without being let in."""

import http.client
import json
import os
import ssl
from contextlib import contextmanager

from lada.engines.certificates import write_authority, write_server_certificate
from lada.engines.family import Family, flower, free_port, wait_for_port

NOBODY = 65534
"""A user that is none of those who run anything here."""


@contextmanager
def links(folder, *, tls=False):
    """Give a family and the ports of a SuperLink and, without TLS, of a SuperNode's own interface."""
    with Family() as family:
        family.environment["FLWR_HOME"] = str(family.folder / "flower")
        link, node = free_port(), free_port()
        files = ["--insecure"]
        if tls:
            write_authority(folder, 30)
            write_server_certificate(folder, folder, [], 30)
            names = {"--ssl-ca-certfile": "ca.crt", "--ssl-certfile": "server.crt", "--ssl-keyfile": "server.key"}
            files = [part for option, name in names.items() for part in (option, str(folder / name))]
            files.append("--enable-supernode-auth")
        log = folder / "superlink.log"
        arguments = ["--host", "127.0.0.1", "--port", str(link), "--isolation", "process", *files]
        process = family.start(flower("superlink", *arguments), log)
        wait_for_port(link, process, log)
        if not tls:
            arguments = ["--superlink", f"127.0.0.1:{link}", "--host", "127.0.0.1", "--port", str(node), *files]
            log = folder / "supernode.log"
            wait_for_port(node, family.start(flower("supernode", *arguments, "--isolation", "process"), log), log)
        yield family, link, node, process


def ask(port, path, headers, *, context: ssl.SSLContext | None = None):
    """Post nothing to a path; return the HTTP status, 0 for none."""
    ends = {"host": "127.0.0.1", "port": port, "timeout": 20}
    connection = http.client.HTTPSConnection(**ends, context=context) if context else http.client.HTTPConnection(**ends)
    try:
        connection.putrequest("POST", path)
        for name, value in [("content-type", "application/x-protobuf"), ("content-length", "0"), *headers]:
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def as_nobody(work):
    """Return what `work()`, JSON, comes to as another user of this machine; as this one where that is not allowed."""
    if os.getuid():
        return work()
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = json.load(said)
    os.waitpid(child, 0)
    return answer
