"""Finds the bytes of a text that each of its tokens covers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lada.core.errors import InputError
from lada.core.plural import counted


def byte_offsets(tokenizer: Any, vocabulary: Sequence[bytes], text: str, ids: Sequence[int]) -> np.ndarray:
    """Return int32 [n, 2]: start and end in the text's UTF-8 of each token that `tokenizer` gave for it.

    `ids` are those of the whole text without special tokens; `vocabulary` holds the bytes of each id. If these bytes
    spell the text, or the text after one leading space that the tokenizer added, their lengths give exact byte offsets;
    a token that is only this space has no width. Otherwise, for example if a normaliser changed the text, the offsets
    are the tokenizer's own, which cover whole characters: tokens that share a character share its offsets.

    Raises InputError if neither way traces the text.
    """
    raw = text.encode()
    pieces = [vocabulary[i] for i in ids]
    spelt = b"".join(pieces)
    if spelt in (raw, b" " + raw):
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        bounds = np.append(0, ends) - (len(spelt) - len(raw))
        return np.stack([bounds[:-1], bounds[1:]], axis=1).clip(0).astype(np.int32)
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(encoded["input_ids"]) == list(ids):
            size = np.cumsum([0, *(len(character.encode()) for character in text)])
            return size[np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)].astype(np.int32)
    raise InputError(
        f"text {text[:60]!r}: its {counted(len(ids), 'token')} cannot be traced to its bytes; expected the ids of "
        "the whole text "
        "without special tokens, from a tokenizer that keeps the text's bytes or a fast one"
    )
