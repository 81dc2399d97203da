"""Turns of a conversation: how a chat template writes them, and what ends an answer.

A model names this token in up to three places, which do not always agree: its tokenizer's end-of-sequence, its
generation settings, and its chat template, which closes an answer with it.
"""

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from lada.core.errors import InputError
from lada.core.thinking import TAGS

Message = Mapping[str, str]
CLOCK = "strftime_now"
"""The functions that a template calls to get the date."""
DIRECTIVES = (*"aAwdbBmyYHIMpSfjUWcxXeDFTRGuV", "-d", "-m", "-H", "-I", "-M", "-S", "-j", "-y", "%")
ASKED, ANSWERED = "ladasquestionhere", "ladasanswerhere"
"""Words that occur in no template."""
FAILURES = (TemplateError, TypeError, ValueError, KeyError)
"""The errors that rendering a template may raise."""
THINKING = frozenset(tag for pair in TAGS.items() for tag in pair)
"""Tags that `Prompts` handles."""
CLOSING = re.compile(r"<[^\s<>]{1,40}>|\[/?[A-Z_]{2,40}\]")
"""The form of an end of a turn that is not a token: `<|im_end|>`, `</s>`, `[/INST]`."""


@dataclass(frozen=True, slots=True)
class Template:
    """A tokenizer's chat template on one day; `thinks` switches thinking on, if it has a switch."""

    tokenizer: Any
    thinks: bool
    date: datetime.date
    parts: bool = False
    """Whether it accepts a message's content only as a list of parts."""

    def render(self, *messages: Message, ask: bool = True) -> str:
        """Return a conversation as a text, with the opening of the next answer if `ask`. Raises TemplateError."""
        # Templates use different names for the switch, and ignore names they do not know.
        return self.tokenizer.apply_chat_template(
            [{**message, "content": self._content(message["content"])} for message in messages],
            tokenize=False,
            add_generation_prompt=ask,
            enable_thinking=self.thinks,
            thinking=self.thinks,
            chat_template=clock(self.date) + text if CLOCK in (text := self.tokenizer.get_chat_template()) else text,
        )

    def _content(self, text: str) -> Any:
        return [{"type": "text", "text": text}] if self.parts else text


@dataclass(frozen=True, slots=True)
class Turn:
    """The text that a chat template writes around an answer."""

    scaffold: str = ""
    """Short conversations in the template's form."""
    header: str = ""
    """The text between an answer's opening and its content: harmony's `<|channel|>final<|message|>`, or a line feed."""
    end: int | None = None
    """The token that closes an answer."""
    stop: str | None = None
    """The text that closes it, if it is not a token."""


def clock(date: datetime.date) -> str:
    """Return a Jinja prefix that makes CLOCK return the beginning of this day in the template that follows."""
    now = datetime.datetime.combine(date, datetime.time())
    told = "".join(f'|replace("%{name}", {json.dumps(now.strftime(f"%{name}"))})' for name in DIRECTIVES)
    return f"{{%- macro {CLOCK}(format) -%}}{{{{ format{told} }}}}{{%- endmacro %}}\n"


def declared_ends(generation: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids at which a model's GenerationConfig (None: the model has none) ends an answer.

    If transformers derived it from the model's configuration, whose defaults fit no particular tokenizer, only ids of
    special or added tokens count.
    """
    declared = getattr(generation, "eos_token_id", None)
    ids = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    made_up = getattr(generation, "_from_model_config", False)
    known = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder} if made_up else range(len(tokenizer))
    return tuple(dict.fromkeys(int(index) for index in ids if index in known))


def with_questions(template: Template) -> Template:
    """Return the template, set to pass content in parts if it drops plain text.

    A template that fails on either form is returned unchanged. Raises InputError if it drops questions in both forms.
    """
    asked = {"role": "user", "content": ASKED}
    either = [(each, _rendered(each, asked, ask=True)) for each in (template, replace(template, parts=True))]
    for each, prompt in either:
        if ASKED in prompt.casefold():
            return each
    if not any(prompt for _, prompt in either):
        return template
    raise InputError(
        f"model: the chat template of {template.tokenizer.name_or_path!r} leaves the question out of the prompt, as "
        "text and as parts of type text; fix chat_template.jinja next to its tokenizer, or remove it to use "
        "model.prompt"
    )


def turn_of(template: Template, added: Mapping[str, int]) -> Turn:
    """Return how a chat template frames an answer; `added` are the ids of the added and special tokens, by content.

    If nothing closes an answer, the token that opens the next question ends it, unless it opens answers too.
    """
    asked, answered = {"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}
    whole = _rendered(template, asked, answered)
    before, found, after = whole.rpartition(ANSWERED)
    opening = _rendered(template, asked, ask=True)
    if not found:
        return Turn(opening)
    header = before.removeprefix(opening).lstrip() if before.startswith(opening) else ""
    if not header and before == f"{opening}\n":  # as in GLM-4, whose answers begin with a line of their own
        header = "\n"
    elif any(tag in header for tag in THINKING) or not any(content in header for content in added):
        header = ""  # a space makes no difference
    # The text before a conversation's first words opens turns: a template may open the next turn by itself.
    first = {"role": "system", "content": ASKED}
    longer = _rendered(template, first, asked, answered)
    opener = (longer if ASKED in longer else whole).partition(ASKED)[0]
    scaffold = opening + whole + longer
    rest = after.lstrip()
    if not rest:
        follows = _rendered(template, asked, answered, asked).partition(ANSWERED)[2].partition(ASKED)[0].lstrip()
        answers = opening.rpartition(ASKED)[2]
        closing = _first(follows, added)
        if closing is None or closing in answers or closing == template.tokenizer.bos_token:
            return Turn(scaffold, header)
        return Turn(scaffold, header, added[closing])
    token = _first(rest, added)
    if token is not None:
        return Turn(scaffold, header, None if token in opener else added[token])
    tag = CLOSING.match(rest)
    stop = tag[0] if tag is not None and tag[0] not in opener and tag[0] not in THINKING else None
    return Turn(scaffold, header, stop=stop)


def _first(text: str, added: Mapping[str, int]) -> str | None:
    """Return the longest token that a text begins with, ignoring think tags."""
    return max((each for each in added if each not in THINKING and text.startswith(each)), key=len, default=None)


def _rendered(template: Template, *messages: Message, ask: bool = False) -> str:
    try:
        return template.render(*messages, ask=ask)
    except FAILURES:  # the template does not support such a conversation
        return ""
