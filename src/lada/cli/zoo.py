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
    """List the shipped models and the models built in ./zoo, with their accuracy."""
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
        list[str] | None,
        typer.Argument(
            help="Names of models to build. Without names: all models of world 0, or the LLM of another --world."
        ),
    ] = None,
    corpus: Annotated[
        str, typer.Option(help="The corpus that the models are trained on: rulebooks, lineups or families.")
    ] = "rulebooks",
    world: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="The world that the LLM is trained for.")] = 0,
    target: Annotated[Path, typer.Option(help="The folder for the finished models.")] = Path("zoo"),
) -> None:
    """Train shipped models from scratch; an LLM takes 20 minutes on one core. A stopped build can be resumed.

    It uses one thread and no instructions beyond AVX2, as suites do, so that the weights are the same on most machines.
    """
    from lada.zoo.recipe import find, of_corpus

    with explained():
        recipes = [find(name) for name in names] if names else of_corpus(corpus, world)
        from lada.bench.bounded import run_bounded  # here: report a typo before the slow import of torch

        target.mkdir(parents=True, exist_ok=True)  # checked first, since a model takes minutes
        options = ["--corpus", corpus, "--world", str(world), "--target", str(target)]
        if (code := run_bounded(["zoo", "build", *(names or ()), *options])) is not None:
            raise typer.Exit(code)
        from lada.zoo.build import build as build_model

        for recipe in recipes:
            card = build_model(recipe, target, target / ".work", _report)
            line = f"{recipe.name}: {card['seconds']} s, {target / recipe.name}"
            console.print(line, soft_wrap=True, highlight=False)


def _report(name: str, step: int, steps: int, loss: float) -> None:
    if step % 500 == 0 or step == steps:
        console.print(f"{name}: step {step} of {steps}, loss {loss:.4f}", highlight=False)
