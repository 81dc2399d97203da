"""Checks whether a client can reach its server over TLS and, if not, says what to do: Flower's own messages do not."""

import socket
import ssl
from pathlib import Path

from lada.engines.client_file import split_address

SECONDS = 10.0


def fault(address: str, certificate: Path) -> str | None:
    """Return why a server cannot be trusted or reached, and what to do about it; None if all is well."""
    host, port = split_address(address)
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except (ssl.SSLError, OSError) as error:
        return (
            f"certificate: {str(certificate)!r} is not a valid PEM file ({error}); get ca.crt from the server's "
            "operator"
        )
    try:
        with (
            socket.create_connection((host, port), timeout=SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return f"superlink: {_untrusted(error, host, certificate)}"
    except ssl.SSLError as error:
        return (
            f"superlink: {address} does not speak TLS ({error.reason or error}), and nothing is sent in plain text; "
            "check host and port, and that `lada server` runs there"
        )
    except OSError as error:
        return (
            f"superlink: {address} cannot be reached ({error.strerror or error}); check host, port and firewall, and "
            "that `lada server` runs there"
        )


def _untrusted(error: ssl.SSLCertVerificationError, host: str, certificate: Path) -> str:
    match error.verify_code:
        case 10:
            return "the server's certificate has expired; its operator renews it with `lada federation renew`"
        case 9:
            return "the server's certificate is not valid yet; set the clocks of both machines"
        case 62 | 64:
            return (
                f"the server's certificate is not for {host!r}; use a name that it holds, or let its operator call "
                f"`lada federation renew` with --host {host}"
            )
        case _:
            return (
                f"the server's certificate is not signed by {certificate.name}, so this may be somebody else "
                f"({error.verify_message}); get the federation's ca.crt from its operator, over a trusted channel"
            )
