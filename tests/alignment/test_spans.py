"""Spans of made-up offsets and of real tokenizers, by hand and against a slow and plain reference."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizers import MAKERS, TEXTS, traced

import lada.alignment.spans as spans_module
from lada.alignment.spans import Spans, align_spans
from lada.core.errors import InputError

Pairs = list[tuple[int, int]]


def slow_boundaries(tokens: Pairs) -> list[tuple[int, int, int, int]]:
    """Low, high, one past the token that ends there, the token that begins there."""
    real = [p for p, (start, end) in enumerate(tokens) if end > start]
    if not real:
        return []
    found, furthest = [(0, tokens[real[0]][0], -1, real[0])], 0
    for this, following in itertools.pairwise(real):
        furthest = max(furthest, tokens[this][1])
        if furthest <= tokens[following][0]:
            found.append((furthest, tokens[following][0], this + 1, following))
    furthest = max(furthest, tokens[real[-1]][1])
    return [*found, (furthest, furthest, real[-1] + 1, -1)]


def slow_spans(source: Pairs, target: Pairs) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    left, right = slow_boundaries(source), slow_boundaries(target)

    def first(one, others):
        return next((k for k, other in enumerate(others) if other[0] <= one[1] and one[0] <= other[1]), None)

    shared = []
    for i, one in enumerate(left):
        j = first(one, right)
        if j is not None and first(right[j], left) == i:
            shared.append((i, j))
    return [((left[i][3], left[k][2]), (right[j][3], right[m][2])) for (i, j), (k, m) in itertools.pairwise(shared)]


def array(tokens: Pairs) -> np.ndarray:
    return np.array(tokens, dtype=np.int32).reshape(-1, 2)


def listed(spans: Spans) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
    assert spans.row.dtype == spans.source.dtype == spans.target.dtype == np.int32
    assert len(spans) == len(spans.row) == len(spans.source) == len(spans.target)
    return [
        (r, tuple(s), tuple(t))
        for r, s, t in zip(spans.row.tolist(), spans.source.tolist(), spans.target.tolist(), strict=True)
    ]


def one(source: Pairs, target: Pairs) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [span[1:] for span in listed(align_spans(array(source), array(target)))]


@st.composite
def tokenizations(draw) -> Pairs:
    """Offsets with gaps, overlaps, shared ones and tokens without width."""
    tokens, start, end = [], 0, 0
    for step, width in draw(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3)), max_size=9)):
        if width:
            start = max(start, end + step)
            end = start + width
        tokens.append((start, end) if width else draw(st.sampled_from([(0, 0), (end, end)])))
    return tokens


def test_merges_and_splits_by_hand():
    # "we utilize it": [we][ util][ize][ it] against [we][ utilize][ i][t].
    assert one([(0, 2), (2, 7), (7, 10), (10, 13)], [(0, 2), (2, 10), (10, 12), (12, 13)]) == [
        ((0, 1), (0, 1)),
        ((1, 3), (1, 2)),
        ((3, 4), (2, 4)),
    ]
    # "abcd": [ab][cd] against [a][bc][d] share only the ends.
    assert one([(0, 2), (2, 4)], [(0, 1), (1, 3), (3, 4)]) == [((0, 2), (0, 3))]


def test_dropped_white_space_goes_with_what_follows():
    # "a  b" as [a][b] against [a][ ][ b]: the gap 1..4 of the first touches both boundaries of the second.
    assert one([(0, 1), (3, 4)], [(0, 1), (1, 2), (2, 4)]) == [((0, 1), (0, 1)), ((1, 2), (1, 3))]
    # A leading-space marker against dropped space: "a b" as [a][b] against [a][ b] and against [a ][b].
    assert one([(0, 1), (2, 3)], [(0, 1), (1, 3)]) == [((0, 1), (0, 1)), ((1, 2), (1, 2))]
    assert one([(0, 1), (2, 3)], [(0, 2), (2, 3)]) == [((0, 1), (0, 1)), ((1, 2), (1, 2))]
    # White space in front of the text: "  a" as [a] against [ ][ a].
    assert one([(2, 3)], [(0, 1), (1, 3)]) == [((0, 1), (0, 2))]


def test_each_boundary_is_shared_once_with_the_first_it_touches():
    # Gaps 1..3 of the source and 2..5 of the target touch; so do 2..5 and the source's boundary 4, which stays alone.
    assert one([(0, 1), (3, 4), (4, 7)], [(0, 2), (5, 7)]) == [((0, 1), (0, 1)), ((1, 3), (1, 2))]
    assert one([(0, 2), (5, 7)], [(0, 1), (3, 4), (4, 7)]) == [((0, 1), (0, 1)), ((1, 2), (1, 3))]
    # The source's boundary 4..6 first touches 2..5, which is shared with 1..3: it does not take 6 instead, which would
    # join the source's [3, 4] with the target's [5, 6].
    assert one([(0, 1), (3, 4), (6, 7)], [(0, 2), (5, 6), (6, 7)]) == [((0, 1), (0, 1)), ((1, 3), (1, 3))]


def test_pieces_of_one_character_are_one_unit():
    # Two bytes of a character share its offsets, or overlap; the other side has it whole.
    assert one([(0, 1), (1, 4), (1, 4), (4, 5)], [(0, 1), (1, 4), (4, 5)]) == [
        ((0, 1), (0, 1)),
        ((1, 3), (1, 2)),
        ((3, 4), (2, 3)),
    ]
    # The token inside the longer one ends earlier, so its end is no boundary.
    assert one([(0, 4), (1, 2), (4, 5)], [(0, 2), (2, 4), (4, 5)]) == [((0, 2), (0, 2)), ((2, 3), (2, 3))]


def test_tokens_without_width_have_no_span_but_may_lie_inside_one():
    padded = [(0, 0), (0, 0), (0, 1), (0, 0), (1, 2), (2, 4), (4, 4)]
    assert one(padded, [(0, 2), (2, 4), (0, 0)]) == [((2, 5), (0, 1)), ((5, 6), (1, 2))]
    spans = align_spans(array(padded), array([(0, 2), (2, 4), (0, 0)]))
    assert spans.is_one_to_one.tolist() == [False, True]


def test_a_cut_side_ends_at_the_last_boundary_it_shares():
    whole = [(0, 2), (2, 4), (4, 6)]
    assert one(whole, [(0, 2), (2, 4)]) == [((0, 1), (0, 1)), ((1, 2), (1, 2))]
    assert one(whole, [(0, 2), (2, 3)]) == [((0, 1), (0, 1))]
    assert one([(0, 2), (2, 3)], whole) == [((0, 1), (0, 1))]
    assert one(whole, [(0, 3)]) == []
    assert one([(0, 2)], [(5, 6)]) == []


def test_the_end_of_sequence_aligns_by_itself():
    assert one([(0, 3), (3, 4)], [(0, 1), (1, 3), (3, 4)]) == [((0, 1), (0, 2)), ((1, 2), (2, 3))]
    assert one([(0, 1)], [(0, 1)]) == [((0, 1), (0, 1))]


def test_no_tokens_no_spans():
    assert one([], []) == one([], [(0, 1)]) == one([(0, 0)], [(0, 1)]) == one([(0, 1)], []) == []
    assert listed(align_spans([], [])) == []
    assert listed(align_spans(np.zeros((2, 0, 2), dtype=int), np.zeros((2, 3, 2), dtype=int))) == []


def test_one_array_a_padded_one_and_a_list_are_the_same():
    source, target = [[(0, 2), (2, 4)], [(0, 1)]], [[(0, 2), (2, 3), (3, 4)], [(0, 1)]]
    expected = [(0, (0, 1), (0, 1)), (0, (1, 2), (1, 3)), (1, (0, 1), (0, 1))]
    assert listed(align_spans([array(t) for t in source], [array(t) for t in target])) == expected
    right = np.array([[(0, 2), (2, 4), (0, 0)], [(0, 1), (0, 0), (0, 0)]])
    left = np.array([[(0, 2), (2, 3), (3, 4)], [(0, 0), (0, 0), (0, 1)]], dtype=np.uint16)
    assert listed(align_spans(right, left)) == [*expected[:2], (1, (0, 1), (2, 3))]
    assert listed(align_spans(array(source[0]), array(target[0]))) == expected[:2]


@given(st.lists(st.tuples(tokenizations(), tokenizations()), max_size=4), st.sampled_from([1, 2, 64]))
def test_equals_the_slow_reference_however_many_at_once(texts, at_once):
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(spans_module, "_TEXTS", at_once)
        spans = align_spans([array(a) for a, _ in texts], [array(b) for _, b in texts])
    assert listed(spans) == [(row, *span) for row, (a, b) in enumerate(texts) for span in slow_spans(a, b)]
    assert spans.is_one_to_one.tolist() == [s[1] - s[0] == 1 == t[1] - t[0] for _, s, t in listed(spans)]


@given(tokenizations(), tokenizations())
def test_the_sides_of_a_span_meet_and_swap(source, target):
    spans = one(source, target)
    for (a, b), (c, d) in spans:
        assert source[a][0] < max(end for _, end in target[c:d])
        assert target[c][0] < max(end for _, end in source[a:b])
    assert one(target, source) == [(t, s) for s, t in spans]


@given(tokenizations())
def test_a_tokenization_matches_itself(tokens):
    spans = one(tokens, tokens)
    assert all(s == t for s, t in spans)
    inside = [p for (a, b), _ in spans for p in range(a, b) if tokens[p][0] < tokens[p][1]]
    assert inside == [p for p, (start, end) in enumerate(tokens) if start < end]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(MAKERS, 2)))
@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
@settings(max_examples=25)
def test_spans_of_real_tokenizers_hold_the_same_bytes(one, other, texts):
    left, right = ([[(a, b) for a, b in traced(kind, text)[1]] for text in texts] for kind in (one, other))
    spans = listed(align_spans([array(t) for t in left], [array(t) for t in right]))
    assert spans == [(row, *span) for row in range(len(texts)) for span in slow_spans(left[row], right[row])]
    if {one, other} <= {"bpe", "llama", "gemma"}:  # the others drop bytes; without that, spans tile the text
        for row, (a, b), (c, d) in spans:
            assert left[row][a][0] == right[row][c][0]
            assert max(end for _, end in left[row][a:b]) == max(end for _, end in right[row][c:d])
        ranges = [(row, s) for row, s, _ in spans], [(row, t) for row, _, t in spans]
        for side, tokens in zip(ranges, (left, right), strict=True):
            covered = {(row, p) for row, bounds in side for p in range(*bounds)}
            assert covered >= {(row, p) for row, text in enumerate(tokens) for p, (a, b) in enumerate(text) if a < b}


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([array([(0, 1)]), array([(0, 1), (-1, 2)])], r"source offsets, text 1, position 1: offsets \(-1, 2\)"),
        ([array([(0, 1)]), array([(0, 0), (3, 2)])], r"text 1, position 1: offsets \(3, 2\); expected 0 <= start"),
        ([array([]), array([(2, 3), (0, 0), (1, 4)])], r"text 1, position 2: offsets \(1, 4\) start before"),
        ([array([]), np.zeros(2, dtype=int)], r"text 1: an array of int64 \[2\]; expected integers \[n, 2\]"),
        ([array([]), np.zeros((1, 3), dtype=int)], r"text 1: an array of int64 \[1, 3\]"),
        (np.zeros((2, 1, 2)), r"text 0: an array of float64 \[1, 2\]"),
        ([array([])], "1 source text, but 2 target texts"),
    ],
)
def test_refuses_bad_offsets(offsets, message):
    with pytest.raises(InputError, match=message):
        align_spans(offsets, [array([]), array([])])


def test_names_the_target_side():
    with pytest.raises(InputError, match="target offsets, text 0, position 1"):
        align_spans([array([])], [array([(1, 2), (0, 2)])])
