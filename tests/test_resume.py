"""An interrupted run resumes bit for bit: after a crash anywhere, a damaged checkpoint, silence or kill -9."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_run import builtin

import lada
from lada.core.arrays import bytes_to_arrays
from lada.core.errors import InputError
from lada.core.results import Results
from lada.core.sealed import seal
from lada.federation import party_cache
from lada.federation.run_lock import run_lock
from lada.hosts.standalone import Standalone
from lada.objectives.base import OBJECTIVES
from lada.rounds.steps import check_study
from lada.zoo.shipped import locate


def config(**changes):
    """Two clients, two rounds, seconds of work; the models are the smallest of which each learns from another."""
    small = builtin(**{"rounds": 2, "quorum": 1.0, **changes})
    models = ("zoo:slm-llama", "zoo:slm-llama-small", "zoo:slm-gpt2")
    small["task"] |= {"public": 12, "private": 8, "test_per_domain": 1, "replay": 4}
    for party, model in zip((small["server"], *small["clients"]), models, strict=True):
        party["model"] |= {"model": model, "max_new_tokens": 16}
        party["distil"] = {"steps": 1, "batch_size": 4}
    for client in small["clients"]:
        client["private"] = {"steps": 1, "batch_size": 4}
    small["allocator"] = {"name": "lada_paper", "options": {"budget": 6, "epochs": 5}}
    return small


def outcome(results: Results) -> dict:
    """What two runs must share: everything but times, and traffic, since what is asked twice crosses twice."""
    data = results.model_dump(mode="json")
    for key in ("wall_clock", "traffic", "config"):
        del data[key]
    return data


class Crash(BaseException):
    """Ends a run like a power cut: no handler of ours is for it."""


def crash_at(number: int, monkeypatch):
    """Crash when the `number`-th file of a checkpoint or journal is about to be put in place."""
    from lada.federation import checkpoints

    save, count = checkpoints.save, [0]

    def counting(folder, fill):
        count[0] += 1
        if count[0] == number:
            raise Crash
        save(folder, fill)

    for module in ("checkpoints", "journal.checkpoints", "parties.checkpoints"):
        monkeypatch.setattr(f"lada.federation.{module}.save", counting)
    return count


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The outcome of a run that nothing breaks, its folder, and how many files of checkpoints and journal it put."""
    runs = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        writes = crash_at(10**6, patch)
        return outcome(lada.run(config(), runs=runs)), runs / "small", writes[0]


@pytest.fixture
def whole(finished):
    return finished[0]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """What a run of no rounds found, and its folder."""
    runs = tmp_path_factory.mktemp("evaluated")
    return lada.run(config(), runs=runs, overrides=("rounds=0",)), runs / "small"


@pytest.fixture
def short(evaluated, tmp_path):
    """Give a copy of that folder, with which one test continues."""
    return shutil.copytree(evaluated[1], tmp_path / "small")


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_a_run_resumes_from_a_crash_before_any_write_to_the_same_bits(finished, tmp_path, monkeypatch, seed):
    whole, _, writes = finished
    assert writes > 30
    party_cache.forget()
    with monkeypatch.context() as patch:
        crash_at(random.Random(seed).randrange(1, writes), patch)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path)
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path, resume=True)) == whole
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_what_was_studied_before_the_crash_is_not_studied_again(whole, tmp_path, monkeypatch):
    from lada.models.learner import HuggingFaceLearner

    study, studied = HuggingFaceLearner.study, []

    def counting(self, *args, **options):
        studied.append(self.name)
        return study(self, *args, **options)

    monkeypatch.setattr(HuggingFaceLearner, "study", counting)
    with monkeypatch.context() as patch:
        patch.setattr("lada.rounds.outline.send_knowledge", _crash)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path)
    assert len(studied) == 1  # the first client's private data
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path, resume=True)) == whole
    assert len(studied) == len(whole["studies"])


def _crash(*_, **__):
    raise Crash


def test_a_finished_run_resumes_to_itself_and_can_be_made_longer(whole, tmp_path):
    shorter = lada.run(config(), runs=tmp_path, overrides=("rounds=1",))
    assert outcome(lada.run(config(), runs=tmp_path, overrides=("rounds=1",), resume=True)) == outcome(shorter)
    place = tmp_path / "small" / "place.json"
    began = json.loads(place.read_text())
    seal(place, json.dumps(began | {"started": began["started"] - 10_000}).encode())  # as if somebody had slept on it
    longer = lada.run(tmp_path / "small", overrides=("rounds=2",), resume=True)
    assert outcome(longer) == whole
    assert shorter.wall_clock.seconds < longer.wall_clock.seconds < 10_000


def test_a_damaged_checkpoint_of_the_server_costs_a_round_and_is_told(finished, tmp_path):
    whole, folder, _ = finished
    shutil.copytree(folder, tmp_path / "small")
    state = tmp_path / "small" / "checkpoints" / "llm" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-1])
    results = lada.run(config(), runs=tmp_path, resume=True)
    told = [notice for notice in results.notices if "unusable" in notice]
    assert told == [
        "the newest checkpoint of llm is unusable (state.safetensors has changed since it was written); the "
        "previous one is used"
    ]
    again = outcome(results)
    again["notices"] = [notice for notice in again["notices"] if notice not in told]
    assert again == whole


def test_resuming_with_another_configuration_is_refused_by_key(short, tmp_path):
    with pytest.raises(InputError, match="--resume: seed, task of the configuration differ"):
        lada.run(config(seed=1), runs=tmp_path, overrides=("task.public=14",), resume=True)


def test_limits_stay_what_they_were_when_replies_were_admitted(short):
    with pytest.raises(InputError, match="--resume: limits of the configuration differ"):
        lada.run(short, overrides=("limits.path_chars=10",), resume=True)


def test_other_data_than_a_run_was_begun_with_is_refused_by_name(tmp_path):
    rows = {"train": [f"a{i}" for i in range(6)], "public": ["b1", "b2"], "test": ["c1"], "replay": ["d1"]}
    for name, questions in rows.items():
        lines = [json.dumps({"question": question, "answer": "12", "client": "law"}) for question in questions]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    shutil.copytree(locate("zoo:slm-llama"), tmp_path / "model")
    small = config(rounds=0)
    small["task"] = {"kind": "files", **{name: f"{name}.jsonl" for name in rows}, "partition": {"by": "given"}}
    small["clients"] = [{**small["clients"][0], "name": "law", "domains": []}]
    small["clients"][0]["model"]["model"] = str(tmp_path / "model")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(small))
    lada.run(tmp_path / "run.yaml", runs=tmp_path)
    for name in rows:
        file = tmp_path / f"{name}.jsonl"
        before = file.read_text()
        file.write_text(before.replace('"12"', '"13"'))
        what = {"train": "private samples of law", "replay": "replayed samples"}.get(name, f"{name} samples")
        with pytest.raises(InputError, match=f"--resume: {what}: they are not those that .* began with; restore them"):
            lada.run(tmp_path / "run.yaml", runs=tmp_path, resume=True)
        file.write_text(before)
    (tmp_path / "model" / "more").write_text("")
    with pytest.raises(InputError, match="--resume: model of law: they are not those"):
        lada.run(tmp_path / "run.yaml", runs=tmp_path, resume=True)


def test_files_beside_a_run_that_are_damaged_are_left_out_or_refused_in_a_line(evaluated, short):
    whole, folder = evaluated[0], short
    paths = folder / "clients" / "clinic" / "test-paths-0.arrow"
    paths.write_bytes(paths.read_bytes()[:-1])
    (folder / "ledger.parquet").write_bytes(b"")
    (folder / "results.json").write_bytes(b"")
    results = lada.run(folder, resume=True)
    lost, left_out = results.notices[len(whole.notices) :]
    assert lost.startswith("the ledger lost rows (ledger.parquet cannot be read (")
    assert left_out.startswith("clients/clinic/test-paths-0.arrow is left out (")
    assert [e.overall for e in results.evaluations] == [e.overall for e in whole.evaluations]
    config_file = folder / "config.yaml"
    config_file.write_text(config_file.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(InputError, match=r"config\.yaml' has changed since it was written; restore it from a copy"):
        lada.run(folder, resume=True)


def test_a_run_that_was_killed_as_it_was_made_begins_in_its_folder(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.yaml.next").write_text("na")
    lada.run(config(), runs=tmp_path, overrides=("rounds=0",), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not the folder of a run that can be resumed"):
        lada.run(tmp_path, resume=True)


def test_two_processes_cannot_hold_one_run(short, tmp_path):
    with run_lock(short), pytest.raises(InputError, match="under way in another process"):
        lada.run(config(), runs=tmp_path, overrides=("rounds=0",), resume=True)
    assert not (short / ".lock").exists()


def test_thirty_percent_silent_in_each_round_and_the_record_names_them(tmp_path, monkeypatch):
    """Ten clients, of which other three fail each round."""
    small = config(quorum=0.7, host="standalone", plugin="none", workers=0)
    small["clients"] = [{**small["clients"][i % 2], "name": f"c{i}", "domains": []} for i in range(10)]
    small["task"] |= {"public": 6, "test_per_domain": 1}
    for client in small["clients"]:
        client["model"]["max_new_tokens"] = 4
    reply = Standalone.reply

    def some_fail(self, phase, party, round, payload):
        if party.name in [f"c{(3 * round + i) % 10}" for i in range(3)] and phase != "finish":
            raise RuntimeError("no power")
        return reply(self, phase, party, round, payload)

    monkeypatch.setattr(Standalone, "reply", some_fail)
    monkeypatch.setattr(party_cache, "MOST", 11)  # all of them, since loading a model takes longer than its work
    results = lada.run(small, runs=tmp_path)
    assert [(gone.party, gone.round) for gone in results.missing] == [
        (f"c{i}", round) for round in (0, 1, 2) for i in sorted((3 * round + k) % 10 for k in range(3))
    ]
    assert all(gone.why.startswith("failed (reference ") for gone in results.missing)
    assert {party.name for party in results.parties} == {"llm", *(f"c{i}" for i in range(10))}
    read = Results.model_validate_json((tmp_path / "small" / "results.json").read_text())
    assert read.model_dump() == results.model_dump()


def children(pid: int) -> list[int]:
    """Return the processes that descend from one."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in found] + [grandchild for child in found for grandchild in children(int(child))]


PLUGGED = Path(__file__).parent / "objectives" / "plugged.py"
REMEMBERS = ["moving_blend", {"name": "two_depths", "weight": 0.5}]
"""A weighted sum of objectives of a plug-in: one goes by what its batches were like, one trains weights of its own."""


def kill_and_resume(seed: int, folder: Path, kills: int, **changes) -> dict:
    """Start a run of two workers, kill -9 one of its processes again and again, resume until it is through."""
    rng = random.Random(seed)
    (folder / "run.yaml").write_text(yaml.safe_dump(config(workers=2) | changes), encoding="utf-8")
    command = [sys.executable, "-m", "lada", "run", str(folder / "run.yaml"), "--runs", str(folder), "--resume"]
    env = {**os.environ, "PYTHONPATH": str(Path(lada.__file__).parents[1]), "LADA_PLUGINS": str(PLUGGED)}
    while True:
        with (folder / "out.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
        if kills:
            time.sleep(rng.uniform(3, 12))
            victim = rng.choice([process.pid, *children(process.pid)])
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
            else:
                kills -= 1
        if process.wait(timeout=200) == 0:
            break
        assert process.returncode == -signal.SIGKILL, (folder / "out.log").read_text()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["small"]
    return outcome(Results.model_validate_json((folder / "small" / "results.json").read_text()))


@pytest.mark.slow  # test_stopping kills one process at one moment
@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_of_any_process_at_any_moment_leads_to_the_same_bits(whole, tmp_path, seed):
    assert kill_and_resume(seed, tmp_path, kills=2 if seed else 1) == whole  # each start costs seconds
    assert json.loads((tmp_path / "small" / "place.json").read_bytes())["base"] == str(tmp_path.resolve())


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
@pytest.mark.slow
def test_kill_9_with_an_objective_that_remembers_leads_to_the_same_bits(tmp_path):
    runs = []
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        changes = {"objective": REMEMBERS, "allocator": {"name": "all"}}
        runs.append(kill_and_resume(seed, tmp_path / str(seed), kills=2 if seed else 0, **changes))
    assert all(run == runs[0] for run in runs)


def remembered(folder: Path) -> dict:
    """Return what each party's checkpoint has of its objective: arrays by name, and steps."""
    found = {}
    for place in sorted((folder / "checkpoints").glob("[!.]*")):
        arrays = bytes_to_arrays((place / "state.safetensors").read_bytes())
        its = {name: array.tobytes() for name, array in arrays.items() if name.startswith("objective/")}
        found[place.name] = its, json.loads((place / "steps.json").read_bytes())
    return found


@pytest.mark.slow
def test_what_an_objective_remembers_is_journalled_with_its_study(tmp_path, monkeypatch):
    """The run is broken off right behind a study by it: the first client's of round 1, and the server's of round 2."""
    OBJECTIVES.names()
    monkeypatch.setattr(OBJECTIVES, "_methods", dict(OBJECTIVES._methods))
    exec(compile(PLUGGED.read_text(encoding="utf-8"), str(PLUGGED), "exec"), {"__name__": "plugged"})
    told = config(objective=REMEMBERS) | {"allocator": {"name": "all"}}
    whole = lada.run(told, runs=tmp_path / "whole")
    kept = remembered(tmp_path / "whole" / "small")
    for name, (arrays, steps) in kept.items():
        assert {key.partition("|")[2] for key in arrays} == {"0.blend", "0.moved", "1.probe"}
        assert steps[f"objective/weighted/{name}"] == 2  # one a round
    assert sum(study.phase == "distil" for study in whole.studies) == 6
    for broken in (("clinic", 1), ("llm", 2)):
        party_cache.forget()

        def crashing(party, round, phase, report, broken=broken):
            if (party, round, phase) == (*broken, "distil"):
                raise Crash
            check_study(party, round, phase, report)

        runs = tmp_path / broken[0]
        with monkeypatch.context() as patch:
            patch.setattr("lada.rounds.steps.check_study", crashing)
            with pytest.raises(Crash):
                lada.run(told, runs=runs)
        party_cache.forget()
        assert outcome(lada.run(told, runs=runs, resume=True)) == outcome(whole)
        assert remembered(runs / "small") == kept
