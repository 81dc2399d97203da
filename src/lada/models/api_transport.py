"""Sends one request at a time, limits its duration and the size of its response, and removes secrets.

Secrets are read from the environment when a transport is created, and go only into a request's headers. They are
removed from a server's response before anyone reads it.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lada.core.errors import InputError
from lada.models.api_faults import Fault
from lada.models.api_options import ApiOptions

if TYPE_CHECKING:
    from ssl import SSLContext

    import httpx

SECRET = 12
"""The minimum number of characters of a key. A shorter value is a word such as EMPTY, for servers that want no key, and
may well occur in an answer."""
LARGEST = 2**26
"""The most bytes of a response that are read. Log-probs of 20 tokens at each of 20,000 positions take half of this."""


@cache
def _trusted() -> "SSLContext":
    """Return the trusted certificates, which are read once per process: this takes tens of milliseconds."""
    import httpx

    return httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class Response:
    """A server's response; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


Send = Callable[[str, bytes, str], Response | Fault]
"""Sends a JSON body to a path below base_url, with a name that lets the server recognise a repeated request."""


def read_secrets(options: ApiOptions) -> dict[str, str]:
    """Return the headers with secrets, the key's among them.

    Raises InputError, which does not contain the secret, if it is missing or invalid.
    """
    asked = {name: ("secret_headers", variable) for name, variable in options.secret_headers.items()}
    if options.key_variable is not None:
        asked["Authorization"] = ("key_variable", options.key_variable)
    found = {name: _secret(option, variable, options.base_url) for name, (option, variable) in asked.items()}
    if options.key_variable is not None:
        found["Authorization"] = f"Bearer {found['Authorization']}"
    return found


def _secret(option: str, variable: str, server: str) -> str:
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise InputError(
            f"model.api.{option}: the environment variable {variable} is not set; set it to the key for {server}, or "
            "set key_variable: null for a server that needs none"
        )
    if not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise InputError(
            f"model.api.{option}: the value of {variable} is not a key; expected printable ASCII characters"
        )
    return secret


class Transport:
    """Connections to one server."""

    def __init__(self, options: ApiOptions) -> None:
        """Raise InputError as `read_secrets` does."""
        self._options = options
        self._headers = read_secrets(options)
        values = {value.removeprefix("Bearer ") for value in self._headers.values()}
        self._secrets = sorted((value for value in values if len(value) >= SECRET), key=len, reverse=True)

    def clear(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @contextmanager
    def connected(self) -> Iterator[Send]:
        """Yield a function that sends a request and returns the response, from any thread; it does not follow
        redirects.

        Connections run in an event loop, since only there a whole request can have a time limit.
        """
        import httpx  # here, since a dry run connects to no server
        from anyio.from_thread import start_blocking_portal

        headers = {**self._options.extra_headers, **self._headers, "Content-Type": "application/json"}
        limits = httpx.Limits(max_connections=self._options.concurrency)
        client = httpx.AsyncClient(headers=headers, timeout=self._options.timeout, limits=limits, verify=_trusted())
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(client) as http:
            yield lambda path, body, name: portal.call(self._send, http, path, body, name)

    async def _send(self, http: "httpx.AsyncClient", path: str, body: bytes, name: str) -> Response | Fault:
        import anyio
        import httpx

        options = self._options
        try:
            with anyio.fail_after(options.time_limit):
                request = http.stream("POST", options.base_url + path, content=body, headers={"Idempotency-Key": name})
                async with request as response:
                    content = bytearray()
                    async for piece in response.aiter_bytes():
                        content += piece
                        if len(content) > LARGEST:
                            return Fault(f"a response of more than {LARGEST:,} bytes", paid=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Fault(self.clear(f"no connection: {error}"), busy=True)
        except httpx.RequestError as error:  # silence or a broken connection: the request may be charged
            return Fault(f"{type(error).__name__} (timeout: {options.timeout} s)", paid=True)
        except TimeoutError:
            return Fault(f"no whole answer within time_limit: {options.time_limit} s", paid=True)
        text = decoded(bytes(content), response.charset_encoding)
        headers = {key.lower(): self.clear(value) for key, value in response.headers.items()}
        return Response(response.status_code, headers, self.clear(text))


def decoded(content: bytes, charset: str | None) -> str:
    """Return a response as text without a byte order mark, in the charset of its header if that is known.

    The encoding of JSON is recognised by its first bytes.
    """
    try:
        text = content.decode(charset or json.detect_encoding(content), "replace")
    except (LookupError, ValueError):  # also for codecs that do not produce text
        text = content.decode("utf-8", "replace")
    return text.removeprefix("\ufeff")
