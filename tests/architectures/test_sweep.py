"""What docs/architectures.md says about every type of causal LM is true."""

import json
from typing import Any

import pytest
import sweep
import tiny_types

FIGURES: dict[str, Any] = json.loads((sweep.OUT / "figures.json").read_text(encoding="utf-8"))
ROWS: dict[str, sweep.Row] = FIGURES["types"]
same_versions = pytest.mark.skipif(
    FIGURES["versions"] != sweep.versions(), reason="the table is of other versions; run tests/architectures/sweep.py"
)


def test_the_page_has_the_table_of_the_figures() -> None:
    page = sweep.PAGE.read_text(encoding="utf-8")
    assert page == sweep.with_table(page, ROWS)


@same_versions
def test_every_type_has_its_row() -> None:
    assert sorted(ROWS) == sorted(tiny_types.TYPES)


def test_no_plan_ends_in_an_error() -> None:
    said = {row["plan"].partition(" ")[0] for row in ROWS.values() if "plan" in row}
    assert said <= {"LoRA", "memory", "refused:"}


FAULTS = {
    "reformer",  # hashes at random, and trains in whole chunks alone
    "dots3_note_text",  # chooses the tokens to look at, and breaks ties by the width of a batch
    "youtu",  # transformers sets its embedding of padding to 0 when it loads it, which is refused
    "laguna",  # peft does not find the adapters of its shared experts again, which is refused
}
"""Types that load and then do not do everything; the page has what is wrong."""


def test_what_loads_answers_in_batches_as_alone_and_learns() -> None:
    loaded = {kind: row for kind, row in ROWS.items() if row.get("loads") == "yes" and kind not in FAULTS}
    assert len(loaded) > 0.9 * len(ROWS)
    assert {kind: row for kind, row in loaded.items() if {row["same"], row["full"], row["lora"]} != {"yes"}} == {}


@pytest.mark.slow
@same_versions
@pytest.mark.parametrize("kind", sorted(ROWS))
def test_a_type_does_what_its_row_says(kind: str) -> None:
    assert sweep.try_type(kind) == ROWS[kind]
