"""The MAC which proves that a message of a deployment is from the server to one client, or from that client back.

Server and client derive the same key without sending it: ECDH over their long-lived keys on P-384 (NIST SP 800-56A, the
static unified model), then HKDF (RFC 5869) with SHA-256 over a context that names both parties and their keys. The MAC
is HMAC-SHA256 (RFC 2104).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDH, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lada.core.known import known
from lada.federation.messages import SERVER, Envelope

LABEL = b"lada message 1"
"""The purposes of the key and of each MAC."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The key [32 bytes] that the server and one client share. It seals messages and recognises sealed ones."""

    key: bytes = field(repr=False)
    client: str

    def asking(self, envelope: Envelope, payload: Mapping[str, bytes]) -> Envelope:
        """Return the envelope of a message to the client, with its MAC."""
        return replace(envelope, mac=self._mac(b"down", envelope, self.client, "", payload))

    def answering(self, envelope: Envelope, payload: Mapping[str, bytes], asked: str) -> Envelope:
        """Return the envelope of the client's reply to the message with the MAC `asked`, with a MAC of its own."""
        return replace(envelope, mac=self._mac(b"up", envelope, SERVER, asked, payload))

    def is_asking(self, envelope: Envelope, payload: Mapping[str, bytes]) -> bool:
        """Return whether a message is from the server, for this client, and complete."""
        return _same(self.asking(envelope, payload), envelope)

    def is_answering(self, envelope: Envelope, payload: Mapping[str, bytes], asked: str) -> bool:
        """Return whether a reply is from this client, to the message with the MAC `asked`, and complete."""
        return _same(self.answering(envelope, payload, asked), envelope)

    def _mac(self, way: bytes, envelope: Envelope, receiver: str, asked: str, payload: Mapping[str, bytes]) -> str:
        """Return the MAC, 64 hexadecimal digits, over a whole envelope and the SHA-256 of each kind."""
        seconds = "" if envelope.seconds is None else envelope.seconds.hex()
        texts = [envelope.run, envelope.phase, str(envelope.round), envelope.sender, receiver, asked]
        texts += [str(envelope.code or ""), envelope.reference or "", seconds]
        parts = [LABEL, way, *(text.encode() for text in texts)]
        told = known(payload)
        for kind in sorted(told):
            parts += [kind.encode(), bytes.fromhex(told.digest(kind))]
        return hmac.digest(self.key, _framed(parts), "sha256").hex()


def of_server(identity: EllipticCurvePrivateKey, key: EllipticCurvePublicKey, client: str) -> Seal:
    """Return the server's seal for a client with that public key. Raises ValueError if the keys are on different
    curves."""
    return _derive(identity, key, identity.public_key(), key, client)


def of_client(key: EllipticCurvePrivateKey, identity: EllipticCurvePublicKey, client: str) -> Seal:
    """Return a client's seal for the server with that public key. Raises ValueError if the keys are on different
    curves."""
    return _derive(key, identity, identity, key.public_key(), client)


def _derive(
    own: EllipticCurvePrivateKey,
    other: EllipticCurvePublicKey,
    server_key: EllipticCurvePublicKey,
    client_key: EllipticCurvePublicKey,
    client: str,
) -> Seal:
    context = _framed([LABEL, SERVER.encode(), _point(server_key), client.encode(), _point(client_key)])
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=context)
    return Seal(derive.derive(own.exchange(ECDH(), other)), client)


def _point(key: EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _framed(parts: list[bytes]) -> bytes:
    """Return an unambiguous encoding of parts as bytes: each after its length [8 bytes, big-endian]."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _same(expected: Envelope, given: Envelope) -> bool:
    return hmac.compare_digest(expected.mac or "", given.mac or "")
