"""Logs a line at the server for each client whose TLS handshake fails: Flower's server drops such clients silently."""

import ssl
from collections.abc import Callable
from logging import WARNING
from typing import Any

ADVICE = {
    "HTTP_REQUEST": "it speaks plain text, which is not accepted; start it with `lada client`",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this server, since its ca.crt is not of the authority that signed "
    "server.crt; give it the federation's ca.crt, over a trusted channel",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "server.crt has expired, by its clock; call `lada federation renew`, start "
    "`lada server` again, and check the clocks of both machines",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it calls this server by a name that server.crt does not hold; call "
    "`lada federation renew` with that name as --host, and start `lada server` again",
}
"""What to do about a client, for each reason that OpenSSL gives for a failed handshake."""
OTHERWISE = "it does not speak this server's version of TLS; start it with `lada client`"


def told_of(log: Callable[[int, str], None]) -> Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    """Return a factory of uvicorn's TLS context. It passes failed handshakes to `log`, with what to do."""

    class Told(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (
                ssl.SSLWantReadError,
                ssl.SSLWantWriteError,
                ssl.SSLEOFError,
            ):  # under way, or the client left
                raise
            except ssl.SSLError as error:
                advice = ADVICE.get(error.reason or "", OTHERWISE)
                log(WARNING, f"refused: a client without a sound TLS handshake ({error.reason}): {advice}")
                raise

    def make(_config: Any, usual: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = usual()
        context.sslobject_class = Told
        return context

    return make
