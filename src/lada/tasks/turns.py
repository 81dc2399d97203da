"""Conversations: reads a column of messages as a question and the reply that answers it."""

import json
from collections.abc import Mapping
from typing import Any

from lada.core.errors import InputError

ROLES: Mapping[str, str] = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "human": "User",
    "assistant": "Assistant",
    "gpt": "Assistant",
    "model": "Assistant",
}
"""The known roles, and their names in a transcript."""
KEYS = (("role", "content"), ("from", "value"))
"""The keys of a message's role and text, in OpenAI's form and in ShareGPT's."""


def conversation(value: object, where: str) -> tuple[str, str | None]:
    """Return a conversation's question and its last assistant turn; None instead of the turn if it ends with a
    question.

    `value` is a list of messages, or JSON text of one. A single user turn is the question itself. With several turns or
    a system message, the question is a transcript with `User: ` or another role before each turn. Raises InputError,
    starting with `where`, for anything else, such as turns of tools, images, two replies in a row.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(f"{where}: not a list of messages, nor its JSON text") from None
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected a list of messages, each with a role and a content")
    turns = [_turn(message, f"{where}, message {number}") for number, message in enumerate(value, 1)]
    reply = turns.pop()[1] if turns[-1][0] == "Assistant" else None
    if not turns or turns[-1][0] != "User":
        raise InputError(
            f"{where}: {'no user turn comes before the last reply' if reply else 'it ends in no user turn'}; expected "
            "user and assistant turns; the last assistant turn is what a model studies"
        )
    if len(turns) == 1:
        return turns[0][1], reply
    return "\n\n".join(f"{role}: {text}" for role, text in turns), reply


def _turn(message: Any, where: str) -> tuple[str, str]:
    """Return the role and the text of one message."""
    for role_key, text_key in KEYS:
        if isinstance(message, Mapping) and role_key in message and text_key in message:
            role, text = ROLES.get(str(message[role_key])), _content(message[text_key], where)
            if role is None:
                raise InputError(
                    f"{where}: the role {str(message[role_key])[:50]!r} is not one of {', '.join(ROLES)}; leave such "
                    "conversations out"
                )
            if not text:
                raise InputError(f"{where}: its content is empty; expected text")
            return role, text
    raise InputError(f"{where}: expected a mapping with role and content, or with from and value")


def _content(content: Any, where: str) -> str:
    """Return a message's text, which may be split into parts."""
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "\n".join(str(part.get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise InputError(f"{where}: its content is not text; expected text, or a list of parts of type text")
    if content and has_half(content):
        raise InputError(f"{where}: its content holds half of a surrogate pair; expected valid Unicode text")
    return (content or "").strip()


def has_half(text: str) -> bool:
    """Return whether a text holds half of a surrogate pair, which JSON allows but UTF-8 cannot encode."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
