"""Tiny tokenizers of every family, trained here, and the bytes of their tokens."""

from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lada.alignment.offsets import byte_offsets

CORPUS = ["we utilize the crème brûlée", "the quick brown fox jumps over the fox", "日本語 の 文 and the 10 boxes"] * 5
BYTE_LEVEL = pre_tokenizers.ByteLevel.alphabet()
TEXTS = st.text(st.sampled_from("the fox wébr.  \t\n\x00\x07é日本😀👩‍👧ﬁⅣ①\u0301\u0323ß"), max_size=12)


def bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=sorted(BYTE_LEVEL), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def unigram(normalizer: Any, pre_tokenizer: Any = None) -> Tokenizer:
    """SentencePiece's pieces with byte fallback: a few words, letters, the marker and all bytes."""
    words = ["▁the", "▁fox", "▁we", "▁", *"thefoxwbr.▁"]
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256))]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((w, -float(3 + k)) for k, w in enumerate(dict.fromkeys(words)))],
                                         unk_id=0, byte_fallback=True))  # fmt: skip
    tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


MAKERS = {
    "bpe": bpe,
    "llama": lambda: unigram(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])),
    "gemma": lambda: unigram(normalizers.Replace(" ", "▁")),
    "nfkc": lambda: unigram(normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="always")),
    "wordpiece": wordpiece,
}


def spelling(token: str, *, byte_level: bool) -> bytes:
    if byte_level:
        codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
        hidden = [code for code in range(256) if code not in codes]
        table = {chr(c): c for c in codes} | {chr(256 + n): c for n, c in enumerate(hidden)}
        return bytes(table[character] for character in token)
    if token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").removeprefix("##").encode()


@cache
def made(kind: str) -> tuple[Any, list[bytes]]:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=MAKERS[kind](), clean_up_tokenization_spaces=False)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return tokenizer, [spelling(token, byte_level=kind == "bpe") for token in tokens]


def traced(kind: str, text: str) -> tuple[list[str], list[list[int]]]:
    """Return the tokens of a text and their byte offsets."""
    tokenizer, vocabulary = made(kind)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    offsets = byte_offsets(tokenizer, vocabulary, text, ids)
    assert offsets.dtype == np.int32
    assert offsets.shape == (len(ids), 2)
    return tokenizer.convert_ids_to_tokens(ids), offsets.tolist()
