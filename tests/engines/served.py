"""An app behind the real fence and the real door, on a real uvicorn in a thread, and strangers that speak to it raw."""

import socket
import ssl
import threading
import time
from contextlib import contextmanager

import uvicorn

from lada.engines.door import Door
from lada.engines.fence import FLEET, Fence

SECRET = "a secret of the operator's"
PATH = f"{FLEET}push-object"


class Served:
    """What was logged, what reached the app, and where it is served."""

    def __init__(self):
        self.logged, self.reached, self.port = [], [], 0

    def log(self, _level, text):
        self.logged.append(text)

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        message = await receive()
        self.reached.append((scope["path"], len(message["body"])))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def connect(self, tls=None):
        """Return a connection, over TLS where a context is given."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return connection if tls is None else tls.wrap_socket(connection)


@contextmanager
def served(sender=lambda scope: None, certificate=None, secret=SECRET, **options):
    """Serve for as long as the context lasts."""
    one = Served()
    fence = Fence(one.app, one.log, secret=secret, open=FLEET, sender=sender)
    files = (
        {"ssl_certfile": certificate / "server.crt", "ssl_keyfile": certificate / "server.key"} if certificate else {}
    )
    settings = {"host": "127.0.0.1", "port": 0, "log_level": "error", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(fence, **{**settings, **files, **options, **Door(one.log).options()}))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    one.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.should_exit = True
        thread.join()


def trusting(folder):
    """Return the context of a client that trusts the authority of a folder."""
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.check_hostname = False
    return context


def head(path=PATH, method="POST", **headers):
    """Return the head of a request; `_` in a header's name is a hyphen."""
    lines = [f"{method} {path} HTTP/1.1", "host: here", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def status(connection):
    """Return the HTTP status of the answer; 0 where the connection ended without one."""
    try:
        return int(connection.recv(4096).split(b" ")[1])
    except (OSError, IndexError):
        return 0
