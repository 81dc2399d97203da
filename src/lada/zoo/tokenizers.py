"""Tokenizers of the shipped models: three kinds, all of which encode any text by falling back to bytes.

In the built-in corpus, spaces separate all words and numbers. A pre-tokenizer that splits there keeps every number one
token and every verb at most a few.
"""

from collections.abc import Iterable
from typing import Any, Literal

import regex
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

EOS, PAD = "<eos>", "<pad>"
SPECIAL = [PAD, EOS]
TokenizerKind = Literal["bpe", "unigram"]


WORDS = r" ?[^\s]+|\s"
"""Splits a text whose words and numbers are all separated by spaces."""
PROSE = r" ?\d+| ?[^\W\d_]+| ?[^\w\s]+|_|\s"
"""Splits a text in which punctuation follows words and numbers into separate words, numbers and punctuation."""


def _bpe(words: Iterable[str], size: int, pattern: str) -> Tokenizer:
    """Byte-level BPE: a word carries the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    return tokenizer


def _unigram(words: Iterable[str], pattern: str) -> Tokenizer:
    """Unigram from a given vocabulary (its trainer stalls on a small closed one): words, bytes, characters."""
    split = regex.compile(pattern)
    whole = sorted({word.strip() for text in words for word in split.findall(text)} - {""})
    pieces = [f"▁{word}" for word in whole] + whole
    characters = [*sorted({c for word in whole for c in word} - set(pieces)), "▁", "\n"]
    vocabulary = [(token, 0.0) for token in [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]]
    vocabulary += [(piece, -5.0 - (not piece.startswith("▁"))) for piece in pieces]
    vocabulary += [(character, -12.0) for character in characters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="never", split=pattern == WORDS)
    tokenizer.pre_tokenizer = (
        metaspace
        if pattern == WORDS
        else pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), metaspace])
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def make_tokenizer(kind: TokenizerKind, texts: Iterable[str], size: int, pattern: str = WORDS) -> Any:
    """Return a fast transformers tokenizer trained on `texts`; the unigram kind ignores `size`.

    No token goes beyond a match of `pattern`.
    """
    from transformers import PreTrainedTokenizerFast  # here, since looking up recipes does not need it

    tokenizer = _bpe(texts, size, pattern) if kind == "bpe" else _unigram(texts, pattern)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, clean_up_tokenization_spaces=False
    )
