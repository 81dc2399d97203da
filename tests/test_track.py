"""A whole run with trackers: what they get, what a failing one does, and that events alone tell it again."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lada
from lada.cli.main import app
from lada.config import make_config
from lada.core.errors import FederationError, InputError
from lada.core.registry import Options
from lada.core.results import Augmentation, Membership, Missing, Results, Withheld
from lada.federation.ledger import read
from lada.hosts.fedmkt import Fedmkt
from lada.trackers.base import TRACKERS, Status

reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
BUILTIN = {
    "rounds": 1,
    "workers": 0,
    "task": {"kind": "rulebooks", "public": 20, "private": 12, "test_per_domain": 2, "replay": 4},
    "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 24}, "distil": {"steps": 2}},
    "clients": [
        {
            "name": "clinic",
            "domains": ["clinic"],
            "model": {"model": "zoo:slm-olmo2", "max_new_tokens": 24},
            "private": {"steps": 2},
            "distil": {"steps": 2},
        }
    ],
    "allocator": {"name": "random", "options": {"budget": 8}},
}


class Broken:
    """A tracker whose disk is full from the start."""

    def __init__(self, options: Options) -> None: ...

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        raise OSError("disk full")

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def finish(self, status: Status) -> None: ...


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    TRACKERS.names()  # so that all are there before another joins them
    runs = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRACKERS, "_methods", dict(TRACKERS._methods))
        TRACKERS.register("broken")(Broken)
        return lada.run(BUILTIN | {"trackers": ["broken", "tensorboard"]}, runs=runs, name="one"), runs / "one"


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read_back = reader.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in read_back.Scalars(tag)] for tag in read_back.Tags()["scalars"]}


def test_a_tracker_has_the_figures_of_the_results(tracked: tuple[Results, Path]) -> None:
    results, folder = tracked
    told = scalars(folder / "tensorboard")
    for party in ("llm", "clinic"):
        expected = [results.of(party, round).overall.value for round in (0, 1)]
        assert told[f"accuracy/{party}/overall"] == [(r, pytest.approx(v)) for r, v in enumerate(expected)]
    losses = {f"loss_last/{study.party}/{study.phase}": study.last_loss for study in results.studies}
    assert losses.keys() == {"loss_last/llm/distil", "loss_last/clinic/private", "loss_last/clinic/distil"}
    assert all(told[key] == [(1, pytest.approx(value))] for key, value in losses.items())
    assert {(a.teacher, a.student): float(a.chosen) for a in results.allocations} == {
        pair: told[f"allocation/{'/'.join(pair)}/chosen"][0][1] for pair in (("llm", "clinic"), ("clinic", "llm"))
    }
    sent = sum(value for tag, points in told.items() if tag.startswith("bytes/") for _, value in points)
    assert sent == sum(row.bytes for row in read(folder))
    (agreement,) = [e.agreement for e in results.evaluations if e.party == "clinic" and e.round == 1]
    assert told["agreement/clinic"][1] == (1, pytest.approx(agreement))
    assert told["tokens_per_second/clinic/private"][0][1] > 0


def test_a_tracker_that_fails_leaves_a_notice_and_no_harm(tracked: tuple[Results, Path]) -> None:
    results, folder = tracked
    (notice,) = (notice for notice in results.notices if notice.startswith("tracker"))
    assert notice.startswith("tracker broken failed (OSError")
    assert "disk full" in (folder / "trackers.log").read_text()
    assert events(folder)[-1]["kind"] == "end"


def test_the_page_tells_every_event_there_is(tracked: tuple[Results, Path], root: Path) -> None:
    page = (root / "docs/events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|[^|]+\|$", page, re.MULTILINE)
    told = {kind: set(re.findall(r"`(\w+)`", keys)) for kind, keys in rows}
    seen: dict[str, set[str]] = {}
    for event in events(tracked[1]):
        keys = event.keys() - {"time", "kind"}
        if event["kind"] == "study":
            keys -= {"skipped", "cut", "unfinished"}  # which are there if they are not 0
        assert seen.setdefault(event["kind"], keys) == keys  # events of one kind are alike
    rare = {"missing": Missing, "membership": Membership, "withheld": Withheld}  # of which this run has none
    written = set(Augmentation.model_fields) - {"well_formed", "right"}  # which only some tasks can tell
    taken = {"augmentation": written}
    taken |= {"failure": {"party", "round", "phase", "why"}}  # of runs that end over a party; see watching
    taken |= {"taken": {"party", "round", "phase", "seconds"}}  # of runs that share their work; see test_common
    assert told == seen | taken | {kind: set(record.model_fields) for kind, record in rare.items()}


def test_no_event_but_a_run_and_a_party_holds_more_than_numbers_and_names(tracked: tuple[Results, Path]) -> None:
    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for key, inner in value.items() for text in (key, *texts(inner))]
        return [value] if isinstance(value, str) else []

    for event in events(tracked[1]):
        if event["kind"] not in ("run", "party", "notice"):
            assert all(re.fullmatch(r"[\w-]+", text) for text in texts(event)), event


def test_lada_track_tells_the_same_again(tracked: tuple[Results, Path], tmp_path: Path) -> None:
    _, folder = tracked
    command = ["track", str(folder), "--to", "tensorboard", "--set", f"folder={tmp_path}"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert scalars(tmp_path / "one") == scalars(folder / "tensorboard")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["--to", "tensorbord"], "did you mean 'tensorboard'"),
        (["--to", "tensorboard", "--set", "foldr=x"], "did you mean 'folder'"),
        (["--to", "tensorboard"], "cannot read config.yaml"),
    ],
)
def test_lada_track_explains_what_is_wrong(command: list[str], expected: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["track", str(tmp_path), *command])
    assert result.exit_code == 2, result.output
    assert expected in result.output


@pytest.mark.parametrize(("error", "status"), [(FederationError("gone"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_a_run_that_breaks_says_how_it_ended(
    error: BaseException, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Fedmkt, "serve", fail)
    with pytest.raises(type(error)):
        lada.run(BUILTIN, runs=tmp_path, name="one")
    assert events(tmp_path / "one")[-1] | {"time": 0} == {"time": 0, "kind": "end", "status": status}


def test_trackers_are_off_unless_named_and_named_once() -> None:
    assert make_config(BUILTIN).choices(TRACKERS) == ()
    named = make_config(BUILTIN | {"trackers": ["tensorboard", {"name": "mlflow", "options": {"experiment": "e"}}]})
    assert [(tracker.name, tracker.options) for tracker in named.choices(TRACKERS)] == [
        ("tensorboard", {"folder": None}),
        ("mlflow", {"tracking_uri": None, "experiment": "e"}),
    ]
    with pytest.raises(InputError, match="'wandb' is named twice"):
        make_config(BUILTIN | {"trackers": ["wandb", {"name": "wandb"}]})
