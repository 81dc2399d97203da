"""BLEU by hand, and against numbers that sacrebleu 2.6 gives (tokenize none, no smoothing, effective order)."""

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.evaluation.bleu import bleu, self_bleu

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), min_size=1, max_size=6)


def test_by_hand():
    # 5 of 6 words, 3 of 5 pairs, 1 of 4 triples, 0 of 3 fours: nothing. Of the first five words 2 of 2 fours match.
    assert bleu(["a b c x e f"], ["a b c d e f"]) == 0.0
    # 5 of 5, 4 of 4, 3 of 3, 2 of 2, and 5 words where 6 were wanted.
    assert bleu(["a b c d e"], ["a b c d e f"]) == pytest.approx(100 * exp(1 - 6 / 5))
    # A word counts as often as the reference has it: 2 of 4 words, 1 of 3 pairs; longer ones do not match.
    assert bleu(["a a"], ["a b"]) == 0.0
    assert bleu(["a b", "c c"], ["a b", "c d"]) == pytest.approx(100 * exp((log(3 / 4) + log(1 / 2)) / 2))


@pytest.mark.parametrize(
    ("texts", "references", "expected"),
    [
        (
            ["first add 3 and 4 . then halve it . answer 7", "so the cat sat on the mat", "a b c d e"],
            ["first add 3 and 4 . now halve that . answer 7", "so the cat lay on the mat today", "a b x d e f"],
            41.177348565796,
        ),
        (["7", "8"], ["7", "9"], 50.0),  # labels of one word
        (["a b", "a c"], ["a b", "a d e"], 47.69161324512283),
    ],
)
def test_the_numbers_of_sacrebleu(texts: list[str], references: list[str], expected: float):
    assert bleu(texts, references) == pytest.approx(expected, abs=1e-5)


def test_texts_against_each_other_as_sacrebleu_has_it():
    # Each against the other three as its references: 100, 41.113362, 68.037493 and 54.751825.
    texts = ["a b c d e f", "a b c d x y z", "a b c d e f g h", "q a b c d"]
    assert self_bleu(texts) == pytest.approx(65.97567009311463, abs=1e-5)


def test_texts_that_are_all_the_same_or_have_nothing_in_common():
    assert self_bleu(["a b c d e"] * 3) == pytest.approx(100.0)
    assert self_bleu(["a b c d e", "f g h i j"]) == 0.0
    assert self_bleu(["a b", ""]) is None
    assert self_bleu([]) is None
    assert bleu([""], ["a"]) is None
    assert bleu(["a"], [""]) == 0.0
    with pytest.raises(ValueError, match="shorter"):
        bleu(["a", "b"], ["a"])


@given(TEXTS)
def test_a_text_is_like_itself_and_order_does_not_matter(texts: list[str]):
    own = bleu(texts, texts)
    assert own is None or own == pytest.approx(100.0)
    others = self_bleu(texts)
    assert others is None or 0 <= others <= 100 + 1e-9
    assert self_bleu(reversed(texts)) == (None if others is None else pytest.approx(others))


@given(TEXTS)
def test_self_bleu_is_that_of_a_slow_reference(texts: list[str]):
    words = [text.split() for text in texts if text.split()]
    scores = []
    for place, mine in enumerate(words):
        others = [each for at, each in enumerate(words) if at != place]
        if not others:
            continue
        logs = []
        for n in range(1, 5):
            grams = [tuple(mine[i : i + n]) for i in range(len(mine) - n + 1)]
            if grams:
                there = [[tuple(o[i : i + n]) for i in range(len(o) - n + 1)] for o in others]
                hits = sum(min(grams.count(g), max(o.count(g) for o in there)) for g in set(grams))
                logs.append(log(hits / len(grams)) if hits else -float("inf"))
        nearest = min((abs(len(o) - len(mine)), len(o)) for o in others)[1]
        scores.append(100 * exp(min(0, 1 - nearest / len(mine)) + sum(logs) / len(logs)))
    expected = sum(scores) / len(scores) if scores else None
    assert self_bleu(texts) == (None if expected is None else pytest.approx(expected))
