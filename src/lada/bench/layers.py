"""Keys of a configuration that lie over others, and what becomes of them in a world, on a track and under a budget."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.points import chosen_points
from lada.tasks.options import TaskOptions

Track = Literal["unlabelled", "answers", "rationales"]
"""What anybody can know of the public questions. Methods are compared on one track alone."""
MaybeTrack = Track | Literal[""]
"""Empty where a suite has no tracks, and the configuration says what is known."""
GOLD: dict[Track, str] = {"unlabelled": "none", "answers": "answers", "rationales": "rationales"}
"""What `task.gold` is on each track."""
WORLD = "{world}"
"""What stands for a world's number in any text of a suite's configuration."""
AFTER = "{after}"
"""What stands for the folder of another row's run; see SuiteRow.after."""


class Layer(Options):
    """Keys of a run's configuration that lie over those before: mappings are merged, all else is replaced."""

    about: str = ""
    """One sentence for the page."""
    config: dict[str, Any] = Field(default={})
    """Keys of the run. A method with another name replaces the one before with all its options."""
    each_client: dict[str, Any] = Field(default={})
    """Keys that every client of the run gets."""

    def under(self, above: "Layer") -> "Layer":
        """Return both as one, `above` over this one; it has this one's `about`."""
        return Layer(
            about=self.about,
            config=merged(self.config, above.config),
            each_client=merged(self.each_client, above.each_client),
        )


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data with what lies above it; a method with another name is replaced with its options."""
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
    """Return plain data in which `by` stands in the place of every `mark` of a text, as itself where that is all."""
    if isinstance(value, str):
        return by if value == mark else value.replace(mark, str(by))
    if isinstance(value, Mapping):
        return {key: filled(inner, mark, by) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(inner, mark, by) for inner in value]
    return value


def has_worlds(kind: str) -> bool:
    """Return whether a kind of task has worlds, which its option `world` tells apart."""
    return any(
        "world" in options.model_fields and kind in get_args(options.model_fields["kind"].annotation)
        for options in get_args(get_args(TaskOptions)[0])
    )


def with_budget(data: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return a run's plain data with the budget of tokens of every study times a factor, at least one token.

    Raises InputError for a study without one, which would go on as long whatever the factor.
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
    """Return a text as a name of files."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)
