"""From texts to token ids, whatever the tokenizer: BOS, EOS, padding, chat templates, odd defaults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor

from lada.core.errors import InputError
from lada.models.options import Think
from lada.models.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt with the completion that follows it, as token ids. Losses see `completion` only."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


class Encoder:
    """Wraps one tokenizer. It never changes the tokenizer and pads by itself, so no pad token is needed."""

    def __init__(
        self, tokenizer: Any, *, prompt: str, context: int, system: str | None = None, think: Think | None = None
    ) -> None:
        """`prompt` is a template with `{question}`, used where the tokenizer has no chat template.

        `context` is the model's longest sequence, tokens. For `system` and `think` see ModelOptions. Raises InputError
        where the tokenizer has no end-of-sequence token, since a path could then never end.
        """
        if tokenizer.eos_token_id is None:
            raise InputError(
                f"model: the tokenizer of {tokenizer.name_or_path!r} has no end-of-sequence token; "
                "set eos_token in its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.pad = self.eos if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.context = context
        self._prompts = Prompts(tokenizer, prompt, system, think)
        added = tokenizer.added_tokens_decoder
        tags = () if think is None else (think.open, think.close)
        special = {*tokenizer.all_special_ids, *(index for index, token in added.items() if token.special)}
        self._unwritten = special - {index for index, token in added.items() if token.content in tags}

    def text_before(self, question: str) -> tuple[str, bool]:
        """Return the text of a prompt, and whether it is a chat template's, which has its special tokens already."""
        return self._prompts.before_answer(question), self._prompts.chat

    def prompt(self, question: str) -> tuple[int, ...]:
        """Return the ids a model sees before it answers; an overlong question keeps its end."""
        return self._ids(self._prompts.before_answer(question))

    def _ids(self, text: str) -> tuple[int, ...]:
        # A chat template writes the special tokens that it wants by itself.
        ids = self.tokenizer(text, add_special_tokens=not self._prompts.chat)["input_ids"]
        if not self._prompts.chat and ids and ids[-1] == self.eos:
            ids = ids[:-1]  # some tokenizers close every text; here the answer is still to come
        # At least half of the context is left to the completion.
        return tuple(ids[-max(self.context // 2, 1) :]) or (self.pad,)

    def pair(self, question: str, text: str) -> Encoded:
        """Return question and path as ids, the path closed by EOS and cut to what the context holds."""
        prompt = self._ids(self._prompts.before_path(question, text))
        return Encoded(prompt, self.completion(text)[: self.context - len(prompt)])

    def completion(self, text: str) -> tuple[int, ...]:
        """Return a path as ids, closed by EOS."""
        return (*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.eos)

    def text(self, ids: Sequence[int], stop: Sequence[str] = ()) -> str:
        """Return generated ids as a path, up to the first EOS and the first of the `stop` texts.

        Special tokens are left out, but for think tags.
        """
        ids = list(ids)
        if self.eos in ids:
            ids = ids[: ids.index(self.eos)]
        ids = [index for index in ids if index not in self._unwritten]
        text = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return self._prompts.path(text[: min((text.find(each) for each in stop if each in text), default=None)])


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
    seen = torch.zeros((len(rows), longest), dtype=torch.long)  # some subtract it, which bool does not know
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
