"""Sends several prompts in one request, for servers that accept lists, and separates their answers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Body = dict[str, Any]


def grouped(asked: Mapping[str, Body], most: int) -> Iterator[dict[str, Body]]:
    """Yield requests, by digest, in groups of at most `most` that differ only in their prompts."""
    groups: dict[str, dict[str, Body]] = {}
    for digest, body in asked.items():
        kind = type(body["prompt"]).__name__ if most > 1 and "prompt" in body else digest
        rest = json.dumps([kind, {key: value for key, value in body.items() if key != "prompt"}], sort_keys=True)
        group = groups.setdefault(rest, {})
        group[digest] = body
        if len(group) == most:
            yield groups.pop(rest)
    yield from groups.values()


def as_one(bodies: Sequence[Body]) -> Body:
    """Return one request for all; for several prompts, it also asks vLLM for token ids, which give each prompt's
    length."""
    if len(bodies) == 1:
        return bodies[0]
    return {**bodies[0], "prompt": [body["prompt"] for body in bodies], "return_token_ids": True}


def apart(data: Any, count: int) -> list[Any]:
    """Return a server's JSON split as if each of `count` prompts had been sent separately.

    Raises ValueError, KeyError, TypeError or AttributeError if it does not have that many choices.
    """
    if count == 1:
        return [data]
    choices = data["choices"]
    if len(choices) != count:
        raise ValueError(f"{len(choices)} choices for {count} prompts")
    places = [choice.get("index") for choice in choices]
    if sorted(places, key=str) == sorted(range(count), key=str):
        choices = sorted(choices, key=lambda choice: choice["index"])
    read = _shares([choice.get("prompt_token_ids") for choice in choices], data, "prompt_tokens")
    written = _shares([choice.get("token_ids") for choice in choices], data, "completion_tokens")
    return [
        {**data, "choices": [{**choice, "index": 0}], "usage": {"prompt_tokens": a, "completion_tokens": b}}
        for choice, a, b in zip(choices, read, written, strict=True)
    ]


def _shares(ids: Sequence[Any], data: Mapping[str, Any], name: str) -> list[int | None]:
    """Return the number of tokens of each prompt: the number of its ids, or else an even share of the total; None if
    unknown."""
    if all(isinstance(each, list) for each in ids):
        return [len(each) for each in ids]
    usage = data.get("usage")
    total = usage.get(name) if isinstance(usage, dict) else None
    if type(total) is not int or total < 0:
        return [None] * len(ids)
    least, more = divmod(total, len(ids))
    return [least + (place < more) for place in range(len(ids))]
