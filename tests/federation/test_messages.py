import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as Proto
from hypothesis import given
from hypothesis import strategies as st

from lada.core.errors import FederationError
from lada.federation.messages import Code, Envelope, decode, encode

names = st.text(min_size=1, max_size=200).filter(str.isprintable)
phases = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
references = st.text("0123456789abcdef", min_size=8, max_size=8)
seconds = st.none() | st.floats(0, allow_infinity=False)
envelopes = st.builds(Envelope, names, phases, st.integers(0, 2**63 - 1), names, seconds=seconds)
failures = st.builds(
    Envelope, names, phases, st.integers(0, 9), names, st.sampled_from([Code.FAILED, Code.MALFORMED]), references
)
payloads = st.dictionaries(names, st.binary(max_size=300), max_size=4)


def wire(records: RecordDict) -> RecordDict:
    return recorddict_from_proto(Proto.FromString(recorddict_to_proto(records).SerializeToString()))


@given(envelopes, payloads)
def test_round_trip(envelope, payload):
    got, back = decode(wire(encode(envelope, payload)))
    assert got == envelope
    assert back == payload
    assert list(back) == sorted(payload)


@given(failures)
def test_round_trip_of_an_error(envelope):
    assert decode(wire(encode(envelope, {}))) == (envelope, {})


def test_a_kind_is_one_array_of_its_bytes():
    records = encode(Envelope("run", "answer", 2, "Zoë"), {"paths": b"\x00\xff"})
    assert dict(records.config_records["envelope"]) == {"run": "run", "phase": "answer", "round": 2, "sender": "Zoë"}
    array = records.array_records["payload"]["paths"]
    assert (array.dtype, array.shape, array.data) == ("uint8", (2,), b"\x00\xff")


GOOD = {"run": "r", "phase": "p", "round": 1, "sender": "s"}
CANARY = "private\x00text"


def array(dtype="uint8", shape=(1,), stype="bytes", data=b"x"):
    return Array(dtype=dtype, shape=shape, stype=stype, data=data)


@pytest.mark.parametrize(
    ("envelope", "arrays"),
    [
        ({**GOOD, "round": -1}, {}),
        ({**GOOD, "round": True}, {}),
        ({**GOOD, "round": 1.0}, {}),
        ({**GOOD, "phase": ""}, {}),
        ({**GOOD, "phase": 3}, {}),
        ({**GOOD, "phase": "../up"}, {}),
        ({**GOOD, "phase": "Learn"}, {}),
        ({**GOOD, "sender": CANARY}, {}),
        ({**GOOD, "run": "r" * 201}, {}),
        ({**GOOD, CANARY: "more"}, {}),
        ({**GOOD, "seconds": -0.5}, {}),
        ({**GOOD, "seconds": float("nan")}, {}),
        ({**GOOD, "seconds": float("inf")}, {}),
        ({**GOOD, "seconds": 1}, {}),
        ({**GOOD, "seconds": CANARY}, {}),
        ({**GOOD, "code": "failed", "reference": "0" * 8, "seconds": 1.0}, {}),
        ({"run": "r", "phase": "p", "round": 1}, {}),
        ({**GOOD, "code": CANARY, "reference": "0" * 8}, {}),
        ({**GOOD, "code": "silent", "reference": "0" * 8}, {}),
        ({**GOOD, "code": "failed", "reference": CANARY}, {}),
        ({**GOOD, "code": "failed", "reference": 12345678}, {}),
        ({**GOOD, "code": "failed"}, {}),
        ({**GOOD, "code": "failed", "reference": "0" * 8}, {"kind": array()}),
        (GOOD, {"kind": array(dtype="float32")}),
        (GOOD, {"kind": array(stype="numpy.ndarray")}),
        (GOOD, {"kind": array(shape=(2,))}),
        (GOOD, {"kind": array(shape=(1, 1))}),
        (GOOD, {CANARY: array()}),
        (GOOD, {"": array()}),
    ],
)
def test_what_encode_does_not_write_is_refused_without_repeating_it(envelope, arrays):
    records = RecordDict({"envelope": ConfigRecord(envelope), "payload": ArrayRecord(arrays)})
    with pytest.raises(FederationError) as refused:
        decode(records)
    assert "private" not in str(refused.value)


@pytest.mark.parametrize(
    "records",
    [
        RecordDict(),
        RecordDict({"envelope": ConfigRecord(GOOD)}),
        RecordDict({"envelope": ConfigRecord(GOOD), "payload": MetricRecord({"x": 1})}),
        RecordDict({"envelope": ConfigRecord(GOOD), "payload": ArrayRecord(), "more": MetricRecord({"x": 1})}),
    ],
)
def test_other_records_are_refused(records):
    with pytest.raises(FederationError, match="message: expected"):
        decode(records)


@pytest.mark.parametrize("payload", [{"kind": "text"}, {"kind": bytearray(b"x")}, {"": b"x"}])
def test_a_wrong_payload_is_refused_by_its_sender(payload):
    with pytest.raises(FederationError):
        encode(Envelope("r", "p", 1, "s"), payload)
