"""Keys on P-384 in OpenSSH's format, as `ssh-keygen -t ecdsa -b 384` writes them: a client's, and the server's own."""

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from lada.core.errors import InputError
from lada.federation.seal import Seal, of_client

CURVE = ec.SECP384R1
EXPECTED = 'is no key on P-384 without a passphrase; make one with ssh-keygen -t ecdsa -b 384 -N "" -f NAME'


def read_private(file: Path, key: str) -> ec.EllipticCurvePrivateKey:
    """Return a private key. Raises InputError, naming the configuration's `key`, if it is not on P-384."""
    try:
        private = load_ssh_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{key}: {str(file)!r} {EXPECTED} ({error})") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, CURVE):
        raise InputError(f"{key}: {str(file)!r} {EXPECTED}")
    return private


def read_public(file: Path, key: str) -> ec.EllipticCurvePublicKey:
    """Return a public key. Raises InputError, naming the configuration's `key`, if it is not on P-384."""
    try:
        public = load_ssh_public_key(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{key}: {str(file)!r} {EXPECTED} ({error})") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, CURVE):
        raise InputError(f"{key}: {str(file)!r} {EXPECTED}")
    return public


def fingerprint(public: ec.EllipticCurvePublicKey) -> str:
    """Return the fingerprint that `ssh-keygen -l` prints for a public key: the SHA-256 of its OpenSSH form, in
    Base64."""
    text = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    digest = hashlib.sha256(base64.b64decode(text)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def seal_of(key: Path, identity: Path, client: str) -> Seal:
    """Return a client's seal, made from the files of its own key and the server's public key. Raises InputError."""
    return of_client(read_private(key, "key"), read_public(identity, "identity"), client)
