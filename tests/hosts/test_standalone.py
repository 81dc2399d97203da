from pathlib import Path as FilePath

import pytest
from actors import CANARY, DISTIL, PRIVATE, Federation, federation

KNOWS = {"llm": {0, 1}, "a": {2}, "b": set()}


@pytest.fixture
def alone(tmp_path: FilePath) -> Federation:
    return federation(tmp_path, "standalone", KNOWS)


def test_clients_study_their_private_data_as_many_steps_as_with_lessons(alone: Federation):
    alone.run(0)
    assert not alone.studies("a")
    alone.run(1, 2)
    for name in ("a", "b"):
        studies = alone.studies(name)
        assert [study.options for study in studies] == [PRIVATE, DISTIL, PRIVATE, DISTIL]
        assert len({study.seed for study in studies}) == 4
        for study in studies:
            assert set(study.texts()) == {f"{name}-{i}" for i in range(4)}
            assert study.texts()[f"{name}-1"] == (f"by rule answer {CANARY}1", None)
            assert not study.objective.needs.rejected
    assert not alone.studies("llm")


def test_everybody_is_evaluated_at_first_and_the_clients_after_every_round(alone: Federation):
    alone.run(0, 1, 2)
    report = alone.server.report
    assert sorted((evaluation.round, evaluation.party) for evaluation in report.evaluations) == [
        (0, "a"),
        (0, "b"),
        (0, "llm"),
        (1, "a"),
        (1, "b"),
        (2, "a"),
        (2, "b"),
    ]
    assert [(study.party, study.round, study.phase, study.steps) for study in report.studies[:2]] == [
        ("a", 1, "private", 3),
        ("a", 1, "private-more", 5),
    ]
    assert report.allocations == ()


def test_nothing_but_numbers_crosses(alone: Federation):
    alone.run(0, 1)
    messages = alone.exchange.sent
    assert {message.phase for message in messages} == {"evaluate", "study"}
    assert all(message.payload == {} for message in messages if message.sender == "llm")
    assert all(set(message.payload) == {"metrics", "times"} for message in messages if message.receiver == "llm")
    assert not any(CANARY.encode() in data for message in messages for data in message.payload.values())
