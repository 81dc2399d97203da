"""Grids as text: what is written is read again, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lada.core.errors import InputError
from lada.core.grids import MOST, read_grids, write_grids

GRIDS = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8),
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 35)),
    min_size=1,
    max_size=3,
)


def test_a_cell_is_a_character_and_a_row_a_line():
    grids = {"scan": np.array([[0, 9, 10], [16, 35, 1]]), "signal": np.array([[5]])}
    assert write_grids(grids) == "scan 2x3\n09a\ngz1\nsignal 1x1\n5"


@given(GRIDS)
def test_what_is_written_is_read_again(grids: dict[str, np.ndarray]):
    found = read_grids(write_grids(grids))
    assert list(found) == list(grids)
    for name, grid in grids.items():
        assert found[name].dtype == np.uint8
        assert found[name].tolist() == grid.tolist()


@given(st.text())
def test_any_text_is_read_or_refused(text: str):
    try:
        grids = read_grids(text)
    except InputError:
        return
    assert read_grids(write_grids(grids)).keys() == grids.keys()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a box holds 3 .", "line 1 names no grid; expected grids, such as `scan 8x8`"),
        ("", "line 1 names no grid"),
        ("scan 0x3", "line 1 names no grid"),
        ("scan 2x3\n000", "grid 'scan' has 1 of 2 rows"),
        ("scan 1x3\n00", "line 2 is no row of 3 levels"),
        ("scan 1x3\n0A0", "line 2 is no row of 3 levels"),
        ("scan 1x1\n0\nmore", "line 3 names no grid"),
        ("scan 1x1\n0\nscan 1x1\n0", "line 3 names 'scan' again"),
        (f"scan {MOST + 1}x1", f"more than {MOST} cells"),
        ("scan 99999x99999", f"more than {MOST} cells"),
    ],
)
def test_other_texts_are_refused_without_a_word_of_theirs(text: str, told: str):
    with pytest.raises(InputError, match=told):
        read_grids(text)


def test_the_error_says_nothing_of_a_private_line():
    with pytest.raises(InputError) as caught:
        read_grids("scan 1x6\nsecret\npatient Miller")
    assert "Miller" not in str(caught.value)


@pytest.mark.parametrize("grid", [np.array([[36]]), np.array([[-1]]), np.array([[0.5]]), np.array([1])])
def test_only_levels_are_written(grid: np.ndarray):
    with pytest.raises(ValueError, match=r"expected integers 0\.\.35"):
        write_grids({"scan": grid})


def test_a_name_is_made_of_small_letters():
    with pytest.raises(ValueError, match="expected a name of small letters"):
        write_grids({"Scan 1": np.array([[0]])})
