"""What a server makes of given texts: the log-probs of a prompt's tokens, as vLLM and older completions tell them."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Self

import numpy as np

from lada.core.terms import SparseLogProbs
from lada.models.api_reply import Usage, log_prob, used

UNREADABLE = "\ufffd"
"""What servers write in the place of bytes that are no whole character."""
BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)", re.IGNORECASE)
"""How OpenAI's completions write them."""


class Scored(Usage):
    """The tokens of a prompt, and behind it perhaps some that a server wrote.

    `texts` are theirs as far as the server can say; `log_probs` has one row per token, its own log-prob first and
    behind it those of the likeliest, nats, None for what is not said; `ids` has as many, or is empty where the server
    tells no ids. All three are empty for a server that does not score.
    """

    texts: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    log_probs: tuple[tuple[float | None, ...], ...]

    @classmethod
    def read(cls, data: Any, clear: Callable[[str], str]) -> Self:
        """See Usage.read."""
        choice, usage = data["choices"][0], used(data)
        told = choice.get("prompt_logprobs") or data.get("prompt_logprobs")
        if told:
            rows = [list((row or {}).items()) for row in told]
            texts = [str(row[0][1].get("decoded_token") or "") if row else "" for row in rows]
            ids = tuple(tuple(int(id) for id, _ in row) for row in rows)
            log_probs = tuple(tuple(log_prob(each["logprob"]) for _, each in row) for row in rows)
        else:
            echoed = choice.get("logprobs") or {}
            own = echoed.get("token_logprobs") or ()
            written = usage["output_tokens"] or 0
            texts = [str(token) for token in echoed.get("tokens") or ()][: len(own) - written]
            ids, log_probs = (), tuple((log_prob(value),) for value in own[: len(texts)])
        return cls(texts=tuple(clear(text) for text in texts), ids=ids, log_probs=log_probs, **usage)

    def of_text(self, before: str, text: str) -> list[float] | None:
        """Return the log-probs of the tokens of `text` in the prompt `before + text`; None where that cannot be told.

        As where one token is of both, or where the server says nothing of a token.
        """
        size, places = len(before.encode()), starts(self.texts, (before + text).encode())
        if places is None or size not in places:
            return None
        inside = [row[0] if row else None for row in self.log_probs[places.index(size) : len(places)]]
        return None if None in inside else [value for value in inside if value is not None]

    def of_tokens(self, prompt: Sequence[int], completion: Sequence[int]) -> list[Mapping[int, float]] | None:
        """Return for each token of `completion` behind `prompt` the log-probs of it and of others, by id.

        None where the server scored other tokens, or says nothing of one.
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
    """Return the k likeliest tokens of each row, the text's own (`tokens`) among them; None where a row has fewer.

    Only ids below `size`, those of the tokenizer's tokens, are named.
    """
    ids, log_probs = np.zeros((len(rows), k), np.int32), np.zeros((len(rows), k), np.float32)
    for place, (row, own) in enumerate(zip(rows, tokens.tolist(), strict=True)):
        others = sorted((id for id in row if id != own and 0 <= id < size), key=lambda id: (-row[id], id))
        chosen = sorted([own, *others[: k - 1]])
        if len(chosen) < k:
            return None
        ids[place], log_probs[place] = chosen, [row[id] for id in chosen]
    return SparseLogProbs(ids, log_probs)


def starts(texts: Sequence[str], whole: bytes) -> list[int] | None:
    """Return at which byte of `whole` each token begins; None where the tokens do not spell it.

    A token that ends within a character says its bytes up to there alone: it and those behind it, up to the next one
    that says some, share what is between, none of it ASCII, and begin where it does. Ahead of everything there may be
    special tokens, of which nothing is in `whole`, and a space that a tokenizer put there. Tokens behind the end of
    `whole`, which a server wrote, have no place.
    """
    found: list[int] = []
    at, partial = 0, False
    for text in texts:
        if at == len(whole):
            break
        head, ends_within = _bytes(text)
        beyond = sum(1 for _ in takewhile(lambda byte: byte >= 0x80, whole[at:])) if partial else 0
        place = whole.find(head, at, at + beyond + len(head)) if head else at
        if place < 0:
            if at:
                return None
            head, place = (head[1:] if head[:1] == b" " and whole.startswith(head[1:]) else b""), 0
        found.append(place if head or not partial else found[-1])
        partial = ends_within or (partial and not head)
        at = place + len(head)
    rest = whole[at:]
    return found if not rest or (partial and min(rest) >= 0x80) else None


def _bytes(text: str) -> tuple[bytes, bool]:
    """Return the bytes that a token's text says, and whether it has more that it does not."""
    if match := BYTES.fullmatch(text):
        return bytes.fromhex(match[1].replace("\\x", "")), False
    head, unreadable, _ = text.partition(UNREADABLE)
    return head.encode("utf-8", "replace"), bool(unreadable) or not text
