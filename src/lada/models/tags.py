"""Thinking tags as one tokenizer has them: text, a token of their own, or several, special ones among them."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lada.core.thinking import TAGS
from lada.models.options import Think

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
"""What begins, parts and ends the head of a message, as harmony writes it; a role and a channel are no answer."""


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
        start, channel, message = (index.get(token, -1) for token in (START, CHANNEL, MESSAGE))
        self._heads = {start: (channel, message), channel: (message,)} if message >= 0 else {}
        self._message = message

    def masked(self, path: str, mask: Callable[[str], str]) -> str:
        """Return a path of which all but the tags went through `mask`."""
        return "".join(part if i % 2 else mask(part) for i, part in enumerate(self._meant.split(path)))

    def readable(self, ids: Sequence[int]) -> list[int]:
        """Return the ids that are text: no special tokens but those of tags, and no heads of messages."""
        if not self._kept and not self._heads:  # nothing depends on what stands beside it
            return [index for index in ids if index not in self._special]
        read: list[int] = []
        place = 0
        while place < len(ids):
            tag = next((tag for tag in self._kept if tuple(ids[place : place + len(tag)]) == tag), ())
            ends = () if tag else self._heads.get(ids[place], ())
            end = next((i for i in range(place + 1, len(ids)) if ids[i] in ends), None)
            if end is not None:
                place = end + (ids[end] == self._message)
                continue
            read += tag or [index for index in ids[place : place + 1] if index not in self._special]
            place += len(tag) or 1
        return read
