import json
import shutil
from collections import Counter

import pytest
from tiny_run import tiny

import lada
from lada.core.results import PartyReport
from lada.federation import checkpoints, outcome, party_cache
from lada.federation.rounds_noted import RoundsNoted


def noticed(*texts):
    return PartyReport(notices=texts)


def test_each_round_is_written_once_and_read_in_order(tmp_path):
    rounds = RoundsNoted(tmp_path)
    rounds.write(0, noticed("a", "b"))
    first = (tmp_path / "0.json").stat().st_mtime_ns
    digests = rounds.write(1, noticed("c"))
    assert (tmp_path / "0.json").stat().st_mtime_ns == first
    noted, lost = RoundsNoted(tmp_path, digests).read()
    assert (noted.report().notices, lost) == (("a", "b", "c"), ())
    assert noted.fresh() == PartyReport()  # nothing of it is written again


def test_what_a_checkpoint_does_not_speak_of_counts_for_nothing(tmp_path):
    rounds = RoundsNoted(tmp_path)
    digests = rounds.write(0, noticed("a"))
    rounds.write(1, noticed("broken off"))
    assert RoundsNoted(tmp_path, digests).read()[0].report().notices == ("a",)


def test_what_is_lost_is_told_and_the_rest_is_there(tmp_path):
    rounds = RoundsNoted(tmp_path)
    digests = b""
    for number, text in enumerate("abc"):
        digests = rounds.write(number, noticed(text))
    (tmp_path / "0.json").unlink()
    (tmp_path / "1.json").write_bytes(b"{}")
    noted, lost = RoundsNoted(tmp_path, digests).read()
    assert noted.report().notices == ("c",)
    assert [text.partition(": ")[0] for text in lost] == [
        "what the server noted in round 0 is left out",
        "what the server noted in round 1 is left out",
    ]
    assert [("gone" in text, "has changed since it was written" in text) for text in lost] == [
        (True, False),
        (False, True),
    ]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of one round, and the folder that it is in."""
    runs = tmp_path_factory.mktemp("short")
    return lada.run(tiny(rounds=1), runs=runs), runs


def test_a_run_with_a_damaged_round_goes_on_and_says_so(short, tmp_path):
    whole, runs = short
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tiny" / "noted" / "0.json"
    file.write_bytes(file.read_bytes()[:-1])
    party_cache.forget()
    results = lada.run(tmp_path / "tiny", resume=True)
    assert results.evaluations == tuple(e for e in whole.evaluations if e.round == 1)
    assert any(text.startswith("what the server noted in round 0 is left out") for text in results.notices)


def test_a_checkpoint_of_an_earlier_version_holds_all_itself(short, tmp_path):
    whole = lada.run(tiny(rounds=2), runs=tmp_path / "whole")
    shutil.copytree(short[1], tmp_path / "old")
    folder = tmp_path / "old" / "tiny"
    kept = folder / "checkpoints" / "llm"
    there = {str(p.relative_to(kept)): p.read_bytes() for p in kept.rglob("*") if p.is_file()}
    del there["manifest.json"]
    noted, _ = RoundsNoted(folder / "noted", there.pop("noted.json")).read()
    there["report.json"] = noted.report().model_dump_json().encode()
    checkpoints.save(kept, checkpoints.files(there))
    for file in (folder / "noted").iterdir():
        file.unlink()
    party_cache.forget()
    longer = lada.run({**tiny(rounds=2)}, runs=tmp_path / "old", resume=True)
    assert longer.evaluations == whole.evaluations
    assert longer.studies == whole.studies
    assert json.loads((kept / "noted.json").read_bytes()).keys() == {"2"}


def test_what_a_round_left_is_not_read_again_after_the_next(tmp_path, monkeypatch):
    """Of rounds that the report does not show, answers are read once, for agreement; results as rounds have doubled."""
    read, unseal = Counter(), outcome.unseal
    wrote, seal = Counter(), outcome.seal

    def reading(file):
        read[f"{file.parent.name}/{file.name}"] += 1
        return unseal(file)

    monkeypatch.setattr(outcome, "unseal", reading)
    monkeypatch.setattr(outcome, "seal", lambda file, data: wrote.update([file.name]) or seal(file, data))
    results = lada.run(tiny(rounds=6, host={"name": "fedmkt", "options": {"directions": "llm_to_slm"}}), runs=tmp_path)
    names = ["warehouse", "clinic"]
    assert {read[f"{name}/test-paths-{round}.arrow"] for name in names for round in range(1, 6)} == {1}
    assert all(e.agreement is not None for e in results.evaluations if e.party in names)
    assert wrote["results.json"] == 4 + 2  # after rounds 0, 1, 2 and 4; before and after the trackers have finished
