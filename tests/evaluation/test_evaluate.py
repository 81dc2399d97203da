import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.core.results import Evaluation, Interval
from lada.core.seeds import seed_of
from lada.core.terms import Likelihood, Path, Sample
from lada.evaluation.evaluate import evaluate
from lada.evaluation.statistics import bootstrap_interval

# domain, difficulty, right, confidence, steps (1 right, 0 wrong)
ROWS = [
    ("clinic", 1, True, 0.75, "1"),
    ("clinic", 2, False, 0.5, "10"),
    ("bank", 2, True, 0.75, "11"),
    ("bank", 10, False, 0.25, "000"),
    ("farm", None, False, 1.0, ""),
    ("general", 1, True, 1.0, "1111"),
    ("general", 3, False, 1.0, "0"),
]


def sample(i: int, row: tuple) -> Sample:
    return Sample(f"s{i}", "?", "7", domain=row[0], difficulty=row[1])


def path(i: int, row: tuple) -> Path:
    # Two tokens, so that the mean log-prob is half the total.
    total = 2 * math.log(row[3]) if row[3] else -math.inf
    return Path(f"s{i}", "c1", row[4], "7", row[2], Likelihood(total, total, 2, 4))


def steps(sample: Sample, text: str) -> list[tuple[str, bool]]:
    return [(letter, letter == "1") for letter in text]


def run(rows=ROWS, **changes: Any) -> Evaluation:
    arguments: dict[str, Any] = {
        "own": frozenset({"clinic"}),
        "other": frozenset({"bank", "farm"}),
        "general": frozenset({"general"}),
        "steps": steps,
        "agreement": 12.5,
        "seed": 0,
        "samples": [sample(i, row) for i, row in enumerate(rows)],
        "paths": [path(i, row) for i, row in enumerate(rows)],
    }
    return evaluate("c1", 2, **{**arguments, **changes})


def accuracy(interval: Interval | None) -> tuple[float, int] | None:
    return interval and (interval.value, interval.count)


def test_accuracies_by_hand():
    found = run()
    assert (found.party, found.round, found.agreement) == ("c1", 2, 12.5)
    assert accuracy(found.overall) == (40, 5)  # two of the five that are not general
    assert accuracy(found.own) == (50, 2)
    assert accuracy(found.other) == (33.3333, 3)
    assert accuracy(found.general) == (50, 2)
    assert {name: accuracy(row) for name, row in found.domains.items()} == {
        "bank": (50, 2),
        "clinic": (50, 2),
        "farm": (0, 1),
        "general": (50, 2),
    }
    assert {level: accuracy(row) for level, row in found.difficulty.items()} == {
        "1": (100, 1),
        "2": (50, 2),
        "10": (0, 1),
    }


def test_what_is_new_and_what_mixes_domains_stand_apart_where_there_is_such():
    rows = [
        *ROWS,
        ("bank+clinic", 2, True, 0.5, "1"),
        ("bank+clinic", 3, True, 0.5, "1"),
        ("bank+clinic", 3, False, 0.5, "0"),
    ]
    found = run(rows, new=frozenset({"bank"}), mixed=frozenset({"bank+clinic"}))
    assert accuracy(found.new) == (50, 2)
    assert accuracy(found.mixed) == (66.6667, 3)
    assert accuracy(found.overall) == (50, 8)  # mixed ones count
    assert (accuracy(found.own), accuracy(found.other)) == ((50, 2), (33.3333, 3))
    assert not {"new", "mixed"} & run().model_dump().keys()
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_tables_are_sorted():
    found = run(list(reversed(ROWS)))
    assert list(found.domains) == ["bank", "clinic", "farm", "general"]
    assert list(found.difficulty) == ["1", "2", "10"]


def test_steps_by_hand():
    assert run().step_validity == 50  # 1 + 1 + 2 + 0 + 0 of 1 + 2 + 2 + 3 + 0 steps
    assert run(ROWS[1:4]).step_validity == 42.8571  # 3 of 7
    assert run(steps=None).step_validity is None
    assert run(ROWS[4:5]).step_validity is None


def test_calibration_by_hand():
    # 0.75 twice, both right: 2/5 * 1/4. 0.5, wrong: 1/5 * 1/2. 0.25, wrong: 1/5 * 1/4. 1, wrong: 1/5 * 1.
    assert run().calibration_error == 0.45


def test_confidence_is_cut_at_one_and_reaches_zero():
    above = Path("s0", "c1", "1", "7", True, Likelihood(1e-9, 0.0, 1, 1))
    assert run(ROWS[:1], paths=[above]).calibration_error == 0
    assert run([("clinic", 1, False, 0.0, "1")]).calibration_error == 0


def test_no_calibration_without_log_probs():
    unknown = Likelihood(math.nan, math.nan, 2, 4)
    silent = Path("s0", "c1", "1", "7", True, unknown)
    assert run(ROWS[:1], paths=[silent]).calibration_error is None


def test_intervals_are_the_bootstrap_of_their_own_address():
    found = run()
    groups = [
        (found.overall, [1, 0, 1, 0, 0], ("overall",)),
        (found.own, [1, 0], ("own",)),
        (found.other, [1, 0, 0], ("other",)),
        (found.general, [1, 0], ("general",)),
        (found.domains["bank"], [1, 0], ("domain", "bank")),
        (found.difficulty["2"], [0, 1], ("difficulty", "2")),
    ]
    for interval, right, address in groups:
        assert interval is not None
        expected = bootstrap_interval(np.array(right), seed=seed_of(0, *address))
        assert (interval.value, interval.low, interval.high) == tuple(round(100 * x, 4) for x in expected)


def test_groups_without_questions():
    found = run(ROWS[2:3], own=frozenset({"clinic"}), other=frozenset())
    assert found.own is found.other is found.general is None
    unnamed = run([("", None, True, 0.5, "1")])
    assert (unnamed.domains, unnamed.difficulty, unnamed.overall.count) == ({}, {}, 1)


def test_survives_json():
    found = run()
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    assert list(json.loads(found.model_dump_json())["difficulty"]) == ["1", "2", "10"]


@pytest.mark.parametrize("rows", [[], ROWS[5:]])
def test_refuses_to_evaluate_nothing(rows):
    with pytest.raises(InputError, match="none of them outside the general domains"):
        run(rows)


def test_refuses_paths_of_other_questions():
    paths = [path(i, row) for i, row in enumerate(ROWS)]
    with pytest.raises(ValueError, match="7 and 6 sample ids"):
        run(paths=paths[:-1])
    with pytest.raises(ValueError, match="position 0: 's0' and 's1'"):
        run(paths=[paths[1], paths[0], *paths[2:]])


def test_refuses_paths_without_a_verdict():
    with pytest.raises(ValueError, match="'s0'"):
        run([("clinic", 1, None, 0.5, "1")])


ROW = st.tuples(
    st.sampled_from(["clinic", "bank", "farm", "general", ""]),
    st.none() | st.integers(1, 12),
    st.booleans(),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.text("01", max_size=3),
)


@given(st.lists(ROW, max_size=12), st.randoms(use_true_random=False), st.integers(0, 2**62))
@settings(max_examples=25, deadline=None)
def test_order_does_not_matter_and_everything_is_in_range(rows, random, seed):
    rows = [("farm", 1, True, 0.5, "1"), *rows]
    found = run(rows, seed=seed)
    assert run(random.sample(rows, len(rows)), seed=seed) == found
    table = [found.overall, found.own, found.other, found.general, *found.domains.values(), *found.difficulty.values()]
    for interval in filter(None, table):
        assert 0 <= interval.low <= interval.value <= interval.high <= 100
    assert found.overall.count == sum(row[0] != "general" for row in rows)
    assert sum(row.count for row in found.domains.values()) == sum(row[0] != "" for row in rows)
    assert found.calibration_error is not None
    assert 0 <= found.calibration_error <= 1


def test_cut_answers_are_counted_and_said_only_where_there_are_some():
    paths = [replace(path(i, row), cut=i in (0, 3)) for i, row in enumerate(ROWS)]
    assert run(paths=paths).cut == 2
    assert run(paths=paths).model_dump(mode="json")["cut"] == 2
    assert "cut" not in run().model_dump(mode="json")
