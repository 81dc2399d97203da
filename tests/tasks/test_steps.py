"""Where two paths part and where one first goes wrong, on texts that can be read by eye."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.tasks.steps import steps_of, where_it_goes_wrong, where_they_part

GOOD = "a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5"


def test_steps_are_sentences_and_lines_with_their_places():
    assert steps_of("It is 3.5 kg.\n\nSo? Yes!  4") == [
        (0, "It is 3.5 kg.\n\n"),
        (15, "So? "),
        (19, "Yes!  "),
        (25, "4"),
    ]
    assert steps_of("\n\n  \na") == [(5, "a")]
    assert steps_of("") == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a 1 . b 2 . c", "a 1 . b 3 . c", (6, 6)),
        ("a 1 .  b 2 . c", "a 1 .\nb 3 . c", (7, 6)),  # white space does not count
        ("a 1 . b 2 .", "a 1 .", (6, 5)),  # the shorter one parts at its end
        ("b", "a 1 . b", (0, 0)),
        ("a .", "a .", (3, 3)),
        ("a", "", (0, 0)),
    ],
)
def test_paths_part_at_the_first_step_that_differs(one: str, other: str, expected: tuple[int, int]):
    assert where_they_part(one, other) == expected
    assert where_they_part(other, one) == expected[::-1]


@given(*[st.text(st.sampled_from("ab .\n"), max_size=20)] * 3)
def test_a_beginning_of_whole_steps_never_counts(shared: str, one: str, other: str):
    first, second = where_they_part(f"{shared}\n{one}", f"{shared}\n{other}")
    assert min(first, second) >= len(shared.rstrip())


@pytest.mark.parametrize(
    ("checked", "place"),
    [
        ([("a) pallet : 7 + 4 = 11 .", True), ("b) spoil 6 : 11 - 6 = 5 .", True)], None),
        ([("a) pallet : 7 + 4 = 11 .", True), ("b) spoil 6 : 11 - 6 = 5 .", False)], 25),
        ([("b) spoil 6 : 11 - 6 = 5 .", False), ("a) pallet : 7 + 4 = 11 .", False)], 0),
        ([("", False), ("b) spoil 6 : 11 - 6 = 5 .", False)], None),  # one is missing: nobody knows where
        ([("", True), ("b) spoil 6 : 11 - 6 = 5 .", False)], 25),
        ([("not there", False)], None),
        ([], None),
    ],
)
def test_a_path_goes_wrong_at_its_first_wrong_step(checked: list[tuple[str, bool]], place: int | None):
    assert where_it_goes_wrong(GOOD, checked) == place


def test_a_step_that_is_repeated_is_wrong_where_it_is_repeated():
    assert where_it_goes_wrong("x . y . x .", [("x .", True), ("y .", True), ("x .", False)]) == 8
