"""Byte offsets with tokenizers of every family."""

import itertools

import pytest
from hypothesis import given, settings
from tiny_tokenizers import MAKERS, TEXTS, made, traced

from lada.alignment.offsets import byte_offsets
from lada.core.errors import InputError


def test_byte_level_bpe_splits_a_character():
    tokens, offsets = traced("bpe", "a😀 the")
    assert tokens == ["a", "ð", "Ł", "ĺ", "Ģ", "Ġthe"]
    assert offsets == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 9]]


def test_the_space_that_llama_puts_in_front_has_no_bytes():
    assert traced("llama", "the fox") == (["▁the", "▁fox"], [[0, 3], [3, 7]])
    assert traced("llama", " the") == (["▁", "▁the"], [[0, 0], [0, 4]])
    assert traced("llama", "é") == (["▁", "<0xC3>", "<0xA9>"], [[0, 0], [0, 1], [1, 2]])


def test_gemma_puts_nothing_in_front():
    assert traced("gemma", " the fox") == (["▁the", "▁fox"], [[0, 4], [4, 8]])
    assert traced("gemma", "😀") == (["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"], [[0, 1], [1, 2], [2, 3], [3, 4]])


def test_lower_case_and_dropped_accents_keep_their_place():
    # "È" is two bytes and reads "e"; the space of three bytes behind it is dropped.
    tokens, offsets = traced("wordpiece", "ThÈ\u2003fox")
    assert tokens == ["the", "fox"]
    assert offsets == [[0, 4], [7, 10]]


def test_a_character_that_nfkc_spells_out_is_shared_by_its_letters():
    # "①" (three bytes) has no piece once it reads "1"; "ﬁ" (three bytes) reads "f" and the byte of "i".
    tokens, offsets = traced("nfkc", "ﬁ the")
    assert tokens == ["▁", "f", "<0x69>", "▁the"]
    assert offsets == [[0, 3], [0, 3], [0, 3], [3, 7]]


@pytest.mark.parametrize("kind", MAKERS)
def test_an_empty_text_has_no_width(kind):
    assert all(start == end == 0 for start, end in traced(kind, "")[1])


def test_refuses_ids_of_another_text():
    tokenizer, vocabulary = made("nfkc")
    with pytest.raises(InputError, match="text 'the fox': its 1 token cannot be traced"):
        byte_offsets(tokenizer, vocabulary, "the fox", tokenizer("ﬁ", add_special_tokens=False)["input_ids"][:1])


def test_refuses_a_changed_text_of_a_tokenizer_that_knows_no_offsets():
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="text 'The': its 1 token cannot be traced"):
        byte_offsets(Slow(), [b"the"], "The", [0])
    assert byte_offsets(Slow(), [b"the"], "the", [0]).tolist() == [[0, 3]]


@pytest.mark.parametrize("kind", MAKERS)
@given(text=TEXTS)
@settings(max_examples=40)
def test_tokens_stand_for_their_bytes(kind, text):
    raw, (tokenizer, vocabulary) = text.encode(), made(kind)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    offsets = byte_offsets(tokenizer, vocabulary, text, ids).tolist()
    assert all(0 <= start <= end <= len(raw) for start, end in offsets)
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(offsets))
    if kind in ("bpe", "gemma"):
        assert [raw[start:end] for start, end in offsets] == [vocabulary[i] for i in ids]
    if kind == "llama" and text:
        spelt = [raw[start:end] for start, end in offsets]
        assert [b" " + spelt[0], *spelt[1:]] == [vocabulary[i] for i in ids]
