"""`lada chat`: ask the model of a party questions."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import typer

from lada.cli.explained import explained
from lada.cli.export import Party, Run
from lada.core.bounds import SLIGHTEST, STEEPEST
from lada.core.console import console
from lada.core.seeds import seed_of


def _is_temperature(given: float) -> float:
    if given and not SLIGHTEST <= given <= STEEPEST:
        raise typer.BadParameter(f"{given} is no temperature; expected 0, or {SLIGHTEST:g} to {STEEPEST}")
    return given


def chat(
    run: Run,
    party: Party,
    temperature: Annotated[
        float, typer.Option(callback=_is_temperature, help="0: greedy decoding; above 0: sampling.")
    ] = 0.0,
) -> None:
    """Ask the model of a party questions, one per line, until Ctrl-D. The model does not remember earlier questions."""
    from lada.export.party import open_party

    with explained():
        trained = open_party(run, party)
        learner = trained.learner()
        for number, question in enumerate(_questions()):
            start = time.monotonic()
            seed = seed_of(trained.config.seed, "chat", number)
            answer = learner.answer([question], seed=seed, temperature=temperature)[0]
            console.print(answer.text, highlight=False, soft_wrap=True)
            console.print(f"{time.monotonic() - start:.1f} s", style="dim", highlight=False)


def _questions() -> Iterator[str]:
    """Yield the lines that are typed or piped in, except empty ones."""
    typed = sys.stdin.isatty()
    if typed:
        import readline  # noqa: F401  # pyright: ignore[reportUnusedImport] - gives input() its editing and history
    while True:
        try:
            question = input("> " if typed else "")
        except (EOFError, KeyboardInterrupt):
            if typed:
                console.print()
            return
        if question.strip():
            yield question
