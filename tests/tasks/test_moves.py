"""Moves and rules of the corpus lineups, worked out by hand."""

import pytest

from lada.core.seeds import generator
from lada.tasks.moves import KINDS, SWAPS, TURNS, Rule, apply, draw_rule, move

LINE = ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("words", "after"),
    [
        ("swap 1 2", "b a c d"),
        ("swap 1 4", "d b c a"),
        ("swap 2 3", "a c b d"),
        ("left", "b c d a"),
        ("right", "d a b c"),
        ("reverse", "d c b a"),
        ("lead a", "a b c d"),
        ("lead c", "c a b d"),
        ("trail b", "a c d b"),
        ("trail d", "a b c d"),
    ],
)
def test_moves(words, after):
    assert move(LINE, words) == tuple(after.split())


@pytest.mark.parametrize("words", ["", "jump", "swap 1", "lead"])
def test_what_is_no_move_is_refused(words):
    with pytest.raises(ValueError, match="is no move"):
        move(LINE, words)


@pytest.mark.parametrize(
    ("rule", "argument", "steps"),
    [
        (Rule("swap", ("swap 1 3",)), None, ["swap 1 3 = c b a d"]),
        (Rule("turn", ("left",)), None, ["left = b c d a"]),
        (Rule("two", ("swap 1 2", "reverse")), None, ["swap 1 2 = b a c d", "reverse = d c a b"]),
        (Rule("argument", ("lead",)), "d", ["lead d = d a b c"]),
        (Rule("argument", ("trail",)), "a", ["trail a = b c d a"]),
        (Rule("opener", ("trail",)), None, ["trail c = a b d c"]),
        (Rule("first", ("left", "right"), "a"), None, ["a first", "left = b c d a"]),
        (Rule("first", ("left", "right"), "c"), None, ["c behind", "right = d a b c"]),
    ],
)
def test_rules(rule, argument, steps):
    line, told = apply(rule, LINE, ("c", "d", "a", "b"), argument)
    assert told == steps
    assert " ".join(line) == steps[-1].split(" = ")[1]


def test_drawn_rules_are_of_their_kind_and_new():
    rng = generator("test moves")
    for kind in KINDS:
        first = draw_rule(kind, LINE, rng, set())
        assert draw_rule(kind, LINE, rng, {first}) != first
        for _ in range(30):
            rule = draw_rule(kind, LINE, rng, set())
            assert rule.kind == kind
            assert len(rule.moves) == (2 if kind in ("two", "first") else 1)
            if kind == "first":
                assert rule.moves[0] != rule.moves[1]
                assert set(rule.moves) <= {*SWAPS, *TURNS}
            assert rule.thing in (LINE if kind == "first" else ("",))
