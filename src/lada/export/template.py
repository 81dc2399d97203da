"""A chat template that prompts as a run's `prompt` does, for runtimes that know chat templates and nothing of LaDa."""

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
    """Return the encoder's tokenizer, or where it has no chat template a copy that has one.

    `encode` makes the encoder over another tokenizer. The copy is tried on `questions`; where its ids are not those of
    the encoder, the tokenizer is returned as it is.
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
    """Return where a runtime that knows the tokenizer's chat template alone would prompt otherwise than the run."""
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
