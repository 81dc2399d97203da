import json
import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import ClvpTokenizer, PreTrainedTokenizerFast

from lada.alignment.tokens import ALPHABET, token_bytes
from lada.core.errors import InputError
from lada.zoo.shipped import SHIPPED, cards

WORDS = [
    "the total cost of 12 apples",
    "the cat, the café and 日本語",
    "añejo жук \U0001f600 totally",
    "a\tb  c\n\ndef",
]
TEXTS = [
    "",
    " ",
    "the total",
    "  two  spaces ",
    "日本語 text\t\x00\x07\n",
    "e\u0301 \U0001f469\u200d\U0001f680 naïve",
    "<0x41>",
]
texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text("the catol 12\té日\U0001f600", max_size=20),
    st.text(st.characters(codec="utf-8"), max_size=20),
)


def fast(tokenizer: Tokenizer, **special) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)


def joined(tokenizer, text: str) -> bytes:
    table = token_bytes(tokenizer)
    return b"".join(table[i] for i in tokenizer(text, add_special_tokens=False)["input_ids"])


def entry(tokenizer, token: str) -> bytes:
    return token_bytes(tokenizer)[tokenizer.get_vocab()[token]]


def qwen_like() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(WORDS * 3, trainer)
    tokenizer.add_special_tokens(["<|im_end|>", "<|é|>"])
    tokenizer.add_tokens([AddedToken("   ", normalized=False), AddedToken("ü", normalized=False)])
    return fast(tokenizer, eos_token="<|im_end|>")


def sentencepiece_like(normalizer, decoder) -> PreTrainedTokenizerFast:
    """BPE over characters with spaces made visible and every byte as a token, without a pre-tokenizer."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(WORDS * 3, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁▁", *model["vocab"]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "▁"), *map(tuple, model["merges"])]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer, tokenizer.decoder = normalizer, decoder
    tokenizer.add_special_tokens(["<unk>", "<s>", "<▁mask▁>"])
    return fast(tokenizer)


def gemma_like() -> PreTrainedTokenizerFast:
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return sentencepiece_like(normalizers.Replace(" ", "▁"), decoder)


def llama_like() -> PreTrainedTokenizerFast:
    decoder = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return sentencepiece_like(normalizer, decoders.Sequence(decoder))


def wordpiece() -> PreTrainedTokenizerFast:
    pieces = ["[UNK]", "[SEP]", "##", "#", "total", "play", "##ing", "##ly", *"abcdefghijklmnopqrstuvwxyz"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]", "[SEP]", "##sep"])
    return fast(tokenizer)


def word_end(declared_by_model: bool) -> PreTrainedTokenizerFast:
    letters = [letter + end for letter in "abcdefgh" for end in ("", "</w>")]
    pieces = {piece: i for i, piece in enumerate([*letters, "ab", "ab</w>", "</w>"])}
    merges = [("a", "b"), ("a", "b</w>")]
    suffix = {"end_of_word_suffix": "</w>"} if declared_by_model else {}
    tokenizer = Tokenizer(models.BPE(pieces, merges, **suffix))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.WhitespaceSplit(), decoders.BPEDecoder()
    return fast(tokenizer)


QWEN, GEMMA, LLAMA, WORDPIECE, WORD_END = qwen_like(), gemma_like(), llama_like(), wordpiece(), word_end(True)
SHIPPED_TOKENIZERS = {
    card["name"]: PreTrainedTokenizerFast.from_pretrained(str(SHIPPED / card["name"])) for card in cards()
}


def test_the_alphabet_is_the_tokenizers_own():
    assert set(ALPHABET) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(ALPHABET.values()) == list(range(256))
    letters = {byte: letter for letter, byte in ALPHABET.items()}
    assert [letters[byte] for byte in (0x20, 0x0A, 0x41, 0xE9, 0xAD)] == ["Ġ", "Ċ", "A", "é", "Ń"]


@given(texts)
def test_byte_level_tokens_join_to_the_text(text):
    assert joined(QWEN, text) == unicodedata.normalize("NFC", text).encode()


@pytest.mark.parametrize("tokenizer", [GEMMA, LLAMA], ids=["gemma", "llama"])
@given(text=texts)
def test_sentencepiece_tokens_join_to_the_text_up_to_one_space(tokenizer, text):
    text = text.replace("▁", "_")  # the mark itself cannot be told from a space
    dummy = b" " if tokenizer is LLAMA and text else b""
    assert joined(tokenizer, text) == dummy + text.encode()


@pytest.mark.parametrize("name", SHIPPED_TOKENIZERS)
@given(text=texts)
def test_the_shipped_tokens_join_to_the_text(name, text):
    text = text.replace("▁", "_").replace("<0x41>", "")  # written out, a byte's token is that byte
    assert joined(SHIPPED_TOKENIZERS[name], text) == text.encode()


@pytest.mark.parametrize(("tokenizer", "letters"), [(WORDPIECE, "abz "), (WORD_END, "abh ")], ids=["wordpiece", "</w>"])
@given(data=st.data())
def test_tokens_without_spaces_join_to_the_words(tokenizer, letters, data):
    text = data.draw(st.text(letters, max_size=20))
    assert joined(tokenizer, text) == text.replace(" ", "").encode()


def test_byte_level_entries_by_hand():
    table = token_bytes(QWEN)
    assert len(table) == len(QWEN) == max(QWEN.get_vocab().values()) + 1
    assert entry(QWEN, "Ġthe") == b" the"
    assert entry(QWEN, "é") == b"\xe9"
    # Added tokens are what they look like, although each of these letters has another meaning in the alphabet.
    assert entry(QWEN, "<|é|>") == "<|é|>".encode()
    assert entry(QWEN, "   ") == b"   "


def test_an_added_token_that_is_a_letter_of_the_alphabet_is_its_text():
    assert "ü" in ALPHABET
    assert joined(QWEN, "ü") == "ü".encode()


def test_sentencepiece_entries_by_hand():
    for tokenizer in (GEMMA, LLAMA):
        assert entry(tokenizer, "<0x41>") == b"A"
        assert entry(tokenizer, "<0xFF>") == b"\xff"
        assert entry(tokenizer, "▁▁") == b"  "
        assert entry(tokenizer, "<s>") == b"<s>"
        assert entry(tokenizer, "<▁mask▁>") == "<▁mask▁>".encode()


def test_runs_of_spaces_that_gemma_lists_as_added_are_still_spaces():
    tokenizer = gemma_like()
    tokenizer.backend_tokenizer.add_tokens([AddedToken("▁▁", normalized=False), AddedToken("▁new▁", normalized=False)])
    assert joined(tokenizer, "a  b") == b"a  b"
    assert entry(tokenizer, "▁new▁") == "▁new▁".encode()


def test_byte_tokens_are_plain_text_without_byte_fallback():
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("<0x41>", -1.0), ("▁total", -2.0)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    assert token_bytes(fast(tokenizer)) == [b"<unk>", b"<0x41>", b" total"]


@pytest.mark.parametrize("told_by", ["model", "decoder"])
def test_byte_tokens_are_bytes_where_model_or_decoder_says_so(told_by):
    tokenizer = Tokenizer(models.BPE({"<0x41>": 0, "<0x4G>": 1, "▁": 2}, [], byte_fallback=told_by == "model"))
    if told_by == "decoder":
        tokenizer.decoder = decoders.ByteFallback()
    assert token_bytes(fast(tokenizer)) == [b"A", b"<0x4G>", "▁".encode()]


@pytest.mark.parametrize("told_by", ["normalizer", "decoder", "metaspace", "metaspace decoder"])
def test_the_mark_of_a_space_is_read_from_any_component(told_by):
    tokenizer = Tokenizer(models.BPE({"_": 0, "_a": 1, "q": 2, "": 3}, []))
    tokenizer.normalizer = normalizers.Replace("a", "q")  # of no interest: only spaces come back
    if told_by == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([tokenizer.normalizer, normalizers.Replace(" ", "_")])
    elif told_by == "decoder":
        tokenizer.decoder = decoders.Replace("_", " ")
    elif told_by == "metaspace":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("_", "never")
    else:
        tokenizer.decoder = decoders.Sequence([decoders.Metaspace("_", "never")])
    assert token_bytes(fast(tokenizer)) == [b" ", b" a", b"q", b""]


def test_a_normalizer_that_drops_spaces_leaves_no_mark():
    tokenizer = Tokenizer(models.BPE({"ab": 0}, []))
    tokenizer.normalizer = normalizers.Replace(" ", "")
    assert token_bytes(fast(tokenizer)) == [b"ab"]


def test_wordpiece_entries_by_hand():
    expected = {"##ing": b"ing", "total": b"total", "##": b"##", "#": b"#", "[SEP]": b"[SEP]", "##sep": b"##sep"}
    assert {token: entry(WORDPIECE, token) for token in expected} == expected
    assert joined(WORDPIECE, "totally playing") == b"totallyplaying"


@pytest.mark.parametrize("declared_by_model", [True, False])
def test_word_end_entries_by_hand(declared_by_model):
    tokenizer = word_end(declared_by_model)
    assert [entry(tokenizer, token) for token in ("ab", "ab</w>", "</w>")] == [b"ab", b"ab", b"</w>"]


def test_clip_marks_word_ends_on_byte_level_tokens():
    tokenizer = Tokenizer(models.BPE({"Ã": 0, "©</w>": 1}, [], end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert token_bytes(fast(tokenizer)) == [b"\xc3", b"\xa9"]


def test_whole_words_and_holes():
    tokenizer = Tokenizer(models.WordLevel({"total": 1, "café": 4, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert token_bytes(fast(tokenizer)) == [b"", b"total", b"[UNK]", b"", "café".encode()]


def test_a_slow_byte_level_tokenizer(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"Ġ": 0, "Ã": 1, "©": 2, "Ã©": 3, "[UNK]": 4, "[STOP]": 5}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nÃ ©\n")
    tokenizer = ClvpTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), bos_token="[STOP]")
    tokenizer.add_tokens(["é"])
    assert token_bytes(tokenizer) == [b" ", b"\xc3", b"\xa9", "é".encode(), b"[UNK]", b"[STOP]", "é".encode()]


def slow(*entries: str, **more) -> SimpleNamespace:
    """A tokenizer written in Python, cut down to what is asked of it."""
    special = {0: AddedToken(entries[0], special=True)}
    vocabulary = {token: i for i, token in enumerate(entries)}
    return SimpleNamespace(get_vocab=lambda: vocabulary, added_tokens_decoder=special, **more)


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (slow("<▁>", "▁the", "a", sp_model=object()), ["<▁>".encode(), b" the", b"a"]),
        (slow("<s>", "日", "##a", sp_model=object()), [b"<s>", "日".encode(), b"##a"]),
        (slow("<s>", *BYTES, "▁the", "a"), [b"<s>", *(bytes([byte]) for byte in range(256)), b" the", b"a"]),
        (slow("<s>", "▁the", "<0x41>"), [b"<s>", b" the", b"<0x41>"]),
        (slow("[SEP]", "play", "##ing"), [b"[SEP]", b"play", b"ing"]),
        (slow("<s>", "play", "ing</w>"), [b"<s>", b"play", b"ing"]),
    ],
    ids=["sp_model", "no mark", "bytes", "mark", "##", "</w>"],
)
def test_slow_tokenizers_by_their_marks(tokenizer, expected):
    assert token_bytes(tokenizer) == expected


def test_a_slow_vocabulary_with_the_whole_alphabet_is_byte_level():
    letters = sorted(ALPHABET)
    assert token_bytes(slow("<s>", *letters, "Ġthe"))[1:] == [bytes([ALPHABET[c]]) for c in letters] + [b" the"]


@pytest.mark.parametrize("tokenizer", [object(), slow("<s>", "total")])
def test_an_unknown_tokenizer_is_refused(tokenizer):
    with pytest.raises(InputError, match=r"nothing tells which bytes .* expected a fast tokenizer .* tokenizer\.json$"):
        token_bytes(tokenizer)
