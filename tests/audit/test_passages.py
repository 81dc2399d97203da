"""Telling passages, against windows of words that are compared one by one."""

from hypothesis import given
from hypothesis import strategies as st

from lada.audit.passages import Passages, hashed, watch

PRIVATE = "the patient in room nine was given forty drops of the brown syrup at noon"
WORDS = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


def windows(text: str, size: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


@given(private=WORDS, known=WORDS, text=WORDS)
def test_words_in_a_row_that_nobody_else_has_are_found(private: str, known: str, text: str):
    """Words of one letter: no text is long enough for a passage of characters."""
    telling = windows(private, 4) - windows(known, 4)
    passages = Passages([("p", private)], [known], 4)
    assert len(passages) == len(telling)
    assert passages.found_in(text) == (["p"] if telling & windows(text, 4) else [])
    assert passages.short == (not telling)


def test_case_spaces_and_punctuation_do_not_matter():
    passages = Passages([("p", PRIVATE)], [], 8)
    assert passages.found_in("so: THE patient\nin  room nine, was given forty!") == ["p"]
    assert passages.found_in("so: the patient in room nine was given fifty") == []


def test_scripts_without_spaces_are_found_by_forty_characters():
    private = "".join(chr(0x4E00 + 7 * i) for i in range(60))
    passages = Passages([("p", private)], [], 8)
    assert passages.found_in("x" + private[5:45] + "y") == ["p"]
    assert passages.found_in("x" + private[5:44] + "y") == []


def test_texts_are_named_once_and_short_ones_counted():
    passages = Passages([("p", PRIVATE), ("p", PRIVATE + " again"), ("q", "too short"), ("r", PRIVATE)], [], 8)
    assert passages.found_in(PRIVATE) == ["p", "r"]
    assert passages.short == 1
    assert Passages([], [], 8).found_in(PRIVATE) == []


def test_at_each_length_others_are_watched_too_and_make_a_passage_known():
    small, *_, large = watch([("p", PRIVATE)], [("t", PRIVATE[:60])], ["nothing"])
    assert (small.words, large.words) == (8, 64)
    assert small.others.found_in(PRIVATE) == ["t"]
    assert small.private.found_in(PRIVATE[:60]) == []
    assert small.private.found_in(PRIVATE) == ["p"]
    assert len(large.private) == 0


@given(st.text(max_size=120))
def test_any_text_has_a_hash_for_each_window(text: str):
    assert len(hashed(text, 8)) <= max(len(text) - 7, 0) + max(2 * len(text), 0)
    assert len(hashed(text + " one two three four five six seven eight", 8)) >= 1
