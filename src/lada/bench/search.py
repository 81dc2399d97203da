"""The result of a search in the development worlds: every score, and the best configuration of each row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pydantic import ValidationError

from lada.bench.cell import CellKey, digest_of
from lada.bench.hypotheses import SideName
from lada.bench.layers import Layer, MaybeTrack, Track
from lada.bench.outcome import Outcome
from lada.bench.parts import DEFAULT, SuiteRow, Table, best
from lada.bench.suite import Suite
from lada.core.errors import InputError
from lada.core.results import Record

FILE, CELLS = "search.json", "search.jsonl"
"""Files in the folder of a suite's results: the result of the search, and its cells."""


class Score(Record):
    """One cell."""

    scenario: str
    world: int
    seed: int
    value: float
    """Accuracy, percent."""


class Tried(Record):
    """One configuration of a row."""

    setting: str
    mean: float
    """The mean over worlds and seeds, then over scenarios."""
    scores: tuple[Score, ...]


class Choice(Record):
    """The configurations tried for a row on one track, and the best; among equals the first, starting with the
    unchanged row."""

    row: str
    track: MaybeTrack
    chosen: str
    tried: tuple[Tried, ...]


class Frozen(Record):
    """A finished search and its result."""

    suite: str
    digest: str
    """The digest of the search in the suite's file, by `digest`."""
    side: SideName
    area: str
    development: tuple[int, ...]
    commits: tuple[str, ...]
    choices: tuple[Choice, ...]

    @property
    def pairs(self) -> list[tuple[Choice, Tried]]:
        """Every choice with each of its tried configurations."""
        return [(choice, each) for choice in self.choices for each in choice.tried]


def digest(suite: Suite) -> str:
    """Return a digest, to recognise whether a search, with its worlds, is the one in the suite's file."""
    searched = suite.search.model_dump(mode="json") if suite.search else None
    return digest_of([searched, suite.development, suite.seeds])


def accuracy(cell: Outcome, side: SideName, area: str) -> float | None:
    """Return the final accuracy of one side of a cell in an area, percent; None if it has no such questions."""
    return cell.mean(area) if side == "clients" else cell.server().after.get(area)


def decide(suite: Suite, outcomes: Mapping[CellKey, Outcome]) -> Frozen:
    """Return the result of a search. `outcomes` hold all its cells. Raises InputError for a cell without the wanted
    questions."""
    search = suite.search
    assert search is not None
    tried: dict[tuple[str, MaybeTrack], dict[str, list[Score]]] = {}
    for key in suite.searched():
        value = accuracy(outcomes[key], search.side, search.area)
        if value is None:
            raise InputError(
                f"suite {suite.name!r}, search: the {search.side} of {key} have no questions of {search.area!r}; "
                "expected an `area` that they have"
            )
        score = Score(scenario=key.scenario, world=key.world, seed=key.seed, value=value)
        tried.setdefault((key.row, key.track), {}).setdefault(key.setting, []).append(score)
    choices = []
    for (row, track), settings in tried.items():
        means = {setting: _mean(scores) for setting, scores in settings.items()}
        rows = tuple(Tried(setting=name, mean=means[name], scores=tuple(settings[name])) for name in settings)
        choices.append(Choice(row=row, track=track, chosen=max(means, key=lambda name: means[name]), tried=rows))
    return Frozen(
        suite=suite.name,
        digest=digest(suite),
        side=search.side,
        area=search.area,
        development=suite.development,
        commits=tuple(sorted({outcome.environment.git or "no checkout" for outcome in outcomes.values()})),
        choices=tuple(choices),
    )


def _mean(scores: Sequence[Score]) -> float:
    scenarios = dict.fromkeys(score.scenario for score in scores)
    return fmean(fmean(s.value for s in scores if s.scenario == scenario) for scenario in scenarios)


def write(frozen: Frozen, folder: Path) -> Path:
    """Write a finished search into the folder of a suite's results; return the file."""
    file = folder / FILE
    file.write_text(json.dumps(frozen.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    return file


def read(suite: Suite, folder: Path) -> Frozen | None:
    """Return the finished search of a suite; None if there is none. Raises InputError if the file belongs to another
    suite or search."""
    file = folder / FILE
    if suite.search is None or not file.exists():
        return None
    try:
        frozen = Frozen.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise InputError(f"{file}: no search ({error.errors()[0]['msg']}); run `--search` again") from None
    if frozen.digest != digest(suite):
        raise InputError(
            f"{file} belongs to another search than that of suite {suite.name!r}; run `lada bench --search` again, or "
            "restore the suite's file to what was searched"
        )
    return frozen


def with_best(suite: Suite, frozen: Frozen | None) -> Suite:
    """Return a suite with an additional row, also in its tables, for each row whose best configuration is not the
    unchanged one."""
    assert suite.search is not None or frozen is None
    rows: dict[str, SuiteRow] = {}
    for name, row in suite.rows.items():
        rows[name] = row
        better = [c for c in frozen.choices if c.row == name and c.chosen != DEFAULT] if frozen else []
        if better:
            rows[best(name)] = _best(suite, row, better)

    def shown(table: Table) -> Table:
        track = suite.track_of(table.title, table.track, table.rows)
        names = [each for row in table.rows for each in (row, best(row)) if _has(rows, each, track)]
        return table.model_copy(update={"rows": tuple(names)})

    return suite.model_copy(update={"rows": rows, "tables": tuple(map(shown, suite.tables))})


def _best(suite: Suite, row: SuiteRow, choices: Iterable[Choice]) -> SuiteRow:
    assert suite.search is not None
    chosen = {choice.track: suite.search.rows[choice.row][choice.chosen] for choice in choices}
    about = "; ".join(f"{choice.chosen}{f' on the track {choice.track}' if choice.track else ''}" for choice in choices)
    told = f"The best of its search: {about}."
    if "" in chosen:
        over = row.under(chosen[""])
        update = {"config": over.config, "each_client": over.each_client}
    else:
        tracks: tuple[Track, ...] = tuple(track for track in row.tracks if track in chosen)
        layers: dict[Track, Layer] = {track: row.by_track.get(track, Layer()).under(chosen[track]) for track in tracks}
        update = {"tracks": tracks, "by_track": layers}
    return row.model_copy(update={**update, "about": told, "curve": ()})


def _has(rows: Mapping[str, SuiteRow], row: str, track: str) -> bool:
    return row in rows and (not track or track in rows[row].tracks)
