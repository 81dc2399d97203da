"""`lada zoo`: the shipped tiny models."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from lada.cli.explained import explained
from lada.core.bounds import LARGEST_SEED
from lada.core.console import console

app = typer.Typer(no_args_is_help=True, help="The shipped tiny models.")


@app.command("list")
def list_() -> None:
    """List the shipped models and those built in ./zoo, with their accuracy."""
    from lada.zoo.shipped import SHIPPED, cards

    table = Table(
        Column("name", no_wrap=True),
        "model",
        "parameters",
        "accuracy by domain, %",
    )
    for card in [*cards(SHIPPED), *cards(Path("zoo"))]:
        recipe = card["recipe"]
        table.add_row(
            card["name"],
            f"{recipe['architecture']}, {recipe['tokenizer']} tokens",
            f"{card['parameters']:,}",
            ", ".join(f"{domain} {accuracy:g}" for domain, accuracy in card["accuracy"].items()),
        )
    console.print(table)


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to build; without names, all of world 0 or another's LLM.")
    ] = None,
    corpus: Annotated[str, typer.Option(help="Whose models: rulebooks, lineups or families.")] = "rulebooks",
    world: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Which world's LLM.")] = 0,
    target: Annotated[Path, typer.Option(help="Folder of the finished models.")] = Path("zoo"),
) -> None:
    """Train shipped models from scratch (about 20 minutes on one core for an LLM); resumes where it was stopped."""
    from lada.zoo.recipe import find, of_corpus

    with explained():
        recipes = [find(name) for name in names] if names else of_corpus(corpus, world)
        from lada.zoo.build import build as build_model  # here, since a slip is not worth importing torch for

        for recipe in recipes:
            card = build_model(recipe, target, target / ".work", _report)
            line = f"{recipe.name}: {card['seconds']} s, {target / recipe.name}"
            console.print(line, soft_wrap=True, highlight=False)


def _report(name: str, step: int, steps: int, loss: float) -> None:
    if step % 500 == 0 or step == steps:
        console.print(f"{name}: step {step} of {steps}, loss {loss:.4f}", highlight=False)
