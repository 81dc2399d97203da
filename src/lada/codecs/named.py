"""Short byte strings by name, such as public keys by client, as JSON with base64."""

import base64
import binascii
import json
from collections.abc import Mapping

from lada.codecs.table import LIMIT
from lada.core.errors import CodecError
from lada.core.plural import counted


def encode(values: Mapping[str, bytes]) -> bytes:
    """Return byte strings by name as bytes, sorted by name."""
    return json.dumps({name: base64.b64encode(values[name]).decode() for name in sorted(values)}).encode()


def decode(data: bytes, kind: str, size: int, *, limit: int = LIMIT) -> dict[str, bytes]:
    """Return the byte strings by name, each of `size` bytes.

    Raises CodecError, naming the `kind` and nothing that was sent, for anything that `encode` would not write, for
    strings of another size and for more than `limit` bytes.
    """
    if len(data) > limit:
        raise CodecError(f"{kind}: {counted(len(data), 'byte')}; expected at most {limit}")
    try:
        told = json.loads(data)
        values = {name: base64.b64decode(text, validate=True) for name, text in told.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    if any(len(value) != size for value in values.values()):
        raise CodecError(f"{kind}: a value of another size; expected {counted(size, 'byte')} each")
    if encode(values) != data:
        raise CodecError(f"{kind}: not in the form in which it is written")
    return values
