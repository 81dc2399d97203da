"""A tokenizer in one of the four forms that llama.cpp has for what transformers calls BPE and Unigram.

- `gpt2`: byte-level BPE, with the name of the pre-tokeniser that splits texts before any merge.
- `gpt2` with the pre-tokeniser `sarvam-moe`: BPE by merges over characters, `▁` for a space, `<0xNN>` for other bytes,
  cut nowhere but at newlines. Byte-level BPE whose merges are all ASCII is the same thing in other letters.
- `llama`: SentencePiece's BPE: scores give the order of merges, and any two tokens that make a third may merge.
- `t5`: Unigram.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from lada.alignment.tokens import BYTE_TOKEN, WORD_MARK, token_bytes
from lada.core.errors import InputError
from lada.export.gguf_pre import needs_no_cut, pre_tokeniser

UNCUT = "sarvam-moe"
DIFFERS = (
    "llama.cpp splits texts differently from this tokenizer, so give it token ids instead of text, "
    "or export to hf or onnx"
)


class TokenKind(IntEnum):
    """Token types of GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A file's description of its tokenizer."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[TokenKind]
    merges: list[str] | None = None
    scores: list[float] | None = None
    prefix: bool = False
    """Whether a text gets a space in front."""
    charsmap: bytes | None = None
    """SentencePiece's normalisation, compiled."""
    unknown: int | None = None
    adds_bos: bool = False
    notes: tuple[str, ...] = field(default=())


def vocabulary_of(tokenizer: Any, rows: int, texts: Sequence[str]) -> Vocabulary:
    """Return the vocabulary of a transformers tokenizer, filled up to `rows` tokens.

    `texts` are compared in addition to built-in probes. `notes` describes where llama.cpp will differ. Raises
    InputError if the tokenizer has no tokenizer.json, or is neither BPE nor Unigram.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = json.loads(backend.to_str()) if backend is not None else {"model": {"type": type(tokenizer).__name__}}
    model, kind = described["model"], described["model"]["type"]
    tokens, kinds = _tokens(tokenizer, rows, bytewise=bool(model.get("byte_fallback")))
    unknown: Any = model.get("unk_id") if kind == "Unigram" else tokenizer.unk_token_id
    ids = tokenizer("a")["input_ids"]
    bare = Vocabulary(
        "",
        "default",
        tokens,
        kinds,
        prefix=_starts(backend, "a").startswith(WORD_MARK) if backend is not None else False,
        unknown=unknown,
        adds_bos=tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id],
    )
    match kind:
        case "BPE" if '"ByteLevel"' in json.dumps(described["pre_tokenizer"]):
            return _byte_level(bare, tokenizer, model, texts)
        case "BPE":
            return _sentencepiece(bare, model)
        case "Unigram":
            keeps = WORD_MARK * 2 in _starts(backend, "a  b")
            return replace(_unigram(bare, model, described["normalizer"]), notes=_unigram_notes(model, keeps))
    raise InputError(
        f"export: gguf cannot hold a tokenizer of the kind {kind!r}; expected BPE or Unigram in a tokenizer.json, or "
        "export to hf or onnx instead"
    )


def _tokens(tokenizer: Any, rows: int, *, bytewise: bool) -> tuple[list[str], list[TokenKind]]:
    """Return tokens and kinds for ids 0 to `rows`; ids that the tokenizer does not know are unused."""
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    added, special = tokenizer.added_tokens_decoder, set(tokenizer.all_special_ids)
    kinds = []
    for index in range(rows):
        if index not in names:
            kinds.append(TokenKind.UNUSED)
        elif index in special or (index in added and added[index].special):
            kinds.append(TokenKind.CONTROL)
        elif index in added:
            kinds.append(TokenKind.USER_DEFINED)
        else:
            kinds.append(TokenKind.BYTE if bytewise and BYTE_TOKEN.fullmatch(names[index]) else TokenKind.NORMAL)
    return [names.get(index, f"[unused {index}]") for index in range(rows)], kinds


def _starts(backend: Any, text: str) -> str:
    """Return a text in the form that a tokenizer's model sees."""
    text = backend.normalizer.normalize_str(text) if backend.normalizer else text
    return (
        "".join(piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)) if backend.pre_tokenizer else text
    )


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]


def _byte_level(bare: Vocabulary, tokenizer: Any, model: Mapping[str, Any], texts: Sequence[str]) -> Vocabulary:
    merges = _merges(model)
    found = pre_tokeniser(tokenizer.backend_tokenizer, texts)
    if found is None and _spells(tokenizer, merges) and needs_no_cut(tokenizer.backend_tokenizer, texts):
        return _spelt(bare, tokenizer, merges)
    notes = () if found else (DIFFERS,)
    joined = [" ".join(merge) for merge in merges]
    return replace(bare, model="gpt2", pre=found or "gpt-2", merges=joined, notes=notes)


def _spells(tokenizer: Any, merges: Iterable[tuple[str, str]]) -> bool:
    """Return whether all merges are ASCII and the word mark has only one meaning."""
    spelt, ids = token_bytes(tokenizer), tokenizer.get_vocab()
    return all(spelt[ids[part]].isascii() for merge in merges for part in merge)


def _spelt(bare: Vocabulary, tokenizer: Any, merges: Iterable[tuple[str, str]]) -> Vocabulary:
    """Return a byte-level vocabulary in characters: single bytes as `<0xNN>`, everything else as text with `▁` for a
    space."""
    spelt, ids = token_bytes(tokenizer), tokenizer.get_vocab()
    tokens, kinds = list(bare.tokens), list(bare.kinds)
    for index, kind in enumerate(bare.kinds):
        if kind is TokenKind.NORMAL and len(spelt[index]) == 1 and spelt[index] != b" ":
            tokens[index], kinds[index] = f"<0x{spelt[index][0]:02X}>", TokenKind.BYTE
        elif kind is TokenKind.NORMAL:
            tokens[index] = _marked(spelt[index])
    joined = [" ".join(_marked(spelt[ids[part]]) for part in merge) for merge in merges]
    return replace(bare, model="gpt2", pre=UNCUT, tokens=tokens, kinds=kinds, merges=joined)


def _marked(text: bytes) -> str:
    return text.decode().replace(" ", WORD_MARK)


def _sentencepiece(bare: Vocabulary, model: Mapping[str, Any]) -> Vocabulary:
    merges = _merges(model)
    closed = _closed(bare, set(merges))
    if not closed and not bare.prefix:
        return replace(bare, model="gpt2", pre=UNCUT, merges=[" ".join(merge) for merge in merges])
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge), rank)
    scores = [-float(ranks.get(token, 0)) for token in bare.tokens]
    return replace(bare, model="llama", scores=scores, notes=() if closed else (DIFFERS,))


def _closed(bare: Vocabulary, merges: set[tuple[str, str]]) -> bool:
    """Return whether any two tokens that make a third may merge, as SentencePiece assumes."""
    normal = {token for token, kind in zip(bare.tokens, bare.kinds, strict=True) if kind is TokenKind.NORMAL}
    return all(
        (token[:cut], token[cut:]) in merges
        for token in normal
        for cut in range(1, len(token))
        if token[:cut] in normal and token[cut:] in normal
    )


def _unigram(bare: Vocabulary, model: Mapping[str, Any], normalizer: Any) -> Vocabulary:
    scores = [float(score) for _, score in model["vocab"]]
    compiled = [part["precompiled_charsmap"] for part in _parts(normalizer) if part["type"] == "Precompiled"]
    return replace(
        bare,
        model="t5",
        scores=scores + [0.0] * (len(bare.tokens) - len(scores)),
        charsmap=base64.b64decode(compiled[0]) if compiled else None,
    )


def _unigram_notes(model: Mapping[str, Any], keeps_spaces: bool) -> tuple[str, ...]:
    notes = [] if keeps_spaces else [DIFFERS]
    if model.get("byte_fallback"):
        notes.append(
            "llama.cpp has no byte fallback for Unigram: characters outside the vocabulary become unknown tokens"
        )
    return tuple(notes)


def _parts(component: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return a normalizer's parts."""
    if component is None:
        return []
    return [part for each in component.get("normalizers", ()) for part in _parts(each)] or [component]
