"""A deployment's server: `server.yaml`, and the Flower configuration made from it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from lada.core.errors import InputError
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.core.validation import validate

FILE = "server.yaml"
NAME = "federation"
"""The name of the SuperLink in Flower's configuration."""


class ServerFile(Options):
    """Where the server listens, and its keys. Relative paths start at the file's folder."""

    host: str = "0.0.0.0"
    """The address of the interface to listen on; 0.0.0.0: all interfaces."""
    port: int = Field(9092, ge=1, le=65535)
    authority: str = "ca.crt"
    certificate: str = "server.crt"
    key: str = "server.key"
    identity: str = "identity.key"
    """The key with which the server proves to clients who it is; each client has the public half, `identity.pub`."""
    keys: str = "keys"
    """The folder with the public keys of the clients that may connect, `<client>.pub`."""


def read_server(file: Path) -> ServerFile:
    """Read a server's file. Raises InputError if it, or a file that it names, is wrong."""
    if not is_file(file):
        raise InputError(f"there is no file {str(file)!r}; give the {FILE} that `lada federation init` wrote")
    try:
        data: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} is not valid YAML: {error}") from None
    server: ServerFile = validate(ServerFile, data or {})
    for key in ("authority", "certificate", "key"):
        path = file.parent / getattr(server, key)
        if not is_file(path):
            raise InputError(f"{key}: there is no file {str(path)!r}; `lada federation init` writes one")
    if not is_file(file.parent / server.identity):
        raise InputError(
            f"identity: there is no file {str(file.parent / server.identity)!r}; run `lada federation renew` where "
            "`lada federation init` was run, and give server and clients the new identity files"
        )
    for key in ("key", "identity"):
        private = file.parent / getattr(server, key)
        if private.stat().st_mode & 0o077:
            raise InputError(f"{key}: others may read {str(private)!r}; run: chmod 600 {private}")
    return server


def write_connection(home: Path, server: ServerFile, base: Path) -> None:
    """Write Flower's config.toml into its home, so that its commands reach the server on this machine."""
    home.mkdir(parents=True, exist_ok=True)
    certificate = str((base / server.authority).resolve()).replace("\\", "\\\\").replace('"', '\\"')
    text = (
        f'[superlink]\ndefault = "{NAME}"\n\n[superlink.{NAME}]\naddress = "127.0.0.1:{server.port}"\n'
        f'root-certificates = "{certificate}"\n'
    )
    (home / "config.toml").write_text(text, encoding="utf-8")
