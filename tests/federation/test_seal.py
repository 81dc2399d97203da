"""The MAC of a message against a slow reference, and that nothing of a message can be changed under it."""

import hashlib
import hmac
from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import FederationError
from lada.federation.messages import SERVER, Code, Envelope, decode, encode
from lada.federation.seal import Seal, of_client, of_server

P = 2**384 - 2**128 - 2**96 + 2**32 - 1
G = (
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
)
IDENTITY, KEY = 123456789, 987654321
"""Private keys."""


def key(number: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(number, ec.SECP384R1())


def times(number: int, point: tuple[int, int]) -> tuple[int, int]:
    """Multiply a point of P-384 by the schoolbook's double and add (y^2 = x^3 - 3x + b)."""
    total = None
    while number:
        if number & 1:
            total = point if total is None else add(total, point)
        point, number = add(point, point), number >> 1
    assert total is not None
    return total


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    (x, y), (u, v) = one, two
    slope = (3 * x * x - 3) * pow(2 * y, -1, P) if one == two else (v - y) * pow(u - x, -1, P)
    w = (slope * slope - x - u) % P
    return w, (slope * (x - w) - y) % P


def spelled(*parts: bytes) -> bytes:
    out = b""
    for part in parts:
        out += bytes.fromhex(f"{len(part):016x}") + part
    return out


def point(number: int) -> bytes:
    x, y = times(number, G)
    return b"\x04" + x.to_bytes(48, "big") + y.to_bytes(48, "big")


def reference_key(client: bytes) -> bytes:
    """HKDF (RFC 5869) by hand: extract with no salt, expand to one block."""
    shared = times(IDENTITY * KEY, G)[0].to_bytes(48, "big")
    extracted = hmac.new(bytes(32), shared, hashlib.sha256).digest()
    context = spelled(b"lada message 1", b"server", point(IDENTITY), client, point(KEY))
    return hmac.new(extracted, context + b"\x01", hashlib.sha256).digest()


def test_the_vector():
    seal = of_server(key(IDENTITY), key(KEY).public_key(), "clinic")
    assert seal.key == reference_key(b"clinic")
    asked = seal.asking(Envelope("r-1", "learn", 2, "server"), {"paths": b"p", "more": b""})
    expected = hmac.new(
        seal.key,
        spelled(
            *(b"lada message 1", b"down", b"r-1", b"learn", b"2", b"server", b"clinic", b"", b"", b"", b""),
            *(b"more", hashlib.sha256(b"").digest(), b"paths", hashlib.sha256(b"p").digest()),
        ),
        hashlib.sha256,
    ).hexdigest()
    assert asked.mac == expected == "c0c3a21bdaa27bef6382a3887b2e8801579cfbeddd3291dd76672390a05e1d91"
    answer = seal.answering(Envelope("r-1", "learn", 2, "clinic", seconds=1.5), {"report": b"x"}, expected)
    up = (b"up", b"r-1", b"learn", b"2", b"clinic", b"server", expected.encode(), b"", b"", b"0x1.8000000000000p+0")
    told = spelled(b"lada message 1", *up, b"report", hashlib.sha256(b"x").digest())
    assert answer.mac == "58e015cae7ccd07905a4075876d027a8986c03c092c43ecd0b6e180c261aefb6"
    assert answer.mac == hmac.new(seal.key, told, hashlib.sha256).hexdigest()
    refused = seal.answering(Envelope("r-1", "learn", 2, "clinic", Code.FAILED, "0123abcd"), {}, expected)
    down = (b"up", b"r-1", b"learn", b"2", b"clinic", b"server", expected.encode(), b"failed", b"0123abcd", b"")
    told = spelled(b"lada message 1", *down)
    assert refused.mac == hmac.new(seal.key, told, hashlib.sha256).hexdigest()


def test_both_ends_come_to_one_key_and_no_other_pair_does():
    seal = of_server(key(5), key(6).public_key(), "clinic")
    assert seal == of_client(key(6), key(5).public_key(), "clinic")
    others = [
        of_server(key(5), key(6).public_key(), "kitchen"),
        of_server(key(5), key(7).public_key(), "clinic"),
        of_server(key(7), key(6).public_key(), "clinic"),
        of_server(key(6), key(5).public_key(), "clinic"),  # the roles exchanged
    ]
    assert len({one.key for one in (seal, *others)}) == 5
    assert seal.key.hex() not in repr(seal)


names = st.text(min_size=1, max_size=8).filter(str.isprintable)
phases = st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)
payloads = st.dictionaries(names, st.binary(max_size=20), max_size=3)
macs = st.text("0123456789abcdef", min_size=64, max_size=64)
asks = st.builds(Envelope, names, phases, st.integers(0, 9), st.just(SERVER))
answers = st.builds(Envelope, names, phases, st.integers(0, 9), names, seconds=st.none() | st.floats(0, 1e9))
refusals = st.builds(
    Envelope,
    *(names, phases, st.integers(0, 9), names, st.sampled_from([Code.FAILED, Code.MALFORMED])),
    st.text("0123456789abcdef", min_size=8, max_size=8),
)
SEAL = Seal(bytes(range(32)), "clinic")


@given(asks, payloads)
def test_an_honest_message_fits_after_the_wire(envelope, payload):
    got, back = decode(encode(SEAL.asking(envelope, payload), payload))
    assert SEAL.is_asking(got, back)
    assert not SEAL.is_answering(got, back, "")  # the server's message sent back to it
    assert not SEAL.is_asking(envelope, payload)  # without a MAC
    assert not Seal(SEAL.key, "kitchen").is_asking(got, back)


@given(answers | refusals, payloads, macs, macs)
def test_an_honest_reply_fits_its_question_alone(envelope, payload, asked, other):
    payload = payload if envelope.code is None else {}
    got, back = decode(encode(SEAL.answering(envelope, payload, asked), payload))
    assert SEAL.is_answering(got, back, asked)
    assert not SEAL.is_asking(got, back)
    assert other == asked or not SEAL.is_answering(got, back, other)


@settings(max_examples=100)
@given(answers | refusals | asks, answers | refusals, payloads, st.data())
def test_whatever_is_changed_is_refused(envelope, other, payload, data):
    sealed = SEAL.answering(envelope, payload, "")
    field = data.draw(st.sampled_from([one.name for one in fields(Envelope)]))
    value = getattr(replace(other, mac=data.draw(macs)), field)
    changed = replace(sealed, **{field: value})
    assert SEAL.is_answering(changed, payload, "") == (value == getattr(sealed, field))


@settings(max_examples=100)
@given(asks, payloads.filter(bool), st.data())
def test_a_single_changed_byte_a_missing_kind_or_another_name_is_refused(envelope, payload, data):
    sealed = SEAL.asking(envelope, payload)
    kind = data.draw(st.sampled_from(sorted(payload)))
    rest = {name: part for name, part in payload.items() if name != kind}
    assert not SEAL.is_asking(sealed, rest)
    assert not SEAL.is_asking(sealed, {**payload, kind: payload[kind] + b"\x00"})
    assert not SEAL.is_asking(sealed, {**rest, kind + "x": payload[kind]})
    if payload[kind]:
        at = data.draw(st.integers(0, len(payload[kind]) - 1))
        changed = bytearray(payload[kind])
        changed[at] ^= data.draw(st.integers(1, 255))
        assert not SEAL.is_asking(sealed, {**payload, kind: bytes(changed)})


@pytest.mark.parametrize("mac", ["", "0" * 63, "0" * 65, "A" * 64, 7])
def test_a_mac_that_is_none_is_refused_before_it_is_compared(mac):
    told = {"run": "r", "phase": "p", "round": 1, "sender": "s", "mac": mac}
    with pytest.raises(FederationError, match="mac: expected 64 hexadecimal digits"):
        decode(RecordDict({"envelope": ConfigRecord(told), "payload": ArrayRecord()}))


def test_without_a_deployment_an_envelope_has_no_mac():
    assert set(encode(Envelope("r", "p", 1, "s"), {}).config_records["envelope"]) == {"run", "phase", "round", "sender"}
