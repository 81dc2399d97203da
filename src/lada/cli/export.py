"""`lada export`: write a party's model as files for other software."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lada.cli.explained import explained
from lada.core.console import console

Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Party = Annotated[str, typer.Option(help="The party whose model is exported: the name of the server or of a client.")]


def export(
    run: Run,
    party: Party,
    to: Annotated[str, typer.Option(help="hf, peft (only the adapter), gguf, gguf-lora (only the adapter) or onnx.")],
    output: Annotated[
        Path | None, typer.Option(help="A new or empty folder; default: RUN/export/PARTY-TARGET.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, float16 or bfloat16; for gguf also q8_0 or q4_k_m. Default: float16 for gguf, else float32."
        ),
    ] = None,
) -> None:
    """Write a party's model for another runtime, and check that it gives the same answers there as in the run.

    Exit code 1: an answer differs from the party's. The files are kept.
    """
    from lada.export.names import check_name
    from lada.export.party import find_party

    with explained():
        check_name(to)
        find_party(run, party)  # first: report a typo before the slow import of torch
    with explained(), ExportView(console) as view:
        view.tell("libraries imported", 0, 1)
        from lada.export.export import export as write

        view.tell("libraries imported", 1, 1)
        exported = write(run, party, to, output=output, dtype=dtype, tell=view.tell)
    for line in exported.check.lines():
        console.print(f"check: {line}", highlight=False, soft_wrap=True)
    for note in exported.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    console.print(f"export: {exported.folder}", highlight=False, soft_wrap=True)
    if not exported.check.passed:
        raise typer.Exit(1)


class ExportView:
    """The progress of an export: on a terminal a bar for each step, elsewhere a line when each step begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "ExportView":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Note the progress of a step."""
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{what} …", highlight=False, soft_wrap=True)
        self._progress.update(self._bars[what], completed=done)
