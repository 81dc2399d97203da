"""What a run prints while it runs: live bars on a terminal, one growing output in a notebook, plain lines elsewhere."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lada.core.console import console
from lada.core.plural import MANY
from lada.core.shown import in_one_line
from lada.report.spread import spread

if TYPE_CHECKING:
    from lada.rounds.party import Emit


class CellOutput:
    """One output of a notebook's cell that grows by a line at a time."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._handle: Any = None

    def add(self, line: str) -> None:
        """Append a line."""
        from IPython.display import display  # pyright: ignore[reportMissingImports] - only notebooks have it

        self._lines.append(line)
        content = {"text/plain": "\n".join(self._lines)}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


class LiveView:
    """Shows a run's events: one bar for each working party, removed when its phase ends.

    With more than MANY clients, phases print no lines, and evaluations print one line per round.
    """

    def __init__(self, console: Console) -> None:
        self.folder: str | None = None
        self._console = console
        self._output = CellOutput() if console.is_jupyter else None
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        self._many: frozenset[str] = frozenset()
        self._evaluated: dict[int, dict[str, float]] = {}
        self._progress = Progress(
            TextColumn("{task.fields[party]:>12}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:>8} tokens/s", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "LiveView":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def emit(self, event: dict[str, Any]) -> None:
        """Show one event; called from several threads."""
        with self._lock:
            show = getattr(self, f"_on_{event['kind']}", None)
            if show:
                show(event)

    def _say(self, text: str) -> None:
        if self._output:  # each line that rich prints in a notebook would be an output of its own
            self._output.add(in_one_line(text))
        else:
            self._console.print(in_one_line(text), highlight=False, soft_wrap=True)

    def _on_run(self, event: dict[str, Any]) -> None:
        self.folder = event["folder"]
        self._say(f"run {event['name']} in {event['folder']}")
        clients = event.get("clients", ())
        self._many = frozenset(clients) if len(clients) > MANY else frozenset()
        if self._many:
            self._say(
                f"{len(clients)} clients: only means are shown here; `lada watch {event['folder']}` lists each client"
            )

    def _on_round(self, event: dict[str, Any]) -> None:
        self._tell_evaluated(event["time"])
        what = ": evaluate all parties before training" if event["round"] == 0 else f" of {event['rounds']}"
        self._say(f"[{event['time']:6.1f} s] round {event['round']}{what}")

    def _on_phase(self, event: dict[str, Any]) -> None:
        if not self._console.is_terminal and event["party"] not in self._many:
            self._say(f"[{event['time']:6.1f} s] {event['party']}: {event['phase']}")
        self._drop(event["party"])

    def _on_progress(self, event: dict[str, Any]) -> None:
        party = event["party"]
        if party not in self._bars:
            description = event["phase"] if event["phase"] == event["verb"] else f"{event['phase']} ({event['verb']})"
            self._bars[party] = self._progress.add_task(description, party=party, speed="", total=event["total"])
        speed = f"{event['tokens'] / max(event['seconds'], 1e-3):,.0f}"
        self._progress.update(self._bars[party], completed=event["done"], total=event["total"], speed=speed)
        if event["done"] >= event["total"]:
            self._drop(party)

    def _on_end(self, event: dict[str, Any]) -> None:
        self._tell_evaluated(event["time"])

    def _tell_evaluated(self, time: float) -> None:
        """Print the distribution of the clients' accuracy when a round is over."""
        for round, values in sorted(self._evaluated.items()):
            if found := spread(values.values()):
                told = ", ".join(f"{place} {value:.1f} %" for place, value in found.items())
                self._say(f"[{time:6.1f} s] {len(values)} clients after round {round}: overall {told}")
        self._evaluated = {}

    def _on_evaluation(self, event: dict[str, Any]) -> None:
        if event["party"] in self._many:
            self._evaluated.setdefault(event["round"], {})[event["party"]] = event["overall"]["value"]
            return
        parts = [
            f"{name} {event[name]['value']:.1f} %" for name in ("overall", "own", "other", "general") if event[name]
        ]
        self._say(f"[{event['time']:6.1f} s] {event['party']} after round {event['round']}: {', '.join(parts)}")

    def _drop(self, party: str) -> None:
        if party in self._bars:
            self._progress.remove_task(self._bars.pop(party))


@contextmanager
def showing(emit: "Emit") -> Iterator["Emit"]:
    """Yield an Emit that prints each event on standard output and then passes it to `emit`."""
    with LiveView(console) as view:

        def both(event: dict[str, Any]) -> None:
            view.emit(event)
            emit(event)

        yield both
