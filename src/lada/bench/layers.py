"""Layers of configuration keys, and how a world, a track and a budget change them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.points import chosen_points
from lada.tasks.options import TaskOptions

Track = Literal["unlabelled", "answers", "rationales"]
"""What the parties may know about the public questions. Methods are compared only within one track."""
MaybeTrack = Track | Literal[""]
"""Empty if a suite has no tracks; the configuration then says what is known."""
GOLD: dict[Track, str] = {"unlabelled": "none", "answers": "answers", "rationales": "rationales"}
"""The value of `task.gold` on each track."""
WORLD = "{world}"
"""The mark for a world's number in any text of a suite's configuration."""
AFTER = "{after}"
"""The mark for the folder of another row's run; see SuiteRow.after."""


class Layer(Options):
    """Keys of a run's configuration that override earlier ones: mappings are merged, everything else is replaced."""

    about: str = ""
    """One sentence for the page."""
    config: dict[str, Any] = Field(default={})
    """Keys of the run. A method with another name replaces the earlier one with all its options."""
    each_client: dict[str, Any] = Field(default={})
    """Keys that every client of the run gets."""

    def under(self, above: "Layer") -> "Layer":
        """Return both layers as one, with `above` over this one and this one's `about`."""
        return Layer(
            about=self.about,
            config=merged(self.config, above.config),
            each_client=merged(self.each_client, above.each_client),
        )


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data with the overriding data merged in; a method with another name is replaced with all its
    options."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _another_method(key, old, value):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def _another_method(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return key in {point.key for point in chosen_points()} and new.get("name", old.get("name")) != old.get("name")


def filled(value: Any, mark: str, by: int | str) -> Any:
    """Return plain data in which `by` replaces every `mark` in a text; a text that is only the mark becomes `by`
    itself."""
    if isinstance(value, str):
        return by if value == mark else value.replace(mark, str(by))
    if isinstance(value, Mapping):
        return {key: filled(inner, mark, by) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(inner, mark, by) for inner in value]
    return value


def has_worlds(kind: str) -> bool:
    """Return whether a kind of task has worlds, selected by its option `world`."""
    return any(
        "world" in options.model_fields and kind in get_args(options.model_fields["kind"].annotation)
        for options in get_args(get_args(TaskOptions)[0])
    )


def with_budget(data: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a run's plain data with every study's budget of tokens multiplied by a factor, at least one token.

    Raises InputError for a study without such a budget, which the factor would not affect.
    """

    def scaled(party: Mapping[str, Any], where: str, studies: tuple[str, ...]) -> dict[str, Any]:
        result = dict(party)
        for name in studies:
            study = party.get(name)
            if not isinstance(study, Mapping) or study.get("tokens") is None:
                raise InputError(
                    f"budgets: {where}.{name} has no budget of tokens to multiply; expected `tokens` there"
                )
            result[name] = {**study, "tokens": max(1, round(factor * study["tokens"]))}
        return result

    clients = [
        scaled(client, f"clients.{client.get('name')}", ("private", "distil")) for client in data.get("clients", [])
    ]
    return {**data, "server": scaled(data.get("server", {}), "server", ("distil",)), "clients": clients}


def slug(text: str) -> str:
    """Return a text in a form that can be a file's name."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)
