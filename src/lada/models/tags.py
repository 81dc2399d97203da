"""Thinking tags as one tokenizer has them: text, a token of their own, or several, special ones among them."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lada.core.thinking import TAGS
from lada.models.options import Think

HEADS = (("<|start|>", "<|message|>"), ("<|channel|>", "<|message|>"))
"""What begins and ends the head of a message, as harmony writes it: the text within is no part of an answer."""


class Tags:
    """Which tags of a path are tokens that mean it, and which of the ids that a model wrote are text."""

    def __init__(self, tokenizer: Any, think: Think | None, special: Collection[int]) -> None:
        """`special` are the ids that are no text. Without `think` no tag is more than the text that it spells."""
        known = [tag for pair in TAGS.items() for tag in pair]
        ids = {tag: tuple(tokenizer(tag, add_special_tokens=False)["input_ids"]) for tag in known}
        own = {index for index in tokenizer.added_tokens_decoder if index not in special}
        if think is None:
            meant = [tag for tag in known if len(ids[tag]) == 1 and ids[tag][0] in own]
            kept = [tag for tag in known if len(ids[tag]) > 1]
        else:
            meant = kept = [think.open, think.close]
            ids |= {tag: tuple(tokenizer(tag, add_special_tokens=False)["input_ids"]) for tag in meant}
        self._meant = re.compile(f"({'|'.join(map(re.escape, meant)) or '(?!)'})")
        self._kept = [ids[tag] for tag in kept if not {*ids[tag]}.isdisjoint(special)]
        self._special = frozenset(special)
        index = {tokenizer.convert_ids_to_tokens(i): i for i in special}
        self._heads = {index[a]: index[b] for a, b in HEADS if a in index and b in index}

    def masked(self, path: str, mask: Callable[[str], str]) -> str:
        """Return a path of which all but the tags went through `mask`."""
        return "".join(part if i % 2 else mask(part) for i, part in enumerate(self._meant.split(path)))

    def readable(self, ids: Sequence[int]) -> list[int]:
        """Return the ids that are text: no special tokens but those of tags, and no heads of messages."""
        read: list[int] = []
        place = 0
        while place < len(ids):
            tag = next((tag for tag in self._kept if tuple(ids[place : place + len(tag)]) == tag), ())
            head = self._heads.get(ids[place]) if not tag else None
            if head is not None and head in ids[place:]:
                place = list(ids).index(head, place) + 1
                continue
            read += tag or [index for index in ids[place : place + 1] if index not in self._special]
            place += len(tag) or 1
        return read
