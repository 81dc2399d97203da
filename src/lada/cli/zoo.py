"""`lada zoo`: the shipped tiny models."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from lada.cli.console import console
from lada.cli.explained import explained

app = typer.Typer(no_args_is_help=True, help="The shipped tiny models.")


@app.command("list")
def list_() -> None:
    """List the shipped models and those built in ./zoo, with their accuracy."""
    from lada.zoo.shipped import SHIPPED, cards

    table = Table(
        Column("name", no_wrap=True),
        "architecture",
        "tokenizer",
        "parameters",
        "seconds to train",
        "accuracy by domain, %",
    )
    for card in [*cards(SHIPPED), *cards(Path("zoo"))]:
        recipe = card["recipe"]
        table.add_row(
            card["name"],
            recipe["architecture"],
            recipe["tokenizer"],
            f"{card['parameters']:,}",
            str(card["seconds"]),
            ", ".join(f"{domain} {accuracy:g}" for domain, accuracy in card["accuracy"].items()),
        )
    console.print(table)


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to build; without names, world 0's four or another's LLM.")
    ] = None,
    world: Annotated[int, typer.Option(min=0, help="Which world's LLM.")] = 0,
    target: Annotated[Path, typer.Option(help="Folder of the finished models.")] = Path("zoo"),
) -> None:
    """Train shipped models from scratch (about 20 minutes on one core for a world); resumes where it was stopped."""
    from lada.core.errors import InputError, nearest
    from lada.zoo.build import build as build_model
    from lada.zoo.recipe import SLMS, llm

    recipes = {recipe.name: recipe for recipe in (*SLMS, llm(world))}
    # The SLMs know no domain's verbs, so those that are shipped serve every world.
    wanted = names or (list(recipes) if world == 0 else [llm(world).name])
    with explained():
        for name in wanted:
            number = name.removeprefix("llm-world-")
            if number != name and number.isdecimal():
                recipes[name] = llm(int(number))
            if name not in recipes:
                known = ", ".join(recipes)
                raise InputError(f"zoo: unknown model {name!r}; expected one of {known}{nearest(name, recipes)}")
        for name in wanted:
            card = build_model(recipes[name], target, target / ".work", _report)
            console.print(f"{name}: {card['seconds']} s, {target / name}", soft_wrap=True, highlight=False)


def _report(name: str, step: int, steps: int, loss: float) -> None:
    if step % 500 == 0 or step == steps:
        console.print(f"{name}: step {step} of {steps}, loss {loss:.4f}", highlight=False)
