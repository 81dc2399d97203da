"""Turns texts into token ids with any tokenizer: BOS, EOS, padding, chat templates, odd defaults."""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.models.options import DATE, ModelOptions, Think
from lada.models.prompts import Prompts
from lada.models.reserved import Reserved
from lada.models.tags import Tags
from lada.models.turns import Template, Turn, turn_of, with_questions


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt with its completion, as token ids. Losses cover only `completion`."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)

    def behind(self, start: int) -> "Encoded":
        """Return the same ids with the completion's first `start` as part of the prompt."""
        return Encoded(self.prompt + self.completion[:start], self.completion[start:])


@dataclass(frozen=True, slots=True)
class Written:
    """The text of generated ids. `cut`: the ids stop before anything has ended them."""

    text: str
    cut: bool


UNKNOWN = "\ue000"
"""An unused character: its tokens show how a tokenizer encodes unknown text."""
MARK = re.compile(r"[<\[◁].+[>\]▷]", re.DOTALL)
"""The form of chat template tokens that are not marked as special, such as Qwen's `<tool_call>`."""


class RowEncoder(Protocol):
    """What turns questions and paths into a learner's tokens."""

    pad: int
    ends: tuple[int, ...]
    """The tokens that end an answer."""

    def prompt(self, question: str) -> tuple[int, ...]:
        """Return the ids that a model sees before it answers."""
        ...

    def pair(self, question: str, text: str, *, cut: bool = False) -> Encoded:
        """Return question and path as ids."""
        ...

    def covered(self, row: Encoded, text: str) -> int:
        """Return how many bytes of a path the row of `pair` holds."""
        ...


class Encoder:
    """Wraps one tokenizer. It never changes the tokenizer, and it pads itself, so no pad token is needed.

    Questions, paths and the system message are always plain text, even if they spell special tokens: see
    lada.models.reserved.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        prompt: str,
        context: int,
        system: str | None = None,
        think: Think | None = None,
        date: datetime.date = DATE,
        ends: Sequence[int] = (),
    ) -> None:
        """`prompt` is a template with `{question}`, used if the tokenizer has no chat template.

        `context` is the model's longest sequence, tokens. `ends` are the ids at which its generation settings end an
        answer. See ModelOptions for the other arguments. Raises InputError if nothing ends an answer: neither `ends`,
        nor the tokenizer, nor its chat template.
        """
        self.tokenizer = tokenizer
        self.context = context
        self._chat = bool(getattr(tokenizer, "chat_template", None))
        template = with_questions(Template(tokenizer, think is not None, date)) if self._chat else None
        self._special = special_ids(tokenizer)
        named = {*tokenizer.added_tokens_decoder, *self._special}
        added = {index: tokenizer.convert_ids_to_tokens(index) for index in sorted(named)}
        turn = turn_of(template, {content: index for index, content in added.items()}) if template else Turn()
        told = (turn.end, tokenizer.eos_token_id, *ends)
        self.ends = tuple(dict.fromkeys(int(index) for index in told if index is not None))
        """The tokens that end an answer."""
        if not self.ends:
            raise InputError(
                f"model: the tokenizer of {tokenizer.name_or_path!r} has no end-of-sequence token; "
                "set eos_token in its tokenizer_config.json"
            )
        self.eos = self.ends[0]
        """The token that closes a path when it is judged or learnt: the chat template's own, if it has one."""
        self.pad = self.eos if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.stop = () if turn.stop is None else (turn.stop,)
        """The text that ends an answer, if the template closes turns without a token."""
        self._reserved = Reserved(tokenizer, self._not_text(turn, added))
        self._tags = Tags(tokenizer, think, self._special)
        self._prompts = Prompts(
            template,
            prompt,
            system and self._reserved.mask(system),
            think,
            name=tokenizer.name_or_path,
            header=turn.header,
        )
        self._empty = self._ids(self._prompts.before_answer("?"))
        self.forget()

    def _not_text(self, turn: Turn, added: Mapping[int, str]) -> set[int]:
        """Return the ids that foreign text must not become: special tokens and the tokens that turns consist of."""
        source = self.tokenizer.get_chat_template() if self._chat else ""
        turns = {*self.tokenizer(turn.scaffold, add_special_tokens=False)["input_ids"]} if self._chat else set()
        marks = {i for i, content in added.items() if MARK.fullmatch(content) and (i in turns or content in source)}
        unknown = {*self.tokenizer(UNKNOWN, add_special_tokens=False)["input_ids"]} - set(self.ends)
        return (self._special | marks | (added.keys() & self.ends)) - unknown

    def text_before(self, question: str) -> tuple[str, bool]:
        """Return the text of a prompt, and whether it comes from a chat template, which already has its special
        tokens."""
        return self._reserved.unmask(self._prompts.before_answer(question)), self._chat

    def prompt(self, question: str) -> tuple[int, ...]:
        """Return the ids that a model sees before it answers; see `_fitting` for an overlong question."""
        return self._fitting(self.whole(question), question)

    def whole(self, question: str) -> tuple[int, ...]:
        """Return the ids of a prompt with nothing left out, however long."""
        return self._ids(self._prompts.before_answer(self._reserved.mask(question)))

    def pair(self, question: str, text: str, *, cut: bool = False) -> Encoded:
        """Return question and path as ids, cut to the context; a path that is not `cut` is closed."""
        prompt = self._fitting(self._ids(self._prompts.before_path(self._reserved.mask(question), text)), question)
        completion = self.completion(text)
        completion, room = completion[:-1] if cut else completion, self.context - len(prompt)
        if len(completion) > room:
            self._lost["path"].add(f"{question}\0{text}")
        return Encoded(prompt, completion[:room])

    def covered(self, row: Encoded, text: str) -> int:
        """Return how many bytes of a path the row of `pair` holds: not all if the context cut it."""
        size = len(text.encode())
        whole = row.completion[-1:] == (self.eos,)
        return size if whole else min(size, len(self._decoded(row.completion).encode()))

    def completion(self, text: str) -> tuple[int, ...]:
        """Return a path as ids, closed by the end of a turn."""
        return (*self._reserved.tokenize(self._tags.masked(text, self._reserved.mask)), self.eos)

    def read(self, ids: Sequence[int], stop: Sequence[str] = (), begun: Sequence[int] = ()) -> Written:
        """Return the text of generated ids, up to the first token that ends an answer or the first of the `stop` texts.

        Special tokens are omitted, except think tags. The path starts with the ids `begun`, in which nothing ends it:
        another writer may use what ends this model's answers, such as a line break.
        """
        end = next((place for place, index in enumerate(ids) if index in self.ends), None)
        text, start = self._decoded([*begun, *ids[:end]]), len(self._decoded(begun)) if begun else 0
        stops = [place for each in (*stop, *self.stop) if (place := text.find(each, start)) >= 0]
        path = self._prompts.path(text[: min(stops, default=None)], begun=bool(begun))
        return Written(path, end is None and not stops)

    def _decoded(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(self._tags.readable(ids), clean_up_tokenization_spaces=False)

    def text(self, ids: Sequence[int], stop: Sequence[str] = ()) -> str:
        """Return only the text of `read`."""
        return self.read(ids, stop).text

    def notices(self) -> tuple[str, ...]:
        """Return notices on omitted parts of prompts and paths since `forget`; each text counts once."""
        told = {
            "question": f"questions longer than half of the model's context, {self.context} tokens; their beginnings "
            "are left out",
            "head": "of these, prompts without the system message or other text in front of the question",
            "path": f"paths too long for the model's context, {self.context} tokens, after their questions; their ends "
            "are left out",
        }
        return tuple(f"{what}: {len(lost)}" for key, what in told.items() if (lost := self._lost[key]))

    def forget(self) -> None:
        """Restart the count of omitted parts."""
        self._lost = {what: set[str]() for what in ("question", "head", "path")}

    def _ids(self, text: str) -> tuple[int, ...]:
        # A chat template writes its own special tokens.
        ids = self._reserved.tokenize(text, add_special_tokens=not self._chat)
        if not self._chat and ids and ids[-1] in self.ends:
            ids = ids[:-1]  # some tokenizers close every text, but the answer follows here
        return tuple(ids)

    def _fitting(self, ids: tuple[int, ...], question: str) -> tuple[int, ...]:
        """Return a prompt's ids, cut to fit; at least half of the context is left for the completion.

        A longer prompt keeps its end and the part before the question, such as a system message. If that part takes
        more than three quarters of the room, only its special tokens at the start are kept.
        """
        most = max(self.context // 2, 1)
        if len(ids) <= most:
            return ids or (self.pad,)
        self._lost["question"].add(question)
        head = [mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, self._empty, strict=False))]
        if len(head) > 3 * most // 4:
            self._lost["head"].add(question)
            head = list(takewhile(self._special.__contains__, head))[: most - 1]
        return (*head, *ids[len(ids) - most + len(head) :])


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids of a tokenizer's special tokens, including those without a role."""
    marked = (index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
    return {*tokenizer.all_special_ids, *marked}


def encoder_of(tokenizer: Any, options: ModelOptions, context: int, ends: Sequence[int] = ()) -> Encoder:
    """Return the encoder for a model's options; see Encoder."""
    return Encoder(
        tokenizer,
        prompt=options.prompt,
        context=context,
        system=options.system,
        think=options.think,
        date=options.date,
        ends=ends,
    )


Company = Literal["any", "equal", "none"]
"""Which rows may share a batch: rows of any lengths, padded; rows of equal length; each row is alone."""


def buckets(lengths: Sequence[int], size: int, company: Company = "any") -> Iterator[list[int]]:
    """Yield batches of at most `size` indices of similar length, longest first, ties by index."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    alike = [order] if company == "any" else [list(rows) for _, rows in groupby(order, key=lengths.__getitem__)]
    size = 1 if company == "none" else size
    for rows in alike:
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def pad_right(rows: Sequence[Encoded], pad: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, attention mask and completion mask, each [n, longest]; the last is bool."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    seen = torch.zeros((len(rows), longest), dtype=torch.long)  # some models subtract it, which bool does not support
    answer = torch.zeros((len(rows), longest), dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.prompt + row.completion)
        seen[i, : len(row)] = 1
        answer[i, len(row.prompt) : len(row)] = True
    return ids.to(device), seen.to(device), answer.to(device)


def pad_left(rows: Sequence[Encoded], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return prompt ids and attention mask for generation, each [n, longest]."""
    longest = max(len(row.prompt) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    seen = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, longest - len(row.prompt) :] = torch.tensor(row.prompt)
        seen[i, longest - len(row.prompt) :] = 1
    return ids.to(device), seen.to(device)


def context_of(config: Any) -> int:
    """Return the longest sequence of a model, tokens; 2048 if it has no limit, as with Bloom's ALiBi."""
    try:
        text = config.get_text_config()
    except ValueError:  # several models in one, each with texts
        text = config
    longest = getattr(text, "max_position_embeddings", None) or 0
    return int(longest) if longest > 0 else 2048  # XLNet says -1
