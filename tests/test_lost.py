"""Who was lost on the way is told, and the exit code says so; a study that taught nothing is an error."""

import json
import re

import pytest
import yaml
from dying import dying
from safetensors import safe_open
from tiny_run import tiny
from typer.testing import CliRunner

import lada
from lada.bench.running import Failed, Store, run_cells
from lada.bench.suite import Suite
from lada.cli.main import app
from lada.cli.summary import summary
from lada.codecs.metrics import decode_records, encode_records
from lada.core.errors import LOST, FederationError, InputError, LadaError, StudyError
from lada.core.results import Missing, PartyReport, Results, StudyRecord
from lada.core.signals import Terminated, exit_code
from lada.engines import submission
from lada.federation import cause, party_cache, run_folder
from lada.models.base import StudyReport
from lada.models.files import check_files
from lada.rounds.steps import check_study
from lada.zoo.shipped import locate

ALONE = {"host": "standalone", "plugin": "none"}


def alone(**changes):
    """A run in which each client works for itself."""
    config = tiny(**ALONE, **changes)
    del config["allocator"], config["objective"]
    return config


def test_the_default_quorum_is_all_on_one_machine_and_half_in_a_deployment(tmp_path):
    from lada.config import make_config

    model = {"model": {"model": "zoo:slm-gpt2"}}
    data = {"server": model, "clients": [{"name": "a", **model}, {"name": "b", **model}]}
    for engine, share in (("local", 1.0), ("simulation", 1.0), ("deployment", 0.5)):
        config = make_config({**data, "engine": engine})
        assert (config.quorum, config.least_share) == (share, share)
        assert make_config({**data, "engine": engine, "quorum": 0.7}).quorum == 0.7
    place = run_folder.new(tmp_path, make_config(data), tmp_path)
    assert yaml.safe_load((place.folder / "config.yaml").read_text())["quorum"] == 1.0


def test_a_client_that_dies_ends_the_run_which_goes_on_later_and_a_quorum_is_told_of_it(tmp_path):
    party_cache.forget()
    with dying("clinic", 1), pytest.raises(FederationError, match="client 'clinic': failed"):
        lada.run(alone(), runs=tmp_path)
    kept = Results.model_validate_json((tmp_path / "tiny" / "results.json").read_text())
    assert {e.party for e in kept.evaluations if e.round == 0} == {"llm", "clinic", "warehouse"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(alone(quorum=0.5)))
    command = ["run", str(tmp_path / "run.yaml"), "--runs", str(tmp_path), "--resume"]
    party_cache.forget()
    with dying("clinic", 1):
        done = CliRunner().invoke(app, command)
    assert done.exit_code == LOST == 3
    assert "lost on the way: clinic in round 1 (" in done.output
    assert "RuntimeError" not in done.output
    again = CliRunner().invoke(app, [*command, "--allow-missing"])
    assert (again.exit_code, "lost on the way: clinic" in again.output) == (0, True)


def test_who_was_lost_is_told_once_for_each_reason():
    gone = [("a", 1, "learn", "silent"), ("a", 2, "learn", "silent"), ("b", 2, "learn", "died")]
    missing = tuple(Missing(party=p, round=r, phase=f, why=w) for p, r, f, w in gone)
    assert Results.model_construct(missing=missing).lost() == [
        "lost on the way: a in round 1 (learn), round 2 (learn): silent",
        "lost on the way: b in round 2 (learn): died",
    ]


def test_a_client_s_own_error_ends_the_run_and_another_stays_in_its_folder(tmp_path):
    for error, found in (
        (InputError("model: no"), InputError),
        (StudyError("steps"), StudyError),
        (KeyError("private text"), type(None)),
        (FederationError("a replay"), type(None)),
    ):
        cause.leave(tmp_path, "0000000a", error)
        assert isinstance(cause.find(tmp_path, "0000000a"), found)
        assert cause.find(tmp_path, "0000000b") is None  # of another failure
        (tmp_path / cause.FILE).unlink(missing_ok=True)
    assert "private text" not in "".join(file.read_text() for file in tmp_path.iterdir())


def test_a_simulation_tells_the_command_in_the_same_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "submission-1.json"
    file.write_text(json.dumps({"directory": str(tmp_path)}))
    for error in (InputError("client 'clinic': model: no"), StudyError("llm: steps")):
        with pytest.raises(type(error)), submission.told(str(file)):
            raise error
        with pytest.raises(type(error), match=str(error)):
            submission._raise_what_was_told(file, tmp_path / "log")


def report(**changes):
    return StudyReport(**{"steps": 200, "lessons": 4, "pairs": 0, "soft": 0, "tokens": 9, "first_loss": 2.0,
                          "last_loss": 1.0, **changes})  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skipped": 3}, r"clinic, study 'private' of round 2: 3 of 200 steps were skipped.*learning_rate.*bfloat16"),
        ({"steps": 1, "skipped": 1}, "1 of 1 step was skipped, since its loss"),
        ({"empty": 4}, "all 4 lessons have no text"),
        ({"cut": 4}, "all 4 lessons are cut"),
    ],
)
def test_a_study_that_came_to_nothing_is_an_error(changes, said):
    with pytest.raises(StudyError, match=said):
        check_study("clinic", 2, "private", report(**changes))


def test_a_percent_of_the_steps_may_be_skipped_and_is_told():
    check_study("clinic", 2, "private", report(skipped=2, empty=3, cut=3))
    row = StudyRecord(party="clinic", round=2, phase="private", steps=200, lessons=4, pairs=0, replayed=0, tokens=9,
                      first_loss=2.0, last_loss=1.0, skipped=2, cut=1)  # fmt: skip
    told = "2 of 200 steps skipped, since loss or gradient was not finite; "
    told += "1 of 4 lessons cut at the end of the model's context"
    assert row.faults() == told
    results = Results.model_construct(studies=(row, row.model_copy(update={"skipped": 0, "cut": 0})))
    assert results.faulty_studies() == [f"clinic, private, round 2: {told}"]
    (back,) = decode_records(encode_records([PartyReport(studies=(row,))]), PartyReport)
    assert back.studies == (row,)


def test_a_sound_study_is_told_in_the_bytes_that_it_always_had():
    row = StudyRecord(party="c", round=0, phase="p", steps=1, lessons=1, pairs=0, replayed=0, tokens=1,
                      first_loss=1.0, last_loss=1.0)  # fmt: skip
    assert row.model_dump_json() == (
        '{"party":"c","round":0,"phase":"p","steps":1,"lessons":1,"pairs":0,"soft":0,"replayed":0,"tokens":1,'
        '"first_loss":1.0,"last_loss":1.0,"epsilon":null,"delta":null}'
    )


def test_the_table_and_the_page_say_what_was_skipped(tmp_path):
    from synthetic_run import make_results, write_run  # pyright: ignore[reportMissingImports] - a path of pytest

    from lada.report.page import render

    results = make_results()
    first = results.studies[0].model_copy(update={"skipped": 1})
    results = results.model_copy(update={"studies": (first, *results.studies[1:])})
    told = f"{first.party}, {first.phase}, round {first.round}: 1 of {first.steps} steps skipped"
    assert told in str(summary(results).caption)
    write_run(tmp_path, results)
    assert render(tmp_path).read_text().count(told) >= 2  # at the top, and below the table of studies


def test_weights_that_are_missing_or_cut_are_seen_before_the_run(tmp_path):
    source = locate("zoo:slm-gpt2")
    check_files(source)
    check_files("a/hub-id")
    with pytest.raises(InputError, match="cannot load"):
        check_files(str(tmp_path))
    whole = (tmp_path.__class__(source) / "model.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole)
    (tmp_path / "b.safetensors").write_bytes(whole)
    with safe_open(str(tmp_path / "a.safetensors"), framework="pt") as weights:
        first, *others = weights.keys()
    index = {"metadata": {}, "weight_map": {first: "a.safetensors", **dict.fromkeys(others, "b.safetensors")}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    check_files(str(tmp_path))
    (tmp_path / "b.safetensors").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cannot load"):
        check_files(str(tmp_path))


def test_a_cell_that_lost_a_client_does_not_count_and_is_run_anew(tmp_path, monkeypatch):
    import lada.bench.running as running

    suite = Suite.model_validate(
        {
            "base": alone(rounds=0),
            "scenarios": {"s": {}},
            "rows": {"r": {}},
            "tables": [{"title": "t", "rows": ["r"], "against": "r"}],
        },
        strict=False,
    )
    (cell,) = suite.cells()
    store = Store(tmp_path / "results")

    def ended(self, command, log):
        run_folder.new(tmp_path / "runs" / f"{cell.name}-{cell.digest}", cell.config, tmp_path)
        return LOST

    monkeypatch.setattr(running.Processes, "call", ended)
    told = []
    failed = run_cells([cell], store, tmp_path / "runs", parallel=1, tell=lambda *what: told.append(what[1]))
    assert [type(one) for one in failed] == [Failed]
    assert told == ["running", "failed"]
    assert store.get(cell) is None
    assert not (tmp_path / "runs" / f"{cell.name}-{cell.digest}" / cell.name).exists()


def test_the_table_of_exit_codes_is_complete(root):
    page = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \|", page, re.MULTILINE)
    told = {int(code) for row in rows for code in row.split(",")}
    stopped = {exit_code(stop) for stop in (KeyboardInterrupt(), Terminated())}
    assert told == {0, LadaError.exit_code, InputError.exit_code, LOST, *stopped}
    for error in (FederationError, StudyError):
        assert error.exit_code == LadaError.exit_code == 1
