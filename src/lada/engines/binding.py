"""The binding of each client's name to a public key, and so to one of Flower's nodes.

`lada server` takes the names from the folder of keys, registers the keys, and records which node Flower made of each. A
run reads this record, so no node can claim another client's name.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from pydantic import Field, TypeAdapter, ValidationError

from lada.core.errors import InputError
from lada.core.names import fault, same_folder
from lada.core.paths import is_file, is_folder
from lada.core.registry import Options
from lada.engines.certificates import write_private
from lada.engines.identity import fingerprint, read_private, read_public
from lada.engines.server_file import FILE, read_server
from lada.federation.bound import Binding, Bound
from lada.federation.seal import of_server

NODES = "nodes.json"
"""A file next to server.yaml, rewritten at each start of `lada server` and readable only by its user."""


class Enrolled(Options):
    """A client that is allowed to connect."""

    fingerprint: str
    node: int = Field(ge=1, le=2**64 - 1)


_ENROLLED = TypeAdapter(dict[str, Enrolled])


def read_keys(folder: Path) -> dict[str, EllipticCurvePublicKey]:
    """Return the clients' public keys by name, sorted. Raises InputError for a file that binds no name to a key."""
    found: dict[str, EllipticCurvePublicKey] = {}
    owners: dict[str, Path] = {}
    for file in sorted(folder.glob("*.pub")) if is_folder(folder) else ():
        if fault(file.stem):
            raise InputError(
                f"keys: {str(file)!r} is not named after a client; expected NAME.pub, with the name of a client in "
                "run.yaml"
            )
        if not is_file(file):
            raise InputError(f"keys: {str(file)!r} is not a file; expected a public key")
        found[file.stem] = read_public(file, "keys")
        other = owners.setdefault(fingerprint(found[file.stem]), file)
        if other != file:
            raise InputError(
                f"keys: {other.name} and {file.name} in {str(folder)!r} hold the same key, and each client needs its "
                "own; let each client make one, and delete the other file"
            )
    if same := same_folder(found):
        raise InputError(
            f"keys: {same[0]}.pub and {same[1]}.pub differ only in case; expected one file for each client"
        )
    return found


def write_binding(base: Path, keys: Mapping[str, EllipticCurvePublicKey], nodes: Mapping[str, int]) -> None:
    """Write down the node of each client."""
    enrolled = {name: {"fingerprint": fingerprint(keys[name]), "node": nodes[name]} for name in sorted(nodes)}
    write_private(base / NODES, json.dumps(enrolled, indent=1).encode())


def read_binding(federation: Path, clients: Iterable[str]) -> Binding:
    """Return the clients that a server may ask, by name, given its folder.

    Raises InputError if one of `clients` has no key, or if the keys are not those that the server registered.
    """
    server = read_server(federation / FILE)
    try:
        enrolled = _ENROLLED.validate_json((federation / NODES).read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"federation: {str(federation / NODES)!r} is missing or damaged, so no server runs with this folder; "
            f"start `lada server` ({type(error).__name__})"
        ) from None
    keys = read_keys(federation / server.keys)
    for name in sorted(clients):
        if name not in enrolled or name not in keys or fingerprint(keys[name]) != enrolled[name].fingerprint:
            raise InputError(
                f"clients: {name!r} has no key that `lada server` registered; put its public key into "
                f"{str(federation / server.keys / f'{name}.pub')!r} and start `lada server` again"
            )
    identity = read_private(federation / server.identity, "identity")
    names = enrolled.keys() & keys.keys()
    return Binding({n: Bound(enrolled[n].node, of_server(identity, keys[n], n)) for n in sorted(names)})
