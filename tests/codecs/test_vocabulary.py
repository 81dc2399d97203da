import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.codecs import vocabulary
from lada.codecs.table import pack
from lada.core.errors import CodecError

TOKENS = [b"", b"\xff", b" the", "é".encode(), b"</s>", b" the"]
GOOD = vocabulary.encode(TOKENS, 4)


def forged(eos: str) -> bytes:
    return pack(vocabulary.KIND, vocabulary.FIELDS, {"token": TOKENS}, {"eos": eos})


@given(st.lists(st.binary(max_size=8), min_size=1), st.data())
def test_round_trip(tokens: list[bytes], choice: st.DataObject):
    eos = choice.draw(st.integers(0, len(tokens) - 1))
    assert vocabulary.decode(vocabulary.encode(tokens, eos)) == (tokens, eos)


def test_tokens_may_be_alike_or_empty():
    assert vocabulary.decode(GOOD) == (TOKENS, 4)


def test_a_whole_vocabulary():
    tokens = [number.to_bytes(3, "big") for number in range(150_000)]
    data = vocabulary.encode(tokens, 149_999)
    assert len(data) < 2**20
    assert vocabulary.decode(data) == (tokens, 149_999)


@pytest.mark.parametrize(("tokens", "eos"), [([], 0), ([b"a"], 1), ([b"a"], -1)])
def test_end_of_sequence_is_a_token(tokens: list[bytes], eos: int):
    with pytest.raises(CodecError, match=f"end-of-sequence is token {eos}"):
        vocabulary.encode(tokens, eos)


def test_labels_have_no_end_of_sequence():
    assert vocabulary.decode(vocabulary.encode([b"even", b"odd"], None)) == ([b"even", b"odd"], None)
    with pytest.raises(CodecError, match="no tokens; expected one at least"):
        vocabulary.encode([], None)


@pytest.mark.parametrize(("eos", "said"), [("6", "one of the 6"), ("-1", "eos: expected"), ("", "eos: expected")])
def test_headers(eos: str, said: str):
    with pytest.raises(CodecError, match=said):
        vocabulary.decode(forged(eos))


def test_another_kind_and_no_header():
    for data, said in (
        (pack("paths", vocabulary.FIELDS, {"token": TOKENS}, {"eos": "4"}), "of another kind"),
        (pack(vocabulary.KIND, vocabulary.FIELDS, {"token": TOKENS}, {}), "lacks 'eos'"),
    ):
        with pytest.raises(CodecError, match=said):
            vocabulary.decode(data)


def test_more_than_the_limit():
    with pytest.raises(CodecError, match="more than 1000 bytes"):
        vocabulary.decode(vocabulary.encode([bytes(1000)], 0), limit=1000)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_damage(place: int, flip: int):
    with pytest.raises(CodecError):
        vocabulary.decode(GOOD[:place])
    hurt = bytearray(GOOD)
    hurt[place] ^= flip
    try:
        tokens, eos = vocabulary.decode(bytes(hurt))
    except CodecError:
        return
    assert vocabulary.decode(vocabulary.encode(tokens, eos)) == (tokens, eos)
