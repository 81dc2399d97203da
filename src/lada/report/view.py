"""The lookups of a page in a run's results: parties, rounds, before and after, means over clients."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from markupsafe import Markup

from lada.core.plural import MANY, counted
from lada.core.results import Evaluation, Interval, PartyInfo, Results
from lada.report.charts import STYLES

FEW = STYLES - 1
"""Up to this many clients each have a colour; more are drawn quietly around their mean."""

MEASURES = {"overall": "all domains", "own": "own domains", "other": "other domains", "general": "general skill"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the page: the first `words` columns hold text, the others numbers. Cells that are Markup stay so."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    words: int = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """Charts that belong together, with one plain sentence about what they show."""

    told: str
    charts: Sequence[Markup]
    legend: Sequence[tuple[int, str, str]] = ()
    """(style, key, name) of each colour that no chart names itself."""
    wide: bool = False


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


class View:
    """A run's results, looked up by party and round."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._evaluations = {(e.party, e.round): e for e in results.evaluations}
        self._seconds = defaultdict[str, float](float)
        self._sent, self._received = Counter[str](), Counter[str]()
        for phase in results.wall_clock.phases:
            self._seconds[phase.party] += phase.seconds
        for row in results.traffic:
            self._sent[row.sender] += row.bytes
            self._received[row.receiver] += row.bytes

    @cached_property
    def servers(self) -> list[PartyInfo]:
        """The parties with the role `server` (one, or none in a run of only clients)."""
        return [party for party in self.results.parties if party.role == "server"]

    @cached_property
    def clients(self) -> list[PartyInfo]:
        """All other parties, in the order of the file."""
        return [party for party in self.results.parties if party.role != "server"]

    @cached_property
    def parties(self) -> list[PartyInfo]:
        """Servers first, then clients."""
        return self.servers + self.clients

    @cached_property
    def rounds(self) -> list[int]:
        """Every round that was evaluated, ascending; 0 is before the first round."""
        return sorted({evaluation.round for evaluation in self.results.evaluations})

    @cached_property
    def crowded(self) -> bool:
        """Whether there are too many clients for a colour each."""
        return len(self.clients) > FEW

    @cached_property
    def many(self) -> bool:
        """Whether there are too many clients for rows of their own."""
        return len(self.clients) > MANY

    @property
    def listed(self) -> list[PartyInfo]:
        """The parties that have rows of their own."""
        return self.servers if self.many else self.parties

    @cached_property
    def crowd(self) -> str:
        """The name for all clients together."""
        return counted(len(self.clients), "client")

    @cached_property
    def _styles(self) -> dict[str, int]:
        return {party.name: 1 + place % FEW for place, party in enumerate(self.clients)}

    def style(self, party: PartyInfo) -> int:
        """Return a party's colour: 0 for a server, 1… for clients."""
        return 0 if party.role == "server" else self._styles[party.name]

    def evaluation(self, party: str, round: int) -> Evaluation | None:
        """Return one party's evaluation after one round; None if there is none."""
        return self._evaluations.get((party, round))

    def value(self, party: str, round: int, measure: str) -> Interval | None:
        """Return one of MEASURES; None if it was not measured."""
        evaluation = self.evaluation(party, round)
        return None if evaluation is None else getattr(evaluation, measure)

    def ends(self, party: str) -> tuple[Evaluation | None, Evaluation | None]:
        """Return a party's first and last evaluation; the last is None if there is only one."""
        known = [found for round in self.rounds if (found := self.evaluation(party, round)) is not None]
        return (known[0] if known else None, known[-1] if len(known) > 1 else None)

    def mean_of(self, parties: Sequence[PartyInfo], measure: str, round: int) -> float | None:
        """Return the mean of a measure over the parties that have it, percent; each counts once."""
        intervals = [self.value(party.name, round, measure) for party in parties]
        return mean(None if interval is None else interval.value for interval in intervals)

    def seconds(self, party: str) -> float:
        """Return a party's seconds of compute, all phases together."""
        return self._seconds.get(party, 0)

    def sent(self, party: str) -> int:
        """Return the bytes a party sent."""
        return self._sent[party]

    def received(self, party: str) -> int:
        """Return the bytes a party received."""
        return self._received[party]
