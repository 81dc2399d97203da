"""Finds the true bytes of every token of a tokenizer of any class, from the tokenizer's own description."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lada.core.errors import InputError

WORD_MARK = "▁"
"""SentencePiece's visible space."""
CONTINUATION = "##"
"""WordPiece's prefix of a token inside a word."""
WORD_END = "</w>"
"""The suffix of a token that ends a word, as in the first BPE for language models (arXiv 1508.07909)."""
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """Return the inverse of GPT-2's letter for each byte: printable Latin-1 represents itself, the rest follows
    U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


ALPHABET = _byte_alphabet()


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How a tokenizer's vocabulary writes bytes; `spaces` are strings that represent others, often a space."""

    alphabet: Mapping[str, int] | None = None
    prefix: str = ""
    suffix: str = ""
    spaces: Mapping[str, str] | None = None
    byte_tokens: bool = False

    def read(self, token: str) -> bytes:
        """Return the bytes of one entry of the model's own vocabulary."""
        if self.byte_tokens and (match := BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(match[1])
        # A token that is only its affix is that text itself.
        text = token.removeprefix(self.prefix).removesuffix(self.suffix) or token
        if self.alphabet is not None:
            return bytes(map(self.alphabet.__getitem__, text)) if self.alphabet.keys() >= set(text) else text.encode()
        for mark, meaning in (self.spaces or {}).items():
            text = text.replace(mark, meaning)
        return text.encode()


def token_bytes(tokenizer: Any) -> list[bytes]:
    """Return the bytes of each token id, from 0 to the greatest; an id without a token has b"".

    `tokenizer` is a transformers tokenizer, fast or slow. Added and special tokens represent their literal text. The
    space between two words is part of a token only if the vocabulary writes it there. With WordPiece, `</w>` or whole
    words it belongs to no token (our reading, which agrees with the tokenizers' offsets). Raises InputError if nothing
    tells how the vocabulary writes bytes.
    """
    vocabulary, spelling, own = _describe(tokenizer)
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, index in vocabulary.items():
        table[index] = spelling.read(token)
    for index, added in tokenizer.added_tokens_decoder.items():
        # Gemma lists runs of its own word mark as added tokens; they still are what the model writes spaces with.
        if added.special or not spelling.spaces or added.content not in own:
            table[index] = added.content.encode()
    return table


def _describe(tokenizer: Any) -> tuple[Mapping[str, int], _Spelling, Mapping[str, int]]:
    """Return the whole vocabulary, its spelling, and the part of it that is the model's own."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return tokenizer.get_vocab(), _fast(json.loads(backend.to_str())), backend.get_vocab(with_added_tokens=False)
    if not hasattr(tokenizer, "get_vocab") or not hasattr(tokenizer, "added_tokens_decoder"):
        raise _unknown(tokenizer)
    vocabulary = tokenizer.get_vocab()
    return vocabulary, _slow(tokenizer, vocabulary), vocabulary


def _parts(component: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield a component's parts, sequences unfolded."""
    if component is not None:
        inner = [each for key in ("normalizers", "pretokenizers", "decoders") for each in component.get(key, ())]
        if not inner:
            yield component
        for each in inner:
            yield from _parts(each)


def _fast(description: Mapping[str, Any]) -> _Spelling:
    """Read a `tokenizer.json`: the decoder undoes what normalizer and pre-tokenizer do, and any of them may show the
    spelling."""
    model = description["model"]
    decoders = list(_parts(description["decoder"]))
    before = [*_parts(description["normalizer"]), *_parts(description["pre_tokenizer"])]
    suffix = model.get("end_of_word_suffix") or ""
    spaces: dict[str, str] = {}
    for part in before:
        match part:
            case {"type": "Metaspace", "replacement": mark}:
                spaces[mark] = " "
            case {"type": "Replace", "pattern": {"String": " "}, "content": mark} if mark:
                spaces[mark] = " "
    for part in decoders:
        match part:
            case {"type": "Metaspace", "replacement": mark}:
                spaces[mark] = " "
            case {"type": "Replace", "pattern": {"String": mark}, "content": meaning}:
                spaces[mark] = meaning
            case {"type": "BPEDecoder", "suffix": mark}:
                suffix = suffix or mark
    kinds = {part["type"] for part in [*before, *decoders]}
    return _Spelling(
        alphabet=ALPHABET if "ByteLevel" in kinds else None,
        prefix=model.get("continuing_subword_prefix") or "",
        suffix=suffix,
        spaces=spaces,
        byte_tokens=bool(model.get("byte_fallback")) or "ByteFallback" in kinds,
    )


def _slow(tokenizer: Any, vocabulary: Mapping[str, int]) -> _Spelling:
    """Read a tokenizer written in Python: its attributes, else the marks in its vocabulary."""
    if isinstance(alphabet := getattr(tokenizer, "byte_decoder", None), Mapping):
        return _Spelling(alphabet=alphabet)
    if vocabulary.keys() >= ALPHABET.keys():
        return _Spelling(alphabet=ALPHABET)
    byte_tokens = all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    if hasattr(tokenizer, "sp_model") or byte_tokens or any(WORD_MARK in token for token in vocabulary):
        return _Spelling(spaces={WORD_MARK: " "}, byte_tokens=byte_tokens)
    if any(token.startswith(CONTINUATION) for token in vocabulary):
        return _Spelling(prefix=CONTINUATION)
    if any(token.endswith(WORD_END) for token in vocabulary):
        return _Spelling(suffix=WORD_END)
    raise _unknown(tokenizer)


def _unknown(tokenizer: Any) -> InputError:
    return InputError(
        f"model: nothing tells which bytes the tokens of {type(tokenizer).__name__} stand for; expected a fast "
        "tokenizer (tokenizer.json), or a slow one with a byte_decoder, an sp_model or a vocabulary with word marks "
        f"({WORD_MARK}, {CONTINUATION}, {WORD_END}); save the model with a tokenizer.json"
    )
