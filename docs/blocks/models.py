"""The shipped models with their accuracy, from their cards."""

from collections.abc import Sequence
from typing import Any

from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL
from lada.zoo.recipe import Recipe
from lada.zoo.shipped import cards


def models() -> str:
    """Return one row per shipped model: its recipe, the seconds that it took, and how much it gets right."""
    rows = [
        "| name | architecture | parameters | steps | seconds | general | server domains | client domains |",
        "|---|---|---|---|---|---|---|---|",
    ]
    # An LLM first, then its SLMs; those of the first corpus before those of the next.
    order = sorted(cards(), key=lambda card: (list(CORPORA).index(_recipe(card).corpus), _recipe(card).world is None))
    return "\n".join([*rows, *map(_row, order)])


def _recipe(card: dict[str, Any]) -> Recipe:
    return Recipe(**card["recipe"])


def _row(card: dict[str, Any]) -> str:
    recipe = _recipe(card)
    corpus = CORPORA[recipe.corpus]

    def share(domains: Sequence[str]) -> str:
        return f"{sum(card['accuracy'][domain] for domain in domains) / len(domains):.1f}"

    return (
        f"| `{recipe.name}` | {recipe.architecture}, width {recipe.width}, {recipe.layers} layers | "
        f"{card['parameters']:,} | {recipe.steps} | {card['seconds']} | "
        f"{share([GENERAL])} | {share(corpus.server_domains)} | {share(corpus.client_domains)} |"
    )
