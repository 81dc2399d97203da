import random
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.alignment import edits as hashing
from lada.alignment import nearest as search
from lada.alignment.bags import bags, bounds, gray_ranks, group
from lada.alignment.edits import at_distance
from lada.alignment.vocabulary import nearest_tokens
from lada.core.errors import InputError


def distance(a: bytes, b: bytes) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


def brute_force(source: list[bytes], target: list[bytes]) -> list[int]:
    return [min(range(len(target)), key=lambda i: (distance(token, target[i]), target[i], i)) for token in source]


# Few letters make ties, duplicates and anagrams common; the others reach the ends of a byte's range.
tokens = st.one_of(
    st.text("ab", max_size=7).map(str.encode),
    st.text("abc ", max_size=12).map(str.encode),
    st.binary(max_size=5),
    st.text("жщ日本語é", max_size=5).map(str.encode),
)


def random_tokens(seed: int, count: int, letters: bytes, longest: int) -> list[bytes]:
    draw = random.Random(seed)
    return [bytes(draw.choices(letters, k=draw.randrange(longest + 1))) for _ in range(count)]


def test_the_reference_knows_kitten_and_sitting():
    assert distance(b"kitten", b"sitting") == 3
    assert distance(b"", b"abc") == 3
    assert distance("é".encode(), "è".encode()) == 1


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (b"the", [b"he", b"the", b"The"], 1),  # itself
        (b"cat", [b"dog", b"cats", b"cart"], 2),  # both at 1: cart < cats
        (b"kitten", [b"sitting", b"mittens", b"kit"], 1),  # 3, 2, 3
        (b"ab", [b"ba", b"b", b"a"], 2),  # 2, 1, 1: a < b
        (b"x", [b"\xff", b"\x80", b"y"], 2),  # all at 1: bytes are unsigned, so y < \x80 < \xff
        (b"x", [b"ab", b"y", b"y"], 1),  # equal bytes: the lowest id
        (b"", [b"ab", b"b", b"c"], 1),
        (b"abc", [b"", b"zzzz"], 0),  # 3, 4
        (b"abc", [b"zzz", b""], 1),  # 3, 3: the empty string is the smallest
        ("日".encode(), ["月".encode(), "本".encode()], 0),  # e6 97 a5 from e6 9c 88 and e6 9c ac: 2, 2
    ],
)
def test_the_nearest_token_by_hand(source, target, expected):
    assert nearest_tokens([source], target).tolist() == [expected]


def test_the_map_is_int32_and_total():
    table = nearest_tokens([b"", b"a", b"a", b"b" * 300], [b"q"])
    assert table.dtype == np.int32
    assert table.tolist() == [0, 0, 0, 0]
    assert nearest_tokens([], [b"a"]).shape == (0,)
    assert nearest_tokens([], [b"a"]).dtype == np.int32


@pytest.mark.parametrize("source", [[], [b"a"]])
def test_an_empty_target_is_refused(source):
    with pytest.raises(InputError, match="target has no tokens"):
        nearest_tokens(source, [])


@settings(deadline=None)
@given(st.lists(tokens, max_size=12), st.lists(tokens, min_size=1, max_size=40))
def test_any_map_is_the_brute_force_map(source, target):
    assert nearest_tokens(source, target).tolist() == brute_force(source, target)


@pytest.mark.parametrize(("letters", "longest"), [(b"ab", 9), (b"abcdefgh ", 8), (bytes(range(256)), 4), (b"a", 30)])
def test_many_groups_and_blocks_give_the_brute_force_map(monkeypatch, letters, longest):
    monkeypatch.setattr(search, "GROUP", 4)
    monkeypatch.setattr(search, "CELLS", 500)  # seven strings to a block
    source, target = random_tokens(1, 60, letters, longest), random_tokens(2, 270, letters, longest)
    assert nearest_tokens(source, target).tolist() == brute_force(source, target)


def test_far_and_long_tokens_are_found_too():
    target = [b" " * n for n in (1, 64, 200)] + [b"-" * n for n in (16, 255)] + [b"ab" * 400, b"q"]
    source = [b" " * 70, b" " * 132, b" " * 133, b"-" * 400, b"ab" * 5000, b"\xff" * 90, b"-" * 8 + b"q" * 3]
    # Spaces from 132 are 68 from both 64 and 200, and 64 is a prefix. 90 other bytes are 90 from what is no longer.
    assert nearest_tokens(source, target).tolist() == [1, 1, 2, 4, 5, 0, 3]


@pytest.mark.parametrize("edits", [1, 2, 3])
@settings(deadline=None)
@given(source=st.lists(tokens, max_size=12), others=st.lists(tokens, max_size=40, unique=True))
def test_hashing_finds_the_first_at_a_distance(edits, source, others):
    short = [token for token in source if comb(len(token), edits) <= hashing.CHOICES]
    source = [token for token in short if all(distance(token, other) >= edits for other in others)]
    expected = [next((i for i, b in enumerate(others) if distance(a, b) == edits), -1) for a in source]
    assert at_distance(source, others, edits).tolist() == expected


def test_hashing_a_few_strings_at_a_time_finds_the_same(monkeypatch):
    source, target = random_tokens(3, 200, b"abcdefgh ", 8), sorted(set(random_tokens(4, 400, b"abcdefgh ", 8)))
    source = [token for token in source if all(distance(token, other) >= 2 for other in target)]
    expected = [next((i for i, b in enumerate(target) if distance(a, b) == 2), -1) for a in source]
    assert len(source) - expected.count(-1) > 40
    monkeypatch.setattr(hashing, "ROWS", 7)
    assert at_distance(source, target, 2).tolist() == expected


@pytest.mark.parametrize(("edits", "longest"), [(1, 128), (2, 16), (3, 10)])
def test_long_strings_are_not_hashed(edits, longest):
    source, target = [b"x" * longest, b"x" * (longest + 1)], [b"x" * (longest - edits), b"x" * (longest + 1 + edits)]
    assert at_distance(source, target, edits).tolist() == [0, -1]
    assert nearest_tokens(source, target).tolist() == [0, 1]


def test_equal_hashes_of_other_strings_give_no_answer(monkeypatch):
    monkeypatch.setattr(hashing, "BASE", 1)  # then anagrams hash alike
    monkeypatch.setattr(hashing, "INVERSE", 1)
    assert at_distance([b"abcd"], [b"cba", b"abc"], 1).tolist() == [-1]
    assert nearest_tokens([b"abcd"], [b"cba", b"abc"]).tolist() == [1]
    assert at_distance([b"abcde"], [b"cba", b"abc"], 2).tolist() == [-1]
    assert nearest_tokens([b"abcde"], [b"cba", b"abc"]).tolist() == [1]


@settings(deadline=None)
@given(st.lists(tokens, min_size=1, max_size=8), st.lists(tokens, min_size=1, max_size=20), st.integers(1, 5))
def test_no_member_of_a_group_is_closer_than_its_bound(source, target, size):
    of, among = bags(source, target)
    groups = group(among, size)
    assert sorted(np.concatenate(groups.members).tolist()) == list(range(len(target)))
    for row, members in zip(bounds(of, groups), groups.members, strict=True):
        assert members.tolist() == sorted(members.tolist())
        for least, token in zip(row, source, strict=True):
            assert least <= min(distance(token, target[i]) for i in members)


@given(st.lists(st.integers(0, 2**192 - 1), min_size=1, max_size=20))
def test_the_number_at_a_rank_of_the_gray_code_has_that_rank(ranks):
    codes = [rank ^ rank >> 1 for rank in ranks]
    words = np.array([[code >> shift & 2**64 - 1 for code in codes] for shift in (128, 64, 0)], dtype=np.uint64)
    found = gray_ranks(words).tolist()
    assert [high << 128 | middle << 64 | low for high, middle, low in zip(*found, strict=True)] == ranks


def test_bounds_by_hand():
    of, among = bags([b"abca", b"xyz", b""], [b"ab", b"abc"])
    groups = group(among, 2)
    # Both have a and b, at most c besides, two or three bytes. abca has a second a too many and is one longer than
    # the longest; xyz must lose three bytes; nothing must gain a and b.
    assert bounds(of, groups).tolist() == [[1, 3, 2]]
