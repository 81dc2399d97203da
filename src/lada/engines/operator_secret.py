"""The secret that shows that a request is the operator's: a random text in a file that only the server's user may read.

The starter of Flower's processes creates the file and names it in their environment. A process that asks sends the
secret along; a process that serves compares it. An address or a port alone therefore does not identify the operator.
"""

import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lada.core.errors import FederationError

VARIABLE = "LADA_OPERATOR"
"""The environment variable that holds the file's path."""
HEADER = "lada-operator"
FOLDER, FILE = "operator", "secret"


def make_secret(base: Path) -> Path:
    """Write a new secret into a folder within `base` that only this user may enter, and return its file."""
    folder = base / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    staged = folder / f"{FILE}.next"
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    staged.replace(folder / FILE)
    return folder / FILE


def read_secret(file: Path) -> str:
    """Return a secret. Raises FederationError if the file is missing, is empty or can be read by others."""
    try:
        mode, secret = file.stat().st_mode, file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise FederationError(
            f"the operator's secret {str(file)!r} cannot be read ({error.strerror}); is `lada server` running, and are "
            "you its user?"
        ) from None
    if mode & 0o077 or not secret:
        raise FederationError(f"the operator's secret {str(file)!r} is empty or open to others; start the server again")
    return secret


def secret_file(base: Path) -> Path:
    """Return where `make_secret` wrote its secret."""
    return base / FOLDER / FILE


def own_secret(environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret that an environment names. Raises FederationError if it names none."""
    if VARIABLE not in environment:
        raise FederationError(f"{VARIABLE} names no file; let `lada` start Flower's processes")
    return read_secret(Path(environment[VARIABLE]))


def is_secret(secret: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request's headers hold the secret exactly once; the time this takes reveals nothing about it."""
    shown = [value for name, value in headers if name == HEADER.encode()]
    return len(shown) == 1 and hmac.compare_digest(shown[0], secret.encode())


class Introduction:
    """An interceptor of Flower's that adds the secret to requests."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept(self, context: Any, call_next: Any) -> Any:
        """Add the header to a request."""
        context.request.headers[HEADER] = self._secret
        return call_next(context)
