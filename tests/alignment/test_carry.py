"""Carrying log-probs across tokenizations: exact numbers for every rule, and a slow reference over dicts."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.alignment.carry import carry, carry_batch, check_scores, chunk_log_probs
from lada.alignment.mined import align_mined
from lada.alignment.spans import Spans, align_spans
from lada.core.errors import InputError
from lada.core.terms import SparseLogProbs, TokenScores

SOURCE, TARGET, K = 12, 9, 3
IDENTITY = np.arange(SOURCE, dtype=np.int32)


def log(*masses: float) -> list[float]:
    return [math.log(mass) for mass in masses]


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def scores(tokens: list[int], offsets: Any, rows: list[dict[int, float]]) -> TokenScores:
    """Scores from {id: probability} rows."""
    ids = array([sorted(row) for row in rows])
    log_probs = np.log([[row[i] for i in sorted(row)] for row in rows]).astype(np.float32)
    return TokenScores(array(tokens), array(offsets).reshape(-1, 2), SparseLogProbs(ids, log_probs))


def read(carried: SparseLogProbs) -> list[dict[int, float]]:
    """Return {id: probability} rows, having checked the form."""
    assert carried.ids.dtype == np.int32
    assert carried.log_probs.dtype == np.float32
    rows = []
    for ids, log_probs in zip(carried.ids.tolist(), carried.log_probs.tolist(), strict=True):
        used = [place for place in range(len(ids)) if log_probs[place] > -math.inf]
        assert used == list(range(len(used)))
        assert ids[len(used) :] == [0] * (len(ids) - len(used))
        assert ids[: len(used)] == sorted(set(ids[: len(used)]))
        assert max(log_probs) <= 0
        rows.append({ids[place]: math.exp(log_probs[place]) for place in used})
    return rows


def close(rows: list[dict[int, float]], expected: list[dict[int, float]]) -> bool:
    return len(rows) == len(expected) and all(
        row == pytest.approx(other, rel=1e-5) for row, other in zip(rows, expected, strict=True)
    )


def test_a_matched_row_goes_through_the_map_and_stays_sorted():
    source = scores([4], [(0, 2)], [{1: 0.25, 4: 0.5, 7: 0.125}])
    carried = carry(source, array([0, 8, 0, 0, 5, 0, 0, 2, 0, 0, 0, 0]), array([5]), array([(0, 2)]))
    assert carried.ids.tolist() == [[2, 5, 8]]
    assert carried.log_probs.tolist() == np.log(np.array([[0.125, 0.5, 0.25]])).astype(np.float32).tolist()


def test_masses_that_meet_add_up_and_the_others_keep_every_bit():
    source = scores([4], [(0, 2)], [{1: 0.1, 4: 0.3, 7: 0.2}])
    carried = carry(source, array([0, 6, 0, 0, 5, 0, 0, 6, 0, 0, 0, 0]), array([5]), array([(0, 2)]))
    assert close(read(carried), [{5: 0.3, 6: 0.1 + 0.2}])
    assert carried.log_probs[0, 0] == source.top.log_probs[0, 1]
    assert carried.log_probs[0, 2] == -np.inf
    # All three meet; a sum of one is not exceeded by rounding.
    whole = carry(scores([1], [(0, 1)], [{0: 0.3, 1: 0.3, 2: 0.4}]), np.zeros(SOURCE, int), array([0]), array([(0, 1)]))
    assert close(read(whole), [{0: 1.0}])


def test_the_own_token_reaches_the_own_token_whatever_the_map_says():
    # End-of-sequence is 0 here and 3 there; the map sends it to 7, and an alternative of it to 3.
    source = scores([5, 0], [(0, 4), (4, 5)], [{0: 0.1, 5: 0.6, 6: 0.2}, {0: 0.5, 5: 0.25, 6: 0.125}])
    mapping = array([7, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0])
    rows = read(carry(source, mapping, array([2, 3]), array([(0, 4), (4, 5)])))
    assert close(rows, [{2: 0.6, 3: 0.2, 7: 0.1}, {1: 0.25, 3: 0.5 + 0.125}])


def test_a_target_token_over_several_source_tokens_follows_the_chain_rule():
    # [uti][liz][e] -> [utilize]: 0.5 * 0.25 * 0.8 = 0.1; the 0.4 that went on otherwise is tail, 0.3 + 0.1 stay.
    rows = [{1: 0.5, 2: 0.3, 3: 0.1}, {2: 0.25, 3: 0.5, 4: 0.1}, {5: 0.8, 6: 0.1, 7: 0.1}]
    source = scores([1, 2, 5], [(0, 3), (3, 6), (6, 7)], rows)
    assert close(read(carry(source, IDENTITY, array([8]), array([(0, 7)]))), [{2: 0.3, 3: 0.1, 8: 0.1}])
    # A source token that reads "utilize" by itself joins: 0.3 + 0.1.
    mapping = array([0, 1, 8, 3, 4, 5, 6, 7, 8, 0, 0, 0])
    assert close(read(carry(source, mapping, array([8]), array([(0, 7)]))), [{3: 0.1, 8: 0.3 + 0.1}])


def test_merged_and_matched_rows_by_position():
    # Source [ab][c][d][eos], target [abc][d][eos]: rows of source positions 0, 2 and 3.
    rows = [{1: 0.5, 2: 0.25, 3: 0.125}, {2: 0.5, 4: 0.25, 5: 0.125}, {3: 0.5, 4: 0.25, 6: 0.125}, {0: 1, 1: 0, 2: 0}]
    rows[3] = {0: 0.75, 1: 0.125, 2: 0.0625}
    source = scores([1, 2, 3, 0], [(0, 2), (2, 3), (3, 4), (4, 5)], rows)
    carried = read(carry(source, IDENTITY, array([7, 3, 0]), array([(0, 3), (3, 4), (4, 5)])))
    assert close(carried, [{2: 0.25, 3: 0.125, 7: 0.25}, rows[2], rows[3]])


@pytest.mark.parametrize(("inside", "expected"), [("mask", {}), ("one_hot", None)])
def test_target_tokens_without_a_match(inside, expected):
    # Source [abc][de][f], target [a][bc][d][ef] and a token without width: split, then two over two.
    uniform = {1: 0.25, 2: 0.25, 3: 0.25}
    source = scores([1, 2, 3], [(0, 3), (3, 5), (5, 6)], [uniform] * 3)
    target = array([4, 5, 6, 7, 8])
    carried = carry(source, IDENTITY, target, array([(0, 1), (1, 3), (3, 4), (4, 6), (0, 0)]), inside=inside)
    assert read(carried) == [expected if expected is not None else {int(token): 1.0} for token in target]


def test_padding_in_front_moves_nothing():
    uniform = {1: 0.25, 2: 0.25, 3: 0.25}
    source = scores([1, 1, 2], [(0, 0), (0, 1), (1, 2)], [uniform, {1: 0.5, 4: 0.25, 5: 0.125}, uniform])
    rows = read(carry(source, IDENTITY, array([0, 0, 6]), array([(0, 0), (0, 0), (0, 2)])))
    assert close(rows, [{}, {}, {4: 0.25, 5: 0.125, 6: 0.5 * 0.25}])


def test_a_token_without_width_inside_a_merged_one_counts():
    rows = [{1: 0.5, 2: 0.25, 3: 0.125}] * 3
    source = scores([1, 2, 3], [(0, 1), (1, 1), (1, 2)], rows)
    assert close(
        read(carry(source, IDENTITY, array([5]), array([(0, 2)]))), [{2: 0.25, 3: 0.125, 5: 0.5 * 0.25 * 0.125}]
    )


def test_equal_vocabularies_give_the_rows_back_whatever_their_width():
    offsets = [(0, 0), (0, 3), (0, 3), (0, 3), (3, 4)]
    rows = [{1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.3, 4: 0.1, 5: 0.1}, {2: 0.7, 3: 0.1, 4: 0.1}] + [
        {1: 0.3, 2: 0.3, 5: 0.3}
    ] * 2
    source = scores([1, 4, 3, 2, 5], offsets, rows)
    carried = carry(source, IDENTITY, source.tokens, source.offsets)
    assert carried.ids.tobytes() == source.top.ids.tobytes()
    assert carried.log_probs.tobytes() == source.top.log_probs.tobytes()
    # With another map, or another token, it is not known that the pieces of the character are the same.
    other = carry(source, IDENTITY, array([1, 4, 3, 6, 5]), source.offsets)
    assert [len(row) for row in read(other)] == [0, 0, 0, 0, 3]


def test_spans_may_be_given():
    source = scores([1, 2], [(0, 1), (1, 2)], [{1: 0.5, 2: 0.25, 3: 0.125}, {2: 0.5, 4: 0.25, 5: 0.125}])
    spans = align_mined([[b"a", b"b"]], [[b"ab"]])
    rows = read(carry(source, IDENTITY, array([7]), array([(0, 0)]), spans))
    assert close(rows, [{2: 0.25, 3: 0.125, 7: 0.25}])
    none = Spans(array([]), array([]).reshape(0, 2), array([]).reshape(0, 2))
    assert read(carry(source, IDENTITY, source.tokens, source.offsets, none)) == [{}, {}]


def test_a_tiny_excess_counts_as_certainty():
    source = scores([1], [(0, 1)], [{1: 1.00005}])
    for mapping in (IDENTITY, array([1, 1])):
        assert carry(source, mapping, array([1]), array([(0, 1)])).log_probs.tolist() == [[0.0]]


def test_no_texts_and_texts_without_tokens():
    assert carry_batch([], IDENTITY) == []
    nothing = TokenScores(
        array([]), array([]).reshape(0, 2), SparseLogProbs(array([]).reshape(0, 2), np.zeros((0, 2), "f"))
    )
    full, empty = carry_batch([(nothing, array([3]), array([(0, 1)])), (nothing, array([]), nothing.offsets)], IDENTITY)
    assert read(full) == [{}]
    assert empty.ids.shape == empty.log_probs.shape == (0, 2)


def slow_carry(
    source: TokenScores, mapping: np.ndarray, tokens: np.ndarray, offsets: np.ndarray
) -> list[dict[int, float]]:
    rows: list[dict[int, float]] = [{} for _ in tokens]
    spans = align_spans(source.offsets, offsets)
    for (first, past), (start, end) in zip(spans.source.tolist(), spans.target.tolist(), strict=True):
        if end - start != 1:
            continue
        mass = [
            {int(i): math.exp(lp) for i, lp in zip(source.top.ids[p], source.top.log_probs[p], strict=True)}
            for p in range(first, past)
        ]
        for i, probability in mass[0].items():
            is_own = i == source.tokens[first]
            to = int(tokens[start]) if is_own else int(mapping[i])
            if is_own:
                probability = math.prod(row[int(source.tokens[first + n])] for n, row in enumerate(mass))
            rows[start][to] = rows[start].get(to, 0) + probability
    return rows


@st.composite
def cuts(draw, size: int = 6, *, narrow: int = 2) -> list[tuple[int, int]]:
    """Tokens that tile `size` bytes, with at most `narrow` of no width among them."""
    edges = [0, *sorted(draw(st.sets(st.integers(1, size - 1)))), size]
    tokens = list(itertools.pairwise(edges))
    for place in draw(st.lists(st.integers(0, len(tokens)), max_size=narrow)):
        tokens.insert(place, (0, 0))
    return tokens


@st.composite
def scored(draw, *, narrow: int = 2) -> TokenScores:
    offsets, rows, tokens = draw(cuts(narrow=narrow)), [], []
    for _ in offsets:
        ids = draw(st.lists(st.integers(0, SOURCE - 1), min_size=K, max_size=K, unique=True))
        weights = draw(st.lists(st.floats(1e-6, 1), min_size=K + 1, max_size=K + 1))
        rows.append({i: weight / sum(weights) for i, weight in zip(ids, weights, strict=False)})
        tokens.append(ids[0])
    return scores(tokens, offsets, rows)


@st.composite
def text(draw) -> tuple[TokenScores, np.ndarray, np.ndarray]:
    offsets = draw(cuts())
    tokens = draw(st.lists(st.integers(0, TARGET - 1), min_size=len(offsets), max_size=len(offsets)))
    return draw(scored()), array(tokens), array(offsets)


@given(st.lists(text(), max_size=3), st.lists(st.integers(0, TARGET - 1), min_size=SOURCE, max_size=SOURCE))
def test_equals_the_slow_reference(texts, mapping):
    batch = carry_batch(texts, array(mapping))
    assert len(batch) == len(texts)
    for each, carried in zip(texts, batch, strict=True):
        check_scores(each[0], SOURCE)
        rows = read(carried)
        assert close(rows, slow_carry(each[0], array(mapping), *each[1:]))
        assert all(sum(row.values()) <= 1 + 1e-6 for row in rows)
        assert carried.ids.shape == carried.log_probs.shape == (len(each[1]), K)


@given(scored(narrow=0), st.permutations(range(SOURCE)))
def test_a_renamed_vocabulary_carries_there_and_back(source, order):
    there, back = array(order), array(np.argsort(order))
    carried = carry(source, there, there[source.tokens], source.offsets)
    renamed = TokenScores(there[source.tokens], source.offsets, carried)
    check_scores(renamed, SOURCE)
    again = carry(renamed, back, source.tokens, source.offsets)
    assert again.ids.tobytes() == source.top.ids.tobytes()
    assert again.log_probs.tobytes() == source.top.log_probs.tobytes()


@given(st.lists(text(), min_size=1, max_size=3))
def test_a_chunk_has_the_sum_of_its_tokens(texts):
    for source, _, offsets in texts:
        spans = align_spans(source.offsets, offsets)
        for side, ranges, n in (("source", spans.source, len(source.tokens)), ("target", spans.target, len(offsets))):
            values = -np.arange(1, n + 1, dtype=np.float32) / 3
            expected = [sum(values[a:b].tolist()) for a, b in ranges]
            chunks = chunk_log_probs(values, spans, side)  # pyright: ignore[reportArgumentType]
            assert chunks.dtype == np.float32
            assert chunks.tolist() == pytest.approx(expected, rel=1e-6)


def test_chunks_by_hand():
    spans = align_spans(array([(0, 2), (2, 4), (4, 6)]), array([(0, 0), (0, 4), (4, 5), (5, 6)]))
    assert chunk_log_probs(np.array([-1.0, -0.5, -0.25]), spans, "source").tolist() == [-1.5, -0.25]
    assert chunk_log_probs(np.array([-9.0, -1.0, -0.5, -0.25]), spans, "target").tolist() == [-1.0, -0.75]
    with pytest.raises(InputError, match="target positions up to 3; expected one text of 3 tokens"):
        chunk_log_probs(np.zeros(3), spans, "target")
    with pytest.raises(InputError, match="of 2 texts"):
        chunk_log_probs(np.zeros(9), align_spans(*[[array([(0, 1)])] * 2] * 2), "source")


GOOD = scores([1, 2], [(0, 1), (1, 2)], [{1: 0.5, 2: 0.25}, {2: 0.5, 4: 0.25}])


def spoilt(**parts: Any) -> TokenScores:
    tokens, offsets = parts.get("tokens", GOOD.tokens), parts.get("offsets", GOOD.offsets)
    return TokenScores(array(tokens), np.array(offsets), SparseLogProbs(
        np.array(parts.get("ids", GOOD.top.ids)), np.array(parts.get("log_probs", GOOD.top.log_probs))
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"tokens": [1, 5]}, "position 1: token 5; expected an id of the vocabulary, 0 to 4"),
        ({"tokens": [-1, 2]}, "position 0: token -1; expected an id of the vocabulary, 0 to 4"),
        ({"ids": [[1, 2], [2, 5]]}, "position 1: top id 5; expected an id of the vocabulary, 0 to 4"),
        ({"ids": [[-1, 1], [2, 4]]}, "position 0: top id -1; expected an id of the vocabulary, 0 to 4"),
        ({"ids": [[1, 2], [2, 2]]}, "position 1: top id 2; expected ascending ids, each once"),
        ({"ids": [[1, 2], [4, 2]]}, "position 1: top id 2; expected ascending ids, each once"),
        ({"ids": [[1, 2], [3, 4]]}, "position 1: no log-prob of the own token 2; expected it among the top ids"),
        ({"log_probs": [[-1.0, -2.0], [-1.0, math.nan]]}, "position 1: log-prob nan; expected a finite log-prob of"),
        ({"log_probs": [[-1.0, -math.inf], [-1.0, -2.0]]}, "position 0: log-prob -inf; expected a finite log-prob of"),
        ({"log_probs": [[-1.0, -2.0], [0.001, -9.0]]}, "position 1: log-prob 0.001; expected a finite log-prob of at"),
        ({"log_probs": [[-1.0, -2.0], log(0.75, 0.3)]}, "position 1: probabilities that sum to 1.05"),
        ({"offsets": [(0, 1), (2, 1)]}, r"position 1: offsets \(2, 1\); expected 0 <= start <= end"),
        ({"offsets": [(1, 2), (0, 2)]}, r"position 1: offsets \(0, 2\) start before"),
        ({"offsets": [(0, 1)]}, r"offsets: an array of int64 \[1, 2\]; expected integers \[2, 2\]"),
        ({"ids": [[1, 2]]}, r"top ids: an array of int64 \[1, 2\]; expected integers \[2, 2\]"),
        ({"ids": [1, 2]}, r"top ids: an array of int64 \[2\]; expected integers \[2, 1\]"),
        ({"ids": np.zeros((2, 0), int)}, r"top ids: an array of int64 \[2, 0\]; expected integers \[2, 1\]"),
        ({"log_probs": [[-1.0], [-2.0]]}, r"top log-probs: an array of float64 \[2, 1\]; expected floats \[2, 2\]"),
        ({"log_probs": [[-1, -2], [-2, -3]]}, r"top log-probs: an array of int64 \[2, 2\]; expected floats \[2, 2\]"),
        ({"tokens": [[1, 2]]}, r"tokens: an array of int32 \[1, 2\]; expected integers \[2\]"),
    ],
)
def test_refuses_scores_that_no_learner_gives(parts, message):
    with pytest.raises(InputError, match=message):
        check_scores(spoilt(**parts), 5)


def test_accepts_rounding():
    check_scores(GOOD, 5)
    check_scores(spoilt(log_probs=[[5e-5, -9.0], log(0.5, 0.5005)]), 5)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((GOOD, array([1, -2]), array([(0, 1), (1, 2)])), "text 1, position 1: target token -2; expected an id >= 0"),
        ((GOOD, array([1, 2]), array([(0, 1)])), r"text 1: target tokens \[2\] of int32 with offsets \[1, 2\]"),
        ((GOOD, array([[1]]), array([(0, 1)])), r"text 1: target tokens \[1, 1\]"),
        ((GOOD, array([1, 2]), array([(0, 1), (3, 2)])), r"target offsets, text 1, position 1: offsets \(3, 2\)"),
        (
            (scores([1], [(0, 1)], [{1: 0.5}]), array([1]), array([(0, 1)])),
            r"text 1: top ids \[1, 1\]; expected \[1, 2\]",
        ),
    ],
)
def test_names_the_text(second, message):
    with pytest.raises(InputError, match=message):
        carry_batch([(GOOD, GOOD.tokens, GOOD.offsets), second], IDENTITY)


@pytest.mark.parametrize("mapping", [array([0, -1]), np.zeros(3), array([[0]])])
def test_refuses_a_map_that_is_none(mapping):
    with pytest.raises(InputError, match="mapping: expected an id >= 0"):
        carry(GOOD, mapping, GOOD.tokens, GOOD.offsets)
