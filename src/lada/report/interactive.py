"""Runs and comparisons of runs for Python users, with their display in a prompt and a notebook."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import PrivateAttr

from lada.core.errors import InputError, nearest
from lada.core.plural import counted
from lada.core.results import PartyInfo, Results
from lada.report import clients, comparison, story
from lada.report.frames import frame
from lada.report.page import fill, render
from lada.report.plot import plot
from lada.report.reading import read_results
from lada.report.view import View, mean
from lada.report.words import number

if TYPE_CHECKING:
    from pandas import DataFrame

Records = Literal["evaluations", "studies", "allocations", "traffic", "clients", "rounds"]


class RunResults(Results):
    """The results of a run, with its folder."""

    _folder: Path = PrivateAttr()

    @classmethod
    def in_folder(cls, results: Results, folder: Path) -> Self:
        """Return results together with their folder."""
        made = cls.model_construct(results.model_fields_set, **dict(results))
        made._folder = folder
        return made

    @property
    def folder(self) -> Path:
        """The run's folder, with results.json, events.jsonl, report.html and the checkpoints."""
        return self._folder

    def frame(self, what: Records = "evaluations") -> "DataFrame":
        """Return the records of one kind as a data frame of pandas, one row per record.

        `clients` has one row per client: its data, its work, its accuracy and how it resembles the LLM. `rounds` has
        one row per round: the clients' mean accuracy, the worst tenth, and correlations (lada.report.clients).

        An interval fills four columns, such as `overall`, `overall_low`, `overall_high` and `overall_count`; an entry
        of a mapping fills one such as `diagnostics.auc`. Accuracies are percent, traffic is bytes. Raises InputError
        for an unknown kind, or if pandas is missing.
        """
        known = get_args(Records)
        if what not in known:
            raise InputError(
                f"frame: {what!r} is no kind of records; expected one of {', '.join(known)}{nearest(what, known)}"
            )
        derived = {"clients": clients.by_client, "rounds": clients.by_round}
        return frame(derived[what](self) if what in derived else getattr(self, what))

    def plot(self, measure: str = "overall", *, axes: Any = None) -> Any:
        """Draw accuracy in percent by round, one line per party, and return the axes (matplotlib.axes.Axes).

        `measure` is `overall`, `own`, `other` or `general`. Without `axes`, a new figure is made. Raises InputError for
        an unknown measure, for one that no party has, or if matplotlib is missing.
        """
        return plot(View(self), measure, axes)

    def report(self) -> Path:
        """Write the run's report.html again and return its path."""
        return render(self.folder)

    def __repr__(self) -> str:
        view = View(self)
        told = [counted(view.rounds[-1] if view.rounds else 0, "round")]
        for who, parties in ((counted(len(view.clients), "client"), view.clients), ("LLM", view.servers)):
            before, after = _overall(view, parties)
            if before is not None:
                told.append(f"{who} {number(before)} → {number(after)} %")
        return f"<run {self.name!r} in {str(self.folder)!r}: {', '.join(told)}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        view = View(self)
        return fill(
            "inline.html.j2",
            told=story.sentence(view),
            warnings=(),
            table_of=story.summary(view),
            where=self.folder,
        )


def load(folder: str | os.PathLike[str]) -> RunResults:
    """Return the results of a run from its folder, such as `runs/demo`.

    Raises InputError if results.json is missing, malformed or of another version.
    """
    return RunResults.in_folder(read_results(Path(folder)), Path(folder))


def _overall(view: View, parties: Sequence[PartyInfo]) -> tuple[float | None, float | None]:
    """Return the mean accuracy of parties over all domains before the run and after it, percent."""
    known = [(first, last or first) for first, last in (view.ends(party.name) for party in parties) if first]
    return mean(first.overall.value for first, _ in known), mean(last.overall.value for _, last in known)


class Comparison:
    """Runs side by side, each compared with the first."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises InputError without folders, or if one has no readable results.json."""
        self.folders = folders
        self._answers = comparison.read_answers(folders)

    def frame(self) -> "DataFrame":
        """Return accuracies as a data frame of pandas, one row per run and measure.

        `before` and `after` are percent; `difference` is in points, to the first run after the last round. `low` and
        `high` are its 95 % interval, paired by question, and empty if a run's answers cannot be read. Raises InputError
        if pandas is missing.
        """
        return frame(list(comparison.standings(self._answers).values()))

    def report(self, output: str | os.PathLike[str] = "comparison.html") -> Path:
        """Write the page that compares the runs and return its path."""
        return comparison.compare(self.folders, Path(output))

    def __repr__(self) -> str:
        first, *others = self._answers
        return f"<comparison of {first!r} with {', '.join(map(repr, others)) or 'nothing'}>"

    def _repr_html_(self) -> str:
        return fill(
            "inline.html.j2",
            told=f"Differences are from the first run, {next(iter(self._answers))}.",
            warnings=comparison.task_warnings(self._answers),
            table_of=comparison.table_of_runs(self._answers),
            where=None,
        )


def compare(runs: Iterable[RunResults | str | os.PathLike[str]]) -> Comparison:
    """Compare runs, each with the first; a run is given as its folder, or as the result of `lada.run` or `lada.load`.

    Raises InputError without runs, or if a folder has no readable results.json.
    """
    return Comparison([run.folder if isinstance(run, RunResults) else Path(run) for run in runs])
