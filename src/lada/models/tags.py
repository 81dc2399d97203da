"""The thinking tags of one tokenizer: plain text, one token, or several tokens, possibly special ones."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lada.core.thinking import TAGS
from lada.models.options import Think

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
"""The marks that begin, divide and end the header of a message in harmony's format; a role and a channel are not part
of an answer."""


class Tags:
    """Tells which tags in a path are meant as tags, and which ids of a model's output are text."""

    def __init__(self, tokenizer: Any, think: Think | None, special: Collection[int]) -> None:
        """`special` are the ids that are not text. Without `think`, tags are plain text."""
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
        """Return a path with everything except its tags passed through `mask`."""
        return "".join(part if i % 2 else mask(part) for i, part in enumerate(self._meant.split(path)))

    def readable(self, ids: Sequence[int]) -> list[int]:
        """Return the ids that are text: no special tokens except those of tags, and no headers of messages."""
        if not self._kept and not self._heads:  # nothing depends on its neighbours
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
