"""Time warping over token bytes, against a plain double loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lada.alignment.mined as mined
from lada.alignment.mined import align_mined
from lada.core.errors import InputError

TEXTS = st.lists(st.text("abé ", min_size=1, max_size=4).map(str.encode), max_size=7)


def slow_distance(a: bytes, b: bytes) -> int:
    if not a or not b:
        return len(a) + len(b)
    change = slow_distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(change, slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1)


def slow_spans(source: list[bytes], target: list[bytes]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    if not source or not target:
        return []
    memory: dict[tuple[bytes, bytes], int] = {}
    cost = {(-1, -1): 0}
    for i, a in enumerate(source):
        for j, b in enumerate(target):
            if (a, b) not in memory:
                memory[a, b] = slow_distance(a, b)
            ways = [cost.get(cell, 10**9) for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1))]
            cost[i, j] = memory[a, b] + min(ways)
    i, j = len(source) - 1, len(target) - 1
    end, spans = (i + 1, j + 1), []
    while i >= 0:
        ways = [cost.get(cell, 10**9) for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1))]
        move = ways.index(min(ways))  # the first of several: diagonal, then up, then left
        if move == 0:
            spans.append(((i, end[0]), (j, end[1])))
            end = (i, j)
        i, j = i - (move != 2), j - (move != 1)
    return spans[::-1]


def listed(spans) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
    assert spans.row.dtype == spans.source.dtype == spans.target.dtype == np.int32
    return [
        (r, tuple(s), tuple(t))
        for r, s, t in zip(spans.row.tolist(), spans.source.tolist(), spans.target.tolist(), strict=True)
    ]


def test_by_hand():
    # " utilize" costs 5 against " ut" and 3 against "ilize"; "everyone" / " ut" would cost 8, " it" / "ilize" 4.
    spans = align_mined([[b"everyone", b" utilize", b" it"]], [[b"everyone", b" ut", b"ilize", b" it"]])
    assert listed(spans) == [(0, (0, 1), (0, 1)), (0, (1, 2), (1, 3)), (0, (2, 3), (3, 4))]
    assert spans.is_one_to_one.tolist() == [True, False, True]


def test_it_may_join_tokens_that_share_no_byte():
    # The weakness of the measure: "ize" costs 3 against " it", but 5 against " utilize", of which it is the end.
    spans = align_mined([[b"we", b" utilize", b" it"]], [[b"we", b" util", b"ize", b" it"]])
    assert listed(spans) == [(0, (0, 1), (0, 1)), (0, (1, 2), (1, 2)), (0, (2, 3), (2, 4))]


def test_ties_go_diagonal_before_up_and_left():
    # All pairs cost 1, sums 1 2 3 / 2 2 3. The end (1, 2) ties between diagonal (0, 1) and left (1, 1).
    assert listed(align_mined([[b"a", b"b"]], [[b"x", b"y", b"z"]])) == [(0, (0, 1), (0, 2)), (0, (1, 2), (2, 3))]
    # Pairs cost 4 0 / 0 4, sums 4 4 / 4 8. The end (1, 1) ties between all three.
    assert listed(align_mined([[b"a", b"bbbb"]], [[b"bbbb", b"a"]])) == [(0, (0, 1), (0, 1)), (0, (1, 2), (1, 2))]
    # Pairs cost 1 1 / 0 0 / 0 0, sums 1 2 / 1 1 / 1 1. The end (2, 1) ties between all three; (1, 0) has only up.
    assert listed(align_mined([[b"p", b"q", b"q"]], [[b"q", b"q"]])) == [(0, (0, 2), (0, 1)), (0, (2, 3), (1, 2))]


def test_ties_go_up_before_left():
    # Pairs cost 1 0 1 / 0 1 0 / 1 0 1, sums 1 1 2 / 1 2 1 / 2 1 2. The end (2, 2) has diagonal 2 and ties between up
    # and left at 1. Up leads to (1, 2), from there the diagonal to (0, 1), and left to (0, 0).
    spans = align_mined([[b"a", b"b", b"a"]], [[b"b", b"a", b"b"]])
    assert listed(spans) == [(0, (0, 1), (0, 2)), (0, (1, 3), (2, 3))]


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5), st.sampled_from([1, 40, 2**24]))
def test_equals_the_double_loop_whatever_the_batches(pairs, cells):
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(mined, "_CELLS", cells)
        spans = align_mined([a for a, _ in pairs], [b for _, b in pairs])
    assert listed(spans) == [(row, *span) for row, (a, b) in enumerate(pairs) for span in slow_spans(a, b)]


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=9))
def test_equal_tokens_are_one_to_one(tokens):
    spans = align_mined([tokens], [tokens])
    assert spans.is_one_to_one.all()
    assert spans.source.tolist() == spans.target.tolist() == [[k, k + 1] for k in range(len(tokens))]


def test_long_tokens_do_not_overflow():
    assert listed(align_mined([[b"a" * 70_000, b"b"]], [[b"a" * 70_000, b"b"]])) == [
        (0, (0, 1), (0, 1)),
        (0, (1, 2), (1, 2)),
    ]


def test_texts_without_tokens_have_no_spans():
    assert listed(align_mined([], [])) == []
    assert listed(align_mined([[], [b"a"], [b"b"]], [[b"a"], [], [b"b"]])) == [(2, (0, 1), (0, 1))]


def test_refuses_another_number_of_texts():
    with pytest.raises(InputError, match="2 source texts, but 1 target text"):
        align_mined([[b"a"], [b"b"]], [[b"a"]])
