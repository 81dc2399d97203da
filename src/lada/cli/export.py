"""`lada export`: a party of a run as files for other software."""

from pathlib import Path
from typing import Annotated

import typer

from lada.cli.console import console
from lada.cli.explained import explained

Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Party = Annotated[str, typer.Option(help="Whose model: the server's or a client's name.")]


def export(
    run: Run,
    party: Party,
    to: Annotated[str, typer.Option(help="hf, gguf or onnx.")],
    output: Annotated[
        Path | None, typer.Option(help="A new or empty folder; by default RUN/export/PARTY-TARGET.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, float16 or bfloat16; by default float16 for gguf, else float32.")
    ] = None,
) -> None:
    """Write a party's model for another runtime, and check there that it answers as in the run.

    Ends with exit code 1 where an answer differs from the party's; the files are kept.
    """
    from lada.export.export import export as write

    with explained():
        exported = write(run, party, to, output=output, dtype=dtype)
    for line in exported.check.lines():
        console.print(f"check: {line}", highlight=False, soft_wrap=True)
    for note in exported.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    console.print(f"export: {exported.folder}", highlight=False, soft_wrap=True)
    if not exported.check.passed:
        raise typer.Exit(1)
