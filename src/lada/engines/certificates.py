"""Certificates and keys of a federation: its own authority, the server's certificate, each client's key pair.

Only their owner can read the files of private keys. A client's key is ECDSA on P-384 in OpenSSH's format, as Flower
expects it. The certificates are X.509 (RFC 5280) with ECDSA on P-256.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lada.core.errors import InputError

LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:{LABEL}\.)*(?![0-9]+\Z){LABEL}")
"""Host names (RFC 1123, plus the underscores of container networks); the last part is not a number."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names under which the server can always be reached from its own machine."""
PEM = serialization.Encoding.PEM


def write_authority(folder: Path, days: int) -> None:
    """Write `ca.key` and `ca.crt` of a new authority, valid for `days`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("LaDa federation")
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = _builder(name, name, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    write_private(folder / "ca.key", _private(key))
    (folder / "ca.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(PEM))


def write_server_certificate(authority: Path, folder: Path, hosts: Iterable[str], days: int) -> None:
    """Write `server.key` and `server.crt`, signed by the authority in a folder, for host names and addresses.

    Its validity begins a minute in the past, for clocks that are slow. Raises InputError if the authority's files are
    missing, or if a host is neither a name nor an address.
    """
    try:
        ca_key = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
        ca = x509.load_pem_x509_certificate((authority / "ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"authority: {str(authority)!r} lacks a valid ca.key or ca.crt ({error}); they are where `lada federation "
            "init` was called"
        ) from None
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = {name: _alternative(name) for name in (*hosts, *LOCAL)}
    builder = _builder(_name(next(iter(names))), ca.subject, key.public_key(), days)
    builder = builder.add_extension(x509.SubjectAlternativeName(names.values()), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    write_private(folder / "server.key", _private(key))
    (folder / "server.crt").write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(PEM))


def check_server_certificate(certificate: Path, authority: Path) -> int:
    """Return how many days a server's certificate is still valid.

    Raises InputError, with the fix, for a certificate that no client of the authority would trust.
    """
    try:
        mine, ca = (x509.load_pem_x509_certificate(file.read_bytes()) for file in (certificate, authority))
    except ValueError as error:
        raise InputError(f"certificate: {certificate.name} or {authority.name} is not valid PEM: {error}") from None
    left = mine.not_valid_after_utc - datetime.now(UTC)
    if left <= timedelta():
        raise InputError(
            f"certificate: {str(certificate)!r} expired on {mine.not_valid_after_utc:%Y-%m-%d}, and no client would "
            "connect; call `lada federation renew` where the authority's key is, and put server.crt and server.key here"
        )
    try:
        mine.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise InputError(
            f"certificate: {str(certificate)!r} is not signed by {str(authority)!r}, and no client would connect; put "
            "ca.crt, server.crt and server.key of one federation here"
        ) from None
    return left.days


def write_node_key(private: Path, public: Path) -> None:
    """Write a key pair of a client, or the server's identity."""
    key = ec.generate_private_key(ec.SECP384R1())
    form = serialization.PrivateFormat.OpenSSH
    write_private(private, key.private_bytes(PEM, form, serialization.NoEncryption()))
    open_ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    public.write_bytes(key.public_key().public_bytes(*open_ssh) + b" " + public.stem.encode() + b"\n")


def write_private(file: Path, data: bytes) -> None:
    """Write a file that only its owner can ever read, even while it is being written."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(data)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _alternative(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        if "%" not in name:  # the number of an interface has a meaning on one machine only
            return x509.IPAddress(ipaddress.ip_address(name))
    if not HOST.fullmatch(name):
        raise InputError(
            f"--host: {name!r} is neither a host name nor an IP address; expected one such as fed.example.org, "
            "192.0.2.7 or 2001:db8::7, without port, brackets or wildcard; of one with letters beyond a to z, the form "
            "with xn--"
        )
    return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
