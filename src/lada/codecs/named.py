"""Short byte strings by name, such as public keys by client, as JSON with base64: the parts of secure aggregation.

See lada.rounds.secure for the purpose of each part.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from lada.codecs.base import CODECS, Codec, Reading, Text, Words
from lada.codecs.table import LIMIT
from lada.core.errors import CodecError, FederationError
from lada.core.needs import State
from lada.core.plural import counted

KEYS, SHARES, SURVIVORS, OPENED = "keys", "key_shares", "survivors", "opened_shares"
SECRET = 32
"""Bytes of a private key, a public key and the seed of a mask."""
SHARE = 52
"""Bytes of a share of a secret: its number and three blocks."""
SEALED = 12 + 2 * SHARE + 16
"""Bytes of two encrypted shares: a nonce, the shares, a tag."""
MOST_CLIENTS = 2**11
"""The most clients in a part: the sum of this many adapters does not leave the ring."""


def encode(values: Mapping[str, bytes]) -> bytes:
    """Return byte strings by name as bytes, sorted by name."""
    return json.dumps({name: base64.b64encode(values[name]).decode() for name in sorted(values)}).encode()


def decode(data: bytes, kind: str, size: int, *, limit: int = LIMIT) -> dict[str, bytes]:
    """Return the byte strings by name, each of `size` bytes.

    Raises CodecError for anything that `encode` would not write, for strings of another size and for more than `limit`
    bytes. The error names only the `kind`, not what was sent.
    """
    if len(data) > limit:
        raise CodecError(f"{kind}: {counted(len(data), 'byte')}; expected at most {limit}")
    try:
        received = json.loads(data)
        values = {name: base64.b64decode(text, validate=True) for name, text in received.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise CodecError(f"{kind}: not readable: {type(error).__name__}") from error
    if any(len(value) != size for value in values.values()):
        raise CodecError(f"{kind}: a value of another size; expected {counted(size, 'byte')} each")
    if encode(values) != data:
        raise CodecError(f"{kind}: not in the form in which it is written")
    return values


class Named(Codec[Mapping[str, bytes], Mapping[str, bytes]]):
    """Byte strings of one size, by client's name."""

    bytes_each: ClassVar[int]

    def encode(self, state: State, value: Mapping[str, bytes]) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(value)

    def decode(self, data: bytes, reading: Reading) -> Mapping[str, bytes]:
        """See Codec.decode."""
        return decode(data, self.kind, self.bytes_each, limit=reading.receiver.limits.table_bytes)

    def check(self, received: Mapping[str, bytes], reading: Reading) -> None:
        """See Codec.check."""
        if len(received) > MOST_CLIENTS:
            raise FederationError(f"{self.kind}: of more clients than {MOST_CLIENTS}")

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name in decode(data, self.kind, self.bytes_each, limit=len(data)))


@CODECS.register(KEYS, tags=("weights",))
class Keys(Named):
    """Two public keys of each client: one for seals, one for masks."""

    kind, bytes_each = KEYS, 2 * SECRET

    def check(self, received: Mapping[str, bytes], reading: Reading) -> None:
        """See Codec.check. A client may send the server only its own keys."""
        super().check(received, reading)
        if reading.receiver.role == "server":
            if set(received) != {reading.sender}:
                raise FederationError(f"{KEYS}: of another client than the sender")
            _check_keys(received[reading.sender])


@CODECS.register(SHARES, tags=("weights",))
class Shares(Named):
    """Encrypted shares of a client's secrets, one for each other client."""

    kind, bytes_each = SHARES, SEALED


@CODECS.register(SURVIVORS, tags=("weights",))
class Survivors(Named):
    """The names of the clients whose masked adapters have arrived."""

    kind, bytes_each = SURVIVORS, 0


@CODECS.register(OPENED, tags=("weights",))
class OpenedShares(Named):
    """A client's shares of the other clients' secrets, one secret each."""

    kind, bytes_each = OPENED, SHARE


def _check_keys(both: bytes) -> None:
    """Raise FederationError for an invalid public key: a point of low order, with which every key gives the same
    secret."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    private = X25519PrivateKey.from_private_bytes(bytes(SECRET))
    try:
        for public in (both[:SECRET], both[SECRET:]):
            private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise FederationError(f"{KEYS}: one is not a public key") from None
