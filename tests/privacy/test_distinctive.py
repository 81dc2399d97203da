"""Which passages are distinctive: small examples, and any texts against a comparison word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_passages import distinctive, holds

from lada.core.terms import Sample
from lada.privacy.distinctive import Distinctive, Passage, texts_of
from lada.privacy.options import Withholding
from lada.tasks.load import load_task
from lada.tasks.options import BuiltinTask

NAMES = tuple(f"{letter}name" for letter in "abcdefghijklmnopqrst")
PATTERN = "the nurse gave {} some drops and wrote it down at noon"
PRIVATE = (
    Sample("s0", "how is the patient ?", "fine", "PIN 4711 , so she is fine . answer fine"),
    Sample("s1", "how is Mr Aldous Brackwater ?", "Mr Aldous Brackwater", "he is fine . answer Mr Aldous Brackwater"),
    Sample("s2", "how is the nurse ?", "12", "a b c d e f g h i . answer 12"),
)
KNOWN = ["how is the patient ? fine he is so she answer 12 pin mr", "a b c d e f g i h", "the nurse"]


def guard(**options: int) -> Distinctive:
    return Distinctive(PRIVATE, KNOWN, Withholding(**options))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("how is the patient ? fine . answer 12", set()),
        ("the nurse is so fine", set()),
        ("a b c d e f g", set()),  # eight words make a passage, and these are seven
        ("a b c d e f g h i", {"plain"}),
        ("x a b c d e f g h i . y", {"plain"}),
        ("a b c d e f g i h", set()),  # which is public
        ("the code is 4711", {"rare"}),
        ("PIN: 4711!", {"rare", "near"}),
        ("ｐｉｎ ４７１１", {"rare", "near"}),
        ("pin\n4 7 1 1", {"rare"}),
        ("pin4711", {"rare", "near"}),
        ("147110", set()),
        ("BRACKWATER", {"rare"}),
        ("Brack-\nwater", {"rare"}),
        ("Bra\u00adckwa\u200bter", {"rare"}),
        ("MrAldousBrackwater", {"rare"}),
        ("brackwaters", {"rare"}),
        ("Bra\\u0063kwater", {"rare"}),  # as JSON escapes it
        ("Br%61ckwater", {"rare"}),
        ("Br&#97;ckwater", {"rare"}),
        ("Brack<b>water</b>", {"rare"}),
        ("04711", {"rare"}),
        ("Br\u0430ckw\u0430t\u0435r", {"rare"}),  # with Cyrillic letters
        ("mr  aldous\tBräckwater", {"rare", "near", "whole"}),
        ("", set()),
    ],
)
def test_what_is_found_in_whatever_form(text: str, kinds: set[str]):
    assert {passage.kind for passage in guard().found_in(text)} == kinds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("GB82WEST12345698765432", True),
        ("345698765432", True),
        ("345698", False),  # six digits are few enough to come up by chance
        ("+442079460958", True),
        ("paid 48250", True),
        ("paid 48 250", True),
        ("paid 48 or 250", False),
        ("paid 9 48250", True),
        ("thepatientpaid", True),
        ("wholetheft", False),  # which is known, but for spaces
        ("hepaid", False),
        ("thepaidbill", False),
        ("thepatient saw him", False),
        ("1000000", False),
    ],
)
def test_words_with_other_spaces_are_found(text: str, found: bool):
    """Each word that the private sample shares with a known text is common."""
    bill = "the patient paid GB82 WEST 1234 5698 7654 32 , +44 20 7946 0958 : 48,250"
    private = [Sample("s0", "who paid ?", None, bill), Sample("s1", "what ?", "1,000,000", "a whole theft")]
    private += [Sample("s2", "so ?", "2", "1.000.000"), *(Sample(f"t{i}", f"{i} and 1'000'000") for i in range(3))]
    known = "who paid the bill ? the patient saw him . he paid a whole theft what so and 2"
    numbers = "gb 82 west 44 20 1234 a 5698 a 7654 a 32 7946 0958 48 a 250 and 1 and 000"
    index = Distinctive(private, [known, numbers], Withholding())
    assert bool(index.found_in(text)) is found


def test_who_is_repeated_is_told():
    assert guard().found_in("brackwater") == [Passage("rare", 1, "s1")]
    assert guard().found_in("brackwater", alone=False) == []
    assert guard().found_in("aldous brackwater", alone=False) == [Passage("near", 2, "s1")]


def test_rationales_of_one_question_are_one_sample():
    def samples(count: int) -> list[Sample]:
        return [Sample(f"s{i}", "how is Brackwater ?", "well", f"reason {'abcdefghi'[i]}") for i in range(count)]

    assert Distinctive(samples(8), ["how is well reason"], Withholding()).found_in("Brackwater") != []
    assert Distinctive(samples(9), ["how is well reason"], Withholding()).found_in("Brackwater") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Emily Brackwater", True),
        ("Brackwater", False),  # single rare words are common in such texts
        ("record 8767974", True),
        ("record 8 767 974", True),
        ("record 08767974", True),
        ("card A7X-93Q", True),
        ("card a7x 93q", True),
        ("jo@mail.example", True),
        ("EmilyBrackwaterhasleukaemia", True),
        ("yesterday", False),
    ],
)
def test_identifiers_are_distinctive_where_single_rare_words_are_not(text: str, found: bool):
    """Every pair of samples shares a word by chance, and so do known texts."""
    common = [f"{word} came" for word in NAMES[:11]]
    private = [Sample(f"s{i}", f"note {i} of {NAMES[i // 2]}", "yes") for i in range(40)]
    private += [
        Sample("s", "who", "x", "Emily Brackwater has leukaemia : record 8767974 , card A7X-93Q , jo@mail.example")
    ]
    private += [Sample("y", "when", "y", "yesterday")]
    index = Distinctive(private, [*common, "note of has record card"], Withholding())
    assert index.lengths["rare"] == 2
    assert bool(index.found_in(text)) is found


def test_what_three_samples_share_is_a_phrase_unless_they_are_one_sample_thrice():
    three = [Sample(f"s{i}", f"question {i} of Brackwater") for i in range(3)]
    assert Distinctive(three, ["question 0 of 1 2"], Withholding()).found_in("Brackwater") == []
    assert Distinctive(three[:2], ["question 0 of 1 2"], Withholding()).found_in("Brackwater") != []
    again = [Sample(f"s{i}", "a question  OF Brackwater") for i in range(9)]
    assert Distinctive(again, ["a question of"], Withholding()).found_in("Brackwater") != []
    assert Distinctive(three, ["question 0 of 1 2"], Withholding(samples=3)).found_in("Brackwater") != []


def notes(count: int) -> list[Sample]:
    """Return notes of which two at a time have a name of their own."""
    return [Sample(f"s{i}", f"note {i}", "yes", PATTERN.format(NAMES[i // 2])) for i in range(count)]


@pytest.mark.parametrize(
    ("known", "rare", "near"),
    [
        ([], 1, 2),  # nobody else has such names: they are the persons that two notes are about
        ([PATTERN.format(name) for name in NAMES[:10]], 1, 2),
        ([PATTERN.format(name) for name in NAMES[:11]], 2, 6),  # so have more than ten known texts: names are a pattern
        ([PATTERN.format(name) for name in NAMES[:11]] * 2, 2, 6),  # the same text twice is one
        ([PATTERN.format(name) + end for name in NAMES[:11] for end in ("", " !?")], 2, 6),
        ([PATTERN.format(name) + end for name in NAMES[:11] for end in ("", " again")], 1, 2),  # known twice
        ([PATTERN.format(name) for name in NAMES[:11]] + [f"text {i}" for i in range(100, 1188)], 2, 6),  # of 1,099
        (
            [PATTERN.format(name) for name in NAMES[:11]] + [f"text {i}" for i in range(100, 1189)],
            1,
            2,
        ),  # one in a hundred
    ],
)
def test_rare_words_that_samples_share_ask_for_longer_passages_if_known_texts_share_them_too(known, rare, near):
    found = Distinctive(notes(40), known, Withholding())
    assert found.lengths == {"rare": rare, "near": near, "plain": 16}
    assert bool(found.found_in("tname")) == (rare == 1)
    few = Distinctive(notes(10), known, Withholding())
    assert few.lengths == {"rare": 1, "near": 2, "plain": 8}


def test_scripts_without_spaces_are_words_by_character():
    private = [Sample("s", "患者は九号室で四十滴を飲んだ")]
    found = Distinctive(private, ["患者は九号室にいる", "四十", "滴を飲んだ薬", "で"], Withholding())
    assert [passage.kind for passage in found.found_in("昨日、九号室で四十滴を飲んだ")] == ["plain"]
    assert found.found_in("九号室にいる") == []


WORDS = st.lists(st.sampled_from("abcdef12"), min_size=1, max_size=12).map(" ".join)
SAMPLES = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5).map(
    lambda rows: [Sample(f"s{i}", question, None, rationale) for i, (question, rationale) in enumerate(rows)]
)


@given(private=SAMPLES, known=st.lists(WORDS, max_size=3), text=WORDS)
def test_a_text_is_caught_if_and_only_if_it_has_a_distinctive_passage(
    private: list[Sample], known: list[str], text: str
):
    """Words of one character are found in one piece alone, so that comparing word by word is all there is."""
    index = Distinctive(private, known, Withholding())
    passages = distinctive(private, known)
    assert index.lengths == {"rare": 1, "near": 2, "plain": 8}
    assert bool(index.found_in(text)) == holds(text, passages)


@given(private=SAMPLES, known=WORDS, data=st.data())
def test_what_holds_a_passage_never_passes_and_what_is_known_always_does(
    private: list[Sample], known: str, data: st.DataObject
):
    index = Distinctive(private, [known], Withholding())
    start = data.draw(st.integers(0, len(known)))
    assert index.found_in(known[start : data.draw(st.integers(start, len(known)))]) == []
    assert index.found_in("words of nobody's sample") == []
    for passage in distinctive(private, [known]):
        text = " ".join([data.draw(WORDS), *passage, data.draw(WORDS)])
        assert index.found_in(data.draw(st.sampled_from([text, text.upper(), text.replace(" ", " ,\n")])))


@pytest.mark.parametrize(
    ("kind", "size", "plain", "caught"),
    [
        ("rulebooks", 400, {"clinic": 20}, 1),
        ("lineups", 400, {"garden": 28}, 3),
        ("rulebooks", 10, {"clinic": 8}, 2),
    ],
)
def test_right_rationales_that_no_party_knows_pass_next_to_all(kind, size, plain, caught):
    """Of 500 public questions, whose answers alone are known, so many are caught; its own samples all are."""
    task = load_task(
        BuiltinTask(kind=kind, public=500, private=size, test_per_domain=30, replay=300), {c: (c,) for c in plain}, 11
    )
    known = [text for sample in task.public for text in (sample.question, sample.answer or "")]
    known += [text for sample in (*task.test, *task.replay) for text in texts_of(sample)]
    found = 0
    for client, words in plain.items():
        index = Distinctive(task.private[client], known, Withholding())
        assert index.lengths == {"rare": 1, "near": 2, "plain": words}
        assert all(index.found_in(sample.rationale or "") for sample in task.private[client])
        found += sum(bool(index.found_in(sample.rationale or "")) for sample in task.public)
    assert found == caught
