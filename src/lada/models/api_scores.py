"""A server's scores of given texts: the log-probs of a prompt's tokens, as vLLM and older completions report them."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Self

import numpy as np

from lada.core.terms import SparseLogProbs
from lada.models.api_reply import Usage, first_choice, log_prob, used

UNREADABLE = "\ufffd"
"""The text that servers write for bytes that are not a complete character."""
BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)", re.IGNORECASE)
"""The notation of such bytes in OpenAI's completions."""


class Scored(Usage):
    """The tokens of a prompt, possibly followed by tokens that a server wrote.

    `texts` are the tokens' texts, as far as the server gives them. `log_probs` has one row per token, nats: its own
    log-prob, then those of the likeliest tokens; None if unknown. `ids` has as many entries, or is empty if the server
    gives no ids. All three are empty if the server does not score.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    log_probs: tuple[tuple[float | None, ...], ...]

    @classmethod
    def read(cls, data: Any, clear: Callable[[str], str]) -> Self:
        """See Usage.read."""
        choice, usage = first_choice(data) or {}, used(data)
        told = choice.get("prompt_logprobs") or data.get("prompt_logprobs")
        if told:
            rows = [list((row or {}).items()) for row in told]
            texts = [str(row[0][1].get("decoded_token") or "") if row else "" for row in rows]
            ids = tuple(tuple(int(id) for id, _ in row) for row in rows)
            log_probs = tuple(tuple(log_prob(each["logprob"]) for _, each in row) for row in rows)
        else:
            echoed = choice.get("logprobs") or {}
            own = echoed.get("token_logprobs") or ()
            texts = [str(token) for token in echoed.get("tokens") or ()][: len(own)]
            ids, log_probs = (), tuple((log_prob(value),) for value in own[: len(texts)])
        return cls(texts=tuple(clear(text) for text in texts), ids=ids, log_probs=log_probs, **usage)

    def of_text(self, before: str, text: str) -> list[float] | None:
        """Return the log-probs of the tokens of `text` in the prompt `before + text`; None if they cannot be
        determined.

        This happens if a token overlaps both texts, or if the server gives nothing for a token.
        """
        # Some servers list the tokens that they wrote after the prompt's; others do not.
        ends = {len(self.texts), len(self.texts) - (0 if self.ids else self.output_tokens or 0)}
        firsts = {end: first_of(self.texts[:end], before.encode(), text.encode()) for end in ends if end >= 0}
        found = [slice(first, end) for end, first in firsts.items() if first is not None]
        if len(found) != 1:
            return None
        inside = [row[0] if row else None for row in self.log_probs[found[0]]]
        return None if None in inside else [value for value in inside if value is not None]

    def of_tokens(self, prompt: Sequence[int], completion: Sequence[int]) -> list[Mapping[int, float]] | None:
        """Return, for each token of `completion` after `prompt`, its log-prob and those of other tokens, by id.

        None if the server scored other tokens, or gives nothing for one.
        """
        if len(self.ids) != len(prompt) + len(completion):
            return None
        rows: list[Mapping[int, float]] = []
        for own, ids, log_probs in zip(completion, self.ids[len(prompt) :], self.log_probs[len(prompt) :], strict=True):
            row = {id: value for id, value in zip(ids, log_probs, strict=True) if value is not None}
            if own not in row:
                return None
            rows.append(row)
        return rows


def likeliest(rows: Sequence[Mapping[int, float]], tokens: np.ndarray, k: int, size: int) -> SparseLogProbs | None:
    """Return the k likeliest tokens of each row, including the text's own (`tokens`); None if a row has fewer.

    Only ids below `size`, those of the tokenizer's tokens, are returned.
    """
    ids, log_probs = np.zeros((len(rows), k), np.int32), np.zeros((len(rows), k), np.float32)
    for place, (row, own) in enumerate(zip(rows, tokens.tolist(), strict=True)):
        others = sorted((id for id in row if id != own and 0 <= id < size), key=lambda id: (-row[id], id))
        chosen = sorted([own, *others[: k - 1]])
        if len(chosen) < k:
            return None
        ids[place], log_probs[place] = chosen, [row[id] for id in chosen]
    return SparseLogProbs(ids, log_probs)


def first_of(texts: Sequence[str], before: bytes, text: bytes) -> int | None:
    """Return the position of the token of `before + text` with which `text` begins; None if that is not certain.

    The search starts at the end, since there may be special tokens and spaces in front that are not in `before`. A
    token that ends or begins within a character reports only its other bytes. The bytes between such tokens and the
    next one that reports some belong to them, and none of these is ASCII.
    """
    whole, size = before + text, len(before)
    at, unread = len(whole), False
    for index in reversed(range(len(texts))):
        pieces = _pieces(texts[index])
        for place in reversed(range(len(pieces))):
            piece = pieces[place]
            if piece is None:
                unread = True
                continue
            least = at - sum(1 for _ in takewhile(lambda byte: byte >= 0x80, reversed(whole[:at]))) if unread else at
            ends = [end for end in range(least, at + 1) if whole.endswith(piece, 0, end)]
            if len(ends) != 1:
                return None
            if unread and ends[0] == size:
                return index + 1 if place == len(pieces) - 1 else None
            at, unread = ends[0] - len(piece), False
            if at <= size:
                return index if at == size and place == 0 else None
    return None


def _pieces(text: str) -> list[bytes | None]:
    """Return the bytes of a token's text in pieces, None for each unknown piece."""
    if match := BYTES.fullmatch(text):
        return [bytes.fromhex(match[1].replace("\\x", ""))]
    pieces = re.split(f"({UNREADABLE}+)", text)
    return [None if piece[:1] == UNREADABLE else piece.encode("utf-8", "replace") for piece in pieces if piece] or [
        None
    ]
