"""Samples on the wire: what comes back is what went in, and nothing else is taken."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.codecs import paths, samples
from lada.core.errors import CodecError
from lada.core.terms import Knowledge, Sample

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sample = st.builds(
    Sample,
    id=text,
    question=text,
    answer=st.none() | text,
    rationale=st.none() | text,
    domain=text,
    difficulty=st.none() | st.integers(0, 2**31 - 1),
)


@settings(deadline=None)
@given(st.lists(sample, max_size=5, unique_by=lambda each: each.id))
def test_there_and_back(told: list[Sample]):
    assert samples.decode(samples.encode("a", 3, told)) == ("a", 3, tuple(told))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes):
    with pytest.raises(CodecError):
        samples.decode(data)


def test_what_is_not_a_set_of_samples_is_refused():
    twice = [Sample("s", "one"), Sample("s", "other")]
    with pytest.raises(CodecError, match="an id is there twice"):
        samples.encode("a", 1, twice)
    with pytest.raises(CodecError, match="of another kind"):
        samples.decode(paths.encode(Knowledge("a", 1, ())))
    data = samples.encode("a", 1, [Sample("s", "x" * 1000)])
    with pytest.raises(CodecError, match="more than 100 bytes"):
        samples.decode(data, limit=100)
