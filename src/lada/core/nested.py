"""Nested data as one level of dotted keys."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested data by dotted key. List entries are numbered from 0."""
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, (list, tuple)):
        entries = list(enumerate(value))
    else:
        entries = []
    if not entries:
        yield key, value
    for part, inner in entries:
        yield from flat(inner, f"{key}.{part}" if key else str(part))


def differences(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """Return both values of each differing leaf, by dotted key; None if one side lacks it."""
    was, now = dict(flat(one)), dict(flat(other))
    return {key: (was.get(key), now.get(key)) for key in was | now if was.get(key) != now.get(key)}
