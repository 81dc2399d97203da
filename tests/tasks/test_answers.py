import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.tasks import answers, latex
from lada.tasks.answers import answer_kind, extract_answer, same_answer

CHEAP = ("word", "number", "choice", "yesno", "text", "auto")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a) pallet : 7 + 4 = 11 . answer 11", "11"),
        ("answer 5 answer sunday\n", "sunday"),
        ("answer 5 .", "5"),
        ("answer 5 answer", None),
        ("answer", None),
        ("unanswer 5", None),
        ("11", None),
        ("", None),
    ],
)
def test_word(text, expected):
    assert extract_answer(text) == expected
    assert answer_kind("word").extract(text) == expected


def test_words_are_compared_as_they_stand():
    assert same_answer("5", "5")
    assert not same_answer("5.0", "5")
    assert not same_answer(None, "5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6 * 7 = 42\n#### 42\nQuestion: 5 apples", "42"),
        ("so \\boxed{42}, as 6 times 7.", "42"),
        ("\\boxed{1} then \\boxed{\\frac{1}{2}} of 8", "0.5"),
        ("#### none, so 3", "3"),
        ("#### none\n9", "9"),
        ("The answer is 1,234.50.", "1234.5"),
        ("The answer is −7%", "-7%"),
        ("It is 3 + 4 = 7 apples", "7"),
        ("no idea", None),
        ("", None),
    ],
)
def test_number(text, expected):
    assert answer_kind("number").extract(text) == expected


def test_numbers_are_compared_exactly():
    same = answer_kind("number").same
    assert same("1234.5", "1,234.50")
    assert same("0.5", "1/2")
    assert same("72", "She sold 24 and 48.\n24 + 48 = 72\n#### 72")
    assert not same("0.3333333333333333", "1/3")
    assert not same("-5", "5")
    assert not same(None, "5")
    assert not same("5", "five")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        ("b)", "B"),
        ("**C**", "C"),
        ("The answer is (d).", "D"),
        ("Answer: D. because A is wrong", "D"),
        ("the answer is A because of B", "A"),
        ("the answer is \\boxed{E}", "E"),
        ("the answer is a dog", None),
        ("A dog barks.\nSo it is (B)", "B"),
        ("First A. Then B. Last C.", "C"),
        ("A dog", None),
        ("K", None),
        ("BAD", None),
        ("", None),
    ],
)
def test_choice(text, expected):
    assert answer_kind("choice").extract(text) == expected


def test_choices_are_letters():
    assert answer_kind("choice").same("B", "(b)")
    assert not answer_kind("choice").same("B", "C")
    assert not answer_kind("choice").same(None, "C")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, because there is no snow.", "yes"),
        ("There is no snow, so yes.", "yes"),
        ("There is snow. The answer is no, though yes was close", "no"),
        ("True", "yes"),
        ("FALSE", "no"),
        ("I know nothing", None),
        ("", None),
    ],
)
def test_yes_no(text, expected):
    assert answer_kind("yesno").extract(text) == expected


def test_true_is_yes():
    assert answer_kind("yesno").same("yes", "true")
    assert not answer_kind("yesno").same("yes", "false")


@pytest.mark.parametrize("kind", ["text", "auto"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first line\nlast line", "last line"),
        ("... answer 5", "5"),
        ("x\n#### Paris \nmore", "Paris"),
        ("The answer is Paris. It is large.", "Paris"),
        ("The answer is St. Louis.", "St. Louis"),
        ("The answer is not known. No: the answer is 6", "6"),
        ("**Answer:** 7", "7"),
        ("Final answer: $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("\\boxed{42} is the answer.", "42"),
        ("\\boxed{4", None),
        ("To answer this, think.\nRome", "Rome"),
        ("the answer is $5$.", "5"),
        ("", None),
        (" \n ", None),
    ],
)
def test_final(kind, text, expected):
    assert answer_kind(kind).extract(text) == expected


def test_texts_are_compared_without_case_articles_and_punctuation():
    same = answer_kind("text").same
    assert same("the  Eiffel-Tower!", "Eiffel–tower")
    assert same("“St. Louis”", "st louis")
    assert same("U.S.A.", "usa")
    assert not same("x = -5", "x = 5")
    assert not same("1.5 m", "15 m")
    assert not same("Paris", "Rome")
    assert not same(None, "Rome")
    assert not same("!", "?")
    assert same("!", "!")


def test_auto_compares_numbers_as_numbers():
    same = answer_kind("auto").same
    assert same("5.0", "5")
    assert same("$1,000", "1000")
    assert same("50%", "0.5")
    assert same("72", "24 + 48 = 72\n#### 72")
    assert same("The Hague", "hague")
    assert not same("-5", "5")
    assert not same("5 apples", "6 apples")
    assert not same(None, "5")


@given(st.integers(-(10**6), 10**6), st.integers(1, 50))
@settings(deadline=None)
def test_number_equality(top, bottom):
    kind = answer_kind("number")
    answer = kind.extract(f"{top}/{bottom}")
    assert kind.same(answer, f"{top}/{bottom}")
    assert kind.same(answer, f"The answer is {2 * top}/{2 * bottom}.")
    assert not kind.same(answer, f"{top + 1}/{bottom}")


MARKS = st.sampled_from(
    [
        "answer",
        " is ",
        ": ",
        "####",
        "\\boxed{",
        "}",
        "{",
        "(",
        "B",
        ")",
        "yes",
        "-",
        "5",
        "/",
        ".",
        "%",
        "$",
        "\n",
        " ",
        "é",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(MARKS, max_size=25).map("".join)), st.text(max_size=20))
@settings(deadline=None, max_examples=100)
def test_extract_never_raises_and_same_never_does(text, gold):
    for name in CHEAP:
        kind = answer_kind(name)
        answer = kind.extract(text)
        assert answer is None or answer.strip() == answer != ""
        assert kind.same(answer, gold) in (True, False)
        assert kind.same(None, gold) is False


@given(st.lists(MARKS, max_size=25).map("".join))
@settings(deadline=None, max_examples=100)
def test_canonical_answers_are_read_as_themselves(text):
    for name in ("number", "choice", "yesno"):
        kind = answer_kind(name)
        answer = kind.extract(text)
        if answer is not None:
            assert kind.extract(answer) == answer
            assert kind.same(answer, answer)


@pytest.mark.parametrize(
    "unit",
    [
        *("####", "answer is ", "answer ", "\\boxed{", "1,11", "\\frac{1", "1/", "9", "e1", "(a)", "\n", "A. ", "*"),
        *(
            "}",
            "{",
            "\\",
            "\\text{",
            "\\(",
            "<answer>",
            "wait, ",
            "\nQ:",
            "= ",
            "5 or ",
            "so B ",
            "½",
            "^{2}",
            "not 5 ",
        ),
        *("is true ", "I don't know ", "[1,", "\\boxed{1} or ", " "),
    ],
)
def test_huge_hostile_text(unit):
    text = unit * 100_000
    for name in CHEAP:
        kind = answer_kind(name)
        answer = kind.extract(text)
        assert answer is None or len(answer) <= answers.SCANNED
        kind.same(answer, text[-answers.SCANNED :])


def test_only_the_end_of_a_text_is_read():
    assert answer_kind("number").extract("7" + " " * answers.SCANNED) is None
    assert answer_kind("number").extract("x" * 10**6 + " 7") == "7"


@pytest.mark.parametrize("name", CHEAP)
@pytest.mark.parametrize("answer", ["answer B", "The answer is 7.", "Yes, that is so: true."])
def test_thinking_is_no_answer(name, answer):
    kind = answer_kind(name)
    thought = "no . 3 + 4 = 8, so C ? the answer is 8 . answer 8"
    assert kind.extract(f"<think>\n{thought}\n</think>\n\n{answer}") == kind.extract(answer)
    assert kind.extract(f"{thought}</think>{answer}") == kind.extract(answer)
    assert kind.extract(f"<think>\n{thought}") is None
    assert kind.extract(f"<think>{thought * 1000}") is None  # the tag stands in front of what is scanned
    assert kind.extract(f"<think>{thought}</think>") is None


def test_unknown_kind():
    with pytest.raises(InputError, match=r"unknown kind 'numbr'; expected one of auto, .*did you mean 'number'"):
        answer_kind("numbr")


def test_kinds_are_immutable():
    with pytest.raises(AttributeError):
        answer_kind("auto").name = "mine"  # pyright: ignore[reportAttributeAccessIssue]


def test_latex_without_its_package(monkeypatch):
    monkeypatch.setattr(latex, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lada-fed\[math\]'"):
        answer_kind("latex")


def test_latex():
    pytest.importorskip("math_verify")
    kind = answer_kind("latex")
    assert kind.extract("so \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert kind.same("x^2 + 1", "1 + x^2")
    assert kind.same("\\sqrt{8}", "2\\sqrt{2}")
    assert not kind.same("x^2 - 1", "1 + x^2")
    assert not kind.same("\\frac{", "7")
    assert not kind.same(None, "7")
    verdicts: list[bool] = []
    thread = threading.Thread(target=lambda: verdicts.append(kind.same("\\frac{3}{6}", "\\frac{1}{2}")))
    thread.start()
    thread.join()
    assert verdicts == [True]


def test_latex_that_never_ends(monkeypatch):
    pytest.importorskip("math_verify")
    kind = answer_kind("latex")
    monkeypatch.setattr(latex, "SECONDS", 2.0)
    monkeypatch.setattr(latex, "_worker", None)
    assert not kind.same("9^{9^{9^{9^9}}}", "3")
    assert kind.same("\\frac{2}{4}", "\\frac{1}{2}")  # by a fresh process


@pytest.mark.parametrize("kind", ["text", "auto", "latex"])
@pytest.mark.parametrize(
    "gold", ["the", "to", "A", "I", "No", "5 km", "= 5", "What is it?", "!", "12:30", "C#", "wait"]
)
def test_short_gold_answers_can_be_read(kind, gold):
    if kind == "latex":
        pytest.importorskip("math_verify")
    assert answer_kind(kind).reads(gold)
    assert answer_kind(kind).same(answer_kind(kind).extract(f"Answer: {gold}"), gold) or gold in ("What is it?", "!")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 5. Wait, I forgot one, so 6.", "6"),
        ("The answer is 5. Wait, that is wrong.", None),
        ("The answer is 5. Let me double-check: 2 + 3 = 5. Correct.", "5"),
        ("The answer is 5.\n\nQuestion: And 3 + 4?\nAnswer: 7", "5"),
        ("The answer is 5 or 6.", None),
        ("The answer is more than 5.", None),
        ("The answer is 5 + 6.", None),
        ("I cannot determine the answer from 5 facts.", None),
        ("Of 9 marbles 5 are red. So the rest is", None),
        ("So 42 apples are left after 3 days.", "42"),
    ],
)
def test_a_number_that_is_said(text, expected):
    assert answer_kind("number").extract(text) == expected
