import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import CodecError
from lada.core.results import Interval, StudyRecord

STUDY = StudyRecord(
    party="client-ü",
    round=1,
    phase="distil",
    steps=2,
    lessons=3,
    pairs=1,
    replayed=0,
    tokens=40,
    first_loss=1.5,
    last_loss=0.1,
)


def test_round_trip():
    records = [STUDY, STUDY.model_copy(update={"round": 2})]
    assert decode_records(encode_records(records), StudyRecord) == records
    assert decode_records(encode_records([]), StudyRecord) == []


def test_a_study_that_went_astray_can_be_told():
    lost = STUDY.model_copy(update={"first_loss": math.inf, "last_loss": math.nan})
    received = decode_records(encode_records([lost]), StudyRecord)[0]
    assert received.first_loss == math.inf
    assert math.isnan(received.last_loss)


@given(st.floats(allow_nan=False), st.integers())
def test_numbers_survive(value: float, count: int):
    interval = Interval(value=value, low=-0.0, high=value, count=count)
    assert repr(decode_records(encode_records([interval]), Interval)) == repr([interval])


@given(st.binary(max_size=100))
def test_garbage(data: bytes):
    if data.strip() != b"[]":
        with pytest.raises(CodecError):
            decode_records(data, StudyRecord)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encode_records([STUDY])[:-1], "StudyRecord: not readable"),
        (b"[" * 10_000, "not readable"),
        (b'[{"value": 1, "low": 0, "high": 2, "count": 3, "more": 4}]', "not readable at 0"),
        (b"\xff\xfe[]", "not readable"),
    ],
)
def test_other_bytes(data: bytes, said: str):
    with pytest.raises(CodecError, match=said):
        decode_records(data, StudyRecord)


def test_another_type_and_an_overlong_list():
    with pytest.raises(CodecError, match="Interval: not readable at 0"):
        decode_records(encode_records([STUDY]), Interval)
    with pytest.raises(CodecError, match="expected at most 10"):
        decode_records(encode_records([STUDY]), StudyRecord, limit=10)
