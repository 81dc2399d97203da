"""Keeps text as text: nothing that users or other models wrote becomes a special token that structures turns.

A tokenizer turns every text that spells a special token into that token, wherever the text comes from. So foreign text
is *masked*: its spellings of reserved tokens become marks made of private characters, which a chat template passes on
like any word. Any text that still spells a reserved token comes from the template and means the token. Marked text is
tokenized letter by letter.
"""

import json
import re
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tokenizers import Tokenizer

from lada.core.errors import InputError

DIGITS = "".join(map(chr, range(0x10FF00, 0x10FF10)))
"""The digits of marks: private-use characters, which no filter of a template changes and no token contains."""
MASK, NAME, END = "\U0010ff20", "\U0010ff21", "\U0010ff22"
"""The beginning of a mark for foreign text, the beginning of a mark for a real token, and the end of both."""
PRIVATES, UNREADABLE = re.compile(f"[{DIGITS}{MASK}{NAME}{END}]"), "\ufffd"
"""These characters in foreign text, and their replacements."""
KNOWN, SHORT = 2**13, 1000
"""How many texts have cached ids, and the most characters of such a text: questions are asked and taught repeatedly."""
TO_DIGITS, FROM_DIGITS = str.maketrans("0123456789abcdef", DIGITS), str.maketrans(DIGITS, "0123456789abcdef")


class Reserved:
    """The tokens of one tokenizer that foreign text must not become. The tokenizer itself is not changed."""

    def __init__(self, tokenizer: Any, ids: Collection[int]) -> None:
        """`ids` are the ids of added or special tokens."""
        self._tokenizer = tokenizer
        self._ids = frozenset(ids)
        self._content = {index: str(tokenizer.convert_ids_to_tokens(index)) for index in sorted(self._ids)}
        self._index = {content: index for index, content in self._content.items()}
        self._spelt = re.compile("|".join(map(re.escape, sorted(self._index, key=len, reverse=True))) or r"(?!)")
        self._mark = re.compile(f"{MASK}([{DIGITS}]+){END}")
        self._name = re.compile(f"{NAME}([{DIGITS}]+){END}")
        self._twin: Tokenizer | None = None
        self._known = lru_cache(maxsize=KNOWN)(self._tokenized)

    def mask(self, text: str) -> str:
        """Return a masked text, which `tokenize` encodes as plain text only."""
        text = PRIVATES.sub(UNREADABLE, text)  # else anyone who writes our marks could write tokens
        if not self._spelt.search(text) and self._ids.isdisjoint(self._plain(text, False)):
            return text
        masked = self._spelt.sub(lambda found: _marked(MASK, self._index[found[0]]), text)
        # A normaliser may turn other letters, such as wide ones, into a reserved token; the mark of nothing warns of
        # this.
        return masked if masked != text else f"{_marked(MASK, len(self._tokenizer))}{text}"

    def unmask(self, text: str) -> str:
        """Return a text with its masked parts restored. Raises InputError if a template has cut one."""
        whole = self._mark.sub(lambda found: self._content.get(_number(found[1]), ""), text)
        if MASK in whole:
            raise InputError(
                f"model: the chat template of {self._tokenizer.name_or_path!r} cuts questions that spell special "
                "tokens; fix chat_template.jinja next to its tokenizer, or remove it to use model.prompt"
            )
        return whole

    def tokenize(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Return the ids of a text whose masked parts are plain text."""
        if MASK not in text:
            return list(self._plain(text, add_special_tokens))
        before = self._before() if add_special_tokens else []
        named = self._spelt.sub(lambda found: _marked(NAME, self._index[found[0]]), text)
        parts = self._name.split(self.unmask(named))  # text and id, alternating
        meant = [_number(index) for index in parts[1::2]]
        ids = self._renamed(self.unmask(named))
        if ids is None or [index for index in ids if index in self._ids] != meant:
            ids = [i for k, part in enumerate(parts) for i in ([_number(part)] if k % 2 else self._in_pieces(part))]
        return before + ids

    def _plain(self, text: str, add_special_tokens: bool) -> Sequence[int]:
        """Return the ids that the tokenizer itself gives for a text; ids of short texts are cached."""
        return (self._known if len(text) <= SHORT else self._tokenized)(text, add_special_tokens)

    def _tokenized(self, text: str, add_special_tokens: bool) -> "array[int]":
        return array("q", self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"])

    def _before(self) -> list[int]:
        """Return the special tokens that the tokenizer puts before every text."""
        inner, whole = _plain(self._tokenizer, "a"), list(self._tokenizer("a")["input_ids"])
        places = range(len(whole) - len(inner) + 1)
        return next((whole[:i] for i in places if whole[i : i + len(inner)] == inner), [])

    def _renamed(self, named: str) -> list[int] | None:
        """Return the ids from a copy of the tokenizer whose reserved tokens have secret names; None for a slow
        tokenizer."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        if self._twin is None:
            names = {content: _marked(NAME, index) for content, index in self._index.items()}
            self._twin = Tokenizer.from_str(json.dumps(_renamed(json.loads(backend.to_str()), names)))
        return self._twin.encode(named, add_special_tokens=False).ids

    def _in_pieces(self, text: str) -> list[int]:
        """Return the ids of a text that is halved until no id is reserved; a character with only a reserved id is
        dropped."""
        ids = _plain(self._tokenizer, text, split_special_tokens=True)
        if self._ids.isdisjoint(ids):
            return ids
        if len(text) < 2:
            return [index for index in ids if index not in self._ids]
        half = len(text) // 2
        return self._in_pieces(text[:half]) + self._in_pieces(text[half:])


def _marked(kind: str, index: int) -> str:
    return f"{kind}{f'{index:x}'.translate(TO_DIGITS)}{END}"


def _number(digits: str) -> int:
    return int(digits.translate(FROM_DIGITS), 16)


def _plain(tokenizer: Any, text: str, **options: Any) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, **options)["input_ids"])


def _renamed(description: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a `tokenizer.json` in which tokens have other names, so that only these names produce them."""
    model = description["model"]
    added = [
        {**token, "content": names[token["content"]], "single_word": False, "normalized": False}
        if token["content"] in names
        else token
        for token in description["added_tokens"]
    ]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary = {names.get(token, token): index for token, index in vocabulary.items()}
    else:
        vocabulary = [[names.get(token, token), score] for token, score in vocabulary]
    model = {**model, "vocab": vocabulary}
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if names.keys().isdisjoint(_made(pair))]
    return {**description, "added_tokens": added, "model": model, "post_processor": None}


def _made(merge: str | Sequence[str]) -> tuple[str, str, str]:
    """Return both parts of a merge, and its result."""
    left, _, right = merge.partition(" ") if isinstance(merge, str) else (merge[0], "", merge[1])
    return left, right, left + right
