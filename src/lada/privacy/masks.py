"""The arithmetic of secure aggregation: fixed-point numbers modulo 2^64, masks that cancel, keys, shares of secrets.

A client's numbers are its weights in steps of 2^-24, each times its number of samples, and that number. They lie within
±2^8 · 2^24 · 2^20, so the numbers of 2^11 clients add up without leaving the ring, and their sum is exact. Only the
step is inexact: a weight is off by at most half a step, 2^-25, and so is the average.

Masks are ChaCha20's key stream, two clients agree on a key by X25519 and HKDF, and Flower's Shamir sharing splits
secrets. We do not use Flower's own masks: `pseudo_rand_gen` in flwr 1.41 reduces a seed to 32 bits, which can be found
by brute force, and never draws the largest value. Its `quantize` rounds with a generator that all share.
"""

import math
import secrets
from collections.abc import Mapping, Sequence

import numpy as np

from lada.codecs.masked import Shapes
from lada.codecs.named import SECRET

STEP = 2.0**-24
"""Of a weight."""
MOST = 2.0**8
"""The largest absolute value of a weight."""
MOST_SAMPLES = 2**20
"""The most samples that one client counts for."""


def to_ring(weights: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
    """Return weights times `samples`, and `samples` (1..MOST_SAMPLES), uint64 [n + 1]; weights are clipped to ±MOST."""
    parts = [np.clip(weights[name].ravel().astype(np.float64), -MOST, MOST) for name in sorted(weights)]
    steps = np.rint(np.concatenate([*parts, np.zeros(1)]) / STEP).astype(np.int64)
    steps[-1] = 1
    return (steps * samples).view(np.uint64)


def from_ring(total: np.ndarray, shapes: Shapes, clients: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the average, float32, from a sum of `to_ring` over that many clients, and the number of samples behind it.

    Raises ValueError if it cannot be such a sum: a mask is left in it.
    """
    signed = total.view(np.int64)
    samples = int(signed[-1])
    if not clients <= samples <= clients * MOST_SAMPLES:
        raise ValueError("samples out of range")
    if len(signed) > 1 and np.abs(signed[:-1].astype(np.float64)).max() > samples * (MOST / STEP):
        raise ValueError("weights out of range")
    flat = (signed[:-1].astype(np.float64) * STEP / samples).astype(np.float32)
    weights, start = {}, 0
    for name, shape in shapes:
        end = start + math.prod(shape)
        weights[name], start = flat[start:end].reshape(shape), end
    return weights, samples


def mask(seed: bytes, size: int) -> np.ndarray:
    """Return the mask of a 32-byte seed, uint64 [size]."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor().update(bytes(8 * size))
    return np.frombuffer(stream, "<u8").astype(np.uint64)


def pair_mask(one: str, other: str, seed: bytes, size: int) -> np.ndarray:
    """Return what `one` adds for the pair: the mask or its negative, so that the two cancel."""
    found = mask(seed, size)
    return found if one < other else np.uint64(0) - found


def new_key() -> tuple[bytes, bytes]:
    """Return a private key, drawn from the machine's randomness, and its public key."""
    private = secrets.token_bytes(SECRET)
    return private, public_key(private)


def public_key(private: bytes) -> bytes:
    """Return the public key of a private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def mask_seed(private: bytes, public: bytes, round: int) -> bytes:
    """Return the seed of the mask that two clients share. Raises ValueError for an invalid public key."""
    return _agree(private, public, f"mask {round}")


def seal_key(private: bytes, public: bytes, round: int) -> bytes:
    """Return the key with which two clients seal texts for each other. Raises ValueError for an invalid public key."""
    return _agree(private, public, f"seal {round}")


def _agree(private: bytes, public: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    common = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(SHA256(), SECRET, None, f"lada {purpose}".encode()).derive(common)


def seal(key: bytes, text: bytes, about: str) -> bytes:
    """Return a text that only the holder of the key can read, and only as a text `about` this."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    nonce = secrets.token_bytes(12)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, text, about.encode())


def unseal(key: bytes, sealed: bytes, about: str) -> bytes | None:
    """Return the text; None if it was not sealed with this key and about this."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], about.encode())
    except InvalidTag:
        return None


def threshold(clients: int) -> int:
    """Return how many clients must give their shares to reveal a secret: more than half of them, and at least two."""
    return max(2, clients // 2 + 1)


def split(secret: bytes, clients: int) -> list[bytes]:
    """Return a share of a secret for each client; `threshold` of them reveal it, fewer reveal nothing."""
    from flwr.common.secure_aggregation.crypto.shamir import create_shares

    return create_shares(secret, threshold(clients), clients)


def number_of(share: bytes) -> int:
    """Return the number of a share of a secret; the first that `split` returns has number 1."""
    return int.from_bytes(share[:4], "little")


def join(shares: Sequence[bytes]) -> bytes:
    """Return the secret of these shares. Raises ValueError if they do not belong to one."""
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares

    secret = combine_shares(list(shares))
    if len(secret) != SECRET:
        raise ValueError("not a secret of this protocol")
    return secret
