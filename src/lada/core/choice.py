"""A method as a configuration names it."""

from typing import Any

from pydantic import Field, model_validator

from lada.core.registry import Options


class MethodChoice(Options):
    """A method by name, with its options: `{name: lada, options: {budget: 400}}`, or just the name."""

    name: str
    """The method's registered name. `lada methods` lists all names."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The method's options. Options left out keep their defaults."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


def listed(chosen: MethodChoice | tuple[MethodChoice, ...] | None) -> tuple[MethodChoice, ...]:
    """Return what a key of the configuration holds (one method, several or none) as a tuple."""
    return chosen if isinstance(chosen, tuple) else () if chosen is None else (chosen,)
