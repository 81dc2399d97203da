import json
import math

import pytest
from pydantic import ValidationError

from lada.core.results import (
    SCHEMA_VERSION,
    AllocationRecord,
    Environment,
    Evaluation,
    Interval,
    PartyInfo,
    PhaseTime,
    Results,
    Shown,
    StudyRecord,
    Traffic,
    WallClock,
)

HALF = Interval(value=50.0, low=12.3457, high=87.6543, count=4)


def evaluation(party: str, round: int) -> Evaluation:
    return Evaluation(
        party=party,
        round=round,
        overall=HALF,
        own=HALF,
        other=None,
        general=None,
        domains={"clinic": HALF},
        difficulty={"2": HALF, "10": HALF},
        step_validity=0.1 + 0.2,
        calibration_error=None,
        agreement=100.0,
    )


def study(last_loss: float) -> StudyRecord:
    return StudyRecord(
        party="c1",
        round=1,
        phase="distil",
        steps=2,
        lessons=3,
        pairs=1,
        replayed=0,
        tokens=40,
        first_loss=1.5,
        last_loss=last_loss,
    )


def results(last_loss: float = 0.5) -> Results:
    return Results(
        name="first run",
        config={"seed": 0, "plugin": None, "clients": [{"name": "c1", "domains": ["clinic"]}], "rate": 0.1},
        environment=Environment(lada="0.1.0", git=None, python="3.11.9", packages={"torch": "2.8"}, device="cpu"),
        parties=(
            PartyInfo(
                name="c1",
                role="client",
                model="zoo:ant",
                architecture="llama",
                parameters=10,
                domains=("clinic", "küche"),
                private_samples=7,
                weights="ab" * 32,
            ),
        ),
        evaluations=(evaluation("c1", 0), evaluation("c1", 1), evaluation("server", 1)),
        studies=(study(last_loss),),
        allocations=(
            AllocationRecord(
                teacher="server",
                student="c1",
                round=1,
                candidates=9,
                chosen=4,
                from_teacher=3,
                right=None,
                agreement=50.0,
                diagnostics={"auc": 0.75},
            ),
        ),
        traffic=(Traffic(round=1, sender="server", receiver="c1", kind="paths", messages=1, bytes=512),),
        shown=(
            Shown(
                sample_id="s1",
                question="?",
                answer="7",
                domain="clinic",
                difficulty=None,
                party="c1",
                before=[("a) …", None)],
                teacher=[],
                after=[("a) …", True), ("b) …", False)],
                before_right=False,
                teacher_right=True,
                after_right=True,
            ),
        ),
        notices=("one", "two"),
        wall_clock=WallClock(
            started="2025-01-01T00:00:00Z",
            seconds=1.25,
            phases=(PhaseTime(party="c1", round=1, phase="distil", start=0.5, seconds=0.75),),
        ),
    )


@pytest.mark.parametrize("indent", [None, 2])
def test_json_gives_the_same_results_back(indent):
    text = results().model_dump_json(indent=indent)
    assert Results.model_validate_json(text) == results()
    assert Results.model_validate_json(text).model_dump_json(indent=indent) == text


def test_plain_json_reads_too():
    assert Results.model_validate(json.loads(results().model_dump_json())) == results()


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_diverged_loss_survives_json(loss):
    text = results(loss).model_dump_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert repr(Results.model_validate_json(text).studies[0].last_loss) == repr(loss)


def test_the_schema_version_is_written():
    assert json.loads(results().model_dump_json())["schema_version"] == SCHEMA_VERSION == 1


def test_of_finds_how_a_party_stood_after_a_round():
    run = results()
    assert run.of("c1", 1) is run.evaluations[1]
    assert run.of("server", 1) is run.evaluations[2]
    assert run.of("c1", 2) is run.evaluations[1]  # unchanged since, so not evaluated anew
    for missing in (("server", 0), ("c2", 1)):
        with pytest.raises(KeyError):
            run.of(*missing)


def test_an_unknown_or_a_missing_key_is_refused():
    row = json.loads(results().model_dump_json())
    with pytest.raises(ValidationError, match="surprise"):
        Results.model_validate({**row, "surprise": 1})
    del row["notices"]
    with pytest.raises(ValidationError, match="notices"):
        Results.model_validate(row)


def test_records_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        HALF.value = 1.0
