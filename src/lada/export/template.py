"""A chat template that gives the same prompts as a run's `prompt`, for runtimes that know only chat templates."""

import copy
import json
from collections.abc import Callable
from typing import Any

from lada.models.encoding import Encoder

ROLES = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{ USER }}"
    "{%- else %}{{ message['content'] + eos_token }}"
    "{%- endif %}{%- endfor %}"
)


def with_template(encoder: Encoder, encode: Callable[[Any], Encoder], prompt: str, questions: tuple[str, ...]) -> Any:
    """Return the encoder's tokenizer or, if it has no chat template, a copy that has one.

    `encode` makes the encoder over another tokenizer. The copy is tried on `questions`; if its ids differ from the
    encoder's, the tokenizer is returned unchanged.
    """
    if getattr(encoder.tokenizer, "chat_template", None):
        return encoder.tokenizer
    tokenizer = copy.deepcopy(encoder.tokenizer)
    plain = tokenizer("a")["input_ids"]
    bos = tokenizer.bos_token_id is not None and plain[:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = chat_template(prompt, bos=bos)
    templated = encode(tokenizer)
    same = all(templated.prompt(question) == encoder.prompt(question) for question in questions)
    return tokenizer if same else encoder.tokenizer


def notes_on_prompts(encoder: Encoder, prompt: str) -> tuple[str, ...]:
    """Return notes on how a runtime that knows only the tokenizer's chat template would prompt differently from the
    run."""
    text, chat = encoder.text_before("?")
    if not chat:
        return (f"there is no chat template that gives the run's prompts; write them as {prompt!r}",)
    alone = [{"role": "user", "content": "?"}]
    if text == encoder.tokenizer.apply_chat_template(alone, tokenize=False, add_generation_prompt=True):
        return ()
    return (
        "prompts of the run have more than a question: a system message, a day of its own (`date`), or a switch of the "
        "template for thinking",
    )


def chat_template(prompt: str, *, bos: bool) -> str:
    """Return `prompt`, a text with `{question}`, as a Jinja template; earlier answers are closed by end-of-sequence."""
    parts = [json.dumps(part, ensure_ascii=False) for part in prompt.split("{question}")]
    return ("{{- bos_token }}" if bos else "") + ROLES.replace("USER", " + message['content'] + ".join(parts))
