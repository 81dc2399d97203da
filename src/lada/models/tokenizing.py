"""Tokenizes a text for a learner and traces the tokens to the text's bytes."""

import numpy as np

from lada.alignment import byte_offsets
from lada.core.errors import InputError
from lada.core.terms import TokenizedText, Vocabulary
from lada.models.encoding import Encoder


def tokenize_text(encoder: Encoder, vocabulary: Vocabulary, text: str) -> TokenizedText | None:
    """Return the tokens of a text, closed by end-of-sequence; None if they cannot be traced to its bytes."""
    *ids, eos = encoder.completion(text)
    size = len(text.encode())
    try:
        offsets = byte_offsets(encoder.tokenizer, vocabulary.tokens, text, ids)
    except InputError:
        return None
    return TokenizedText(np.array([*ids, eos], np.int32), np.vstack([offsets, [[size, size + 1]]]))
