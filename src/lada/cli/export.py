"""`lada export`: a party of a run as files for other software."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lada.cli.explained import explained
from lada.core.console import console

Run = Annotated[Path, typer.Argument(help="The folder of a run.")]
Party = Annotated[str, typer.Option(help="Whose model: the server's or a client's name.")]


def export(
    run: Run,
    party: Party,
    to: Annotated[str, typer.Option(help="hf, peft (the adapter alone), gguf, gguf-lora (the adapter alone) or onnx.")],
    output: Annotated[
        Path | None, typer.Option(help="A new or empty folder; by default RUN/export/PARTY-TARGET.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, float16, bfloat16 or, for gguf, q8_0 or q4_k_m; by default float16 for gguf, else float32."
        ),
    ] = None,
) -> None:
    """Write a party's model for another runtime, and check there that it answers as in the run.

    Ends with exit code 1 where an answer differs from the party's; the files are kept.
    """
    from lada.export.names import check_name
    from lada.export.party import find_party

    with explained():
        check_name(to)
        find_party(run, party)  # first, since a slip is not worth importing torch for
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
    """How far an export is: a bar for each step on a terminal, elsewhere a line as each begins."""

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
        """Take how far a step is."""
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{what} …", highlight=False, soft_wrap=True)
        self._progress.update(self._bars[what], completed=done)
