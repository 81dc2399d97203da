"""A line in the server's log for each client whose TLS handshake fails: Flower's server drops it without a word."""

import ssl
from collections.abc import Callable
from logging import WARNING
from typing import Any

ADVICE = {
    "HTTP_REQUEST": "it speaks plain text, and nothing is taken in plain text; let it take part by `lada client`",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this server, since its ca.crt is not of the authority that signed "
    "server.crt; give it the federation's ca.crt, by a way that it trusts",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "server.crt has expired, by its clock; call `lada federation renew`, start "
    "`lada server` again, and check the clocks of both machines",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it calls this server by a name that server.crt does not hold; call "
    "`lada federation renew` with that name as --host, and start `lada server` again",
}
"""What to do about a client, by what OpenSSL says of its handshake."""
OTHERWISE = "it does not speak the TLS that this server does; let it take part by `lada client`"


def told_of(log: Callable[[int, str], None]) -> Callable[[Any, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    """Return what gives uvicorn its TLS context, whose failed handshakes are handed to `log` with what to do."""

    class Told(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):  # under way, or whoever it was left
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
