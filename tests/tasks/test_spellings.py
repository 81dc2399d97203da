"""Every spelling of an answer in every place where a text may say it."""

import pytest

from lada.tasks.answers import answer_kind
from lada.tasks.choices import LETTERS

NUMBERS = {
    "5/2": [
        *("2.5", "2½", "2 1/2", "5/2", "5 / 2", "2.50", "+2.5", "2.5e0", "25e-1", "2 and 1/2", "5⁄2"),
        *(r"\frac{5}{2}", r"\frac52", r"\dfrac 5 2", r"2\frac{1}{2}", r"2\frac12", r"2 \tfrac{1}{2}"),
    ],
    "1200": [
        *("1200", "1,200", "1 200", "1\u2009200", "1\u202f200", "1\u00a0200", "1'200", "1’200", r"1{,}200", r"1\,200"),
        *("1.2e3", "1.2E+3", r"1.2 \times 10^{3}", r"1.2\times10^3", "1.2·10³", "1.2 × 10^3", "1.2*10^3", "12 × 10²"),
        *("1.2 thousand", "$1,200", r"\$1,200", "€1200", "1200 dollars", "1200 cm^2", "1200 m³", "1200 m/s^2"),
        r"1200\text{ cm}^2",
    ],
    "-7": ["-7", "−7", "-7.0", "negative 7", "-7 °C", r"-7^\circ", "-$7"],
    "30%": ["30%", r"30\%", "30 %", "30 percent"],
    "0.001": ["0.001", ".001", "10^-3", "10^{-3}", "10⁻³", "1e-3", r"1 \times 10^{-3}", "1/1000", r"\frac{1}{1000}"],
}
PLACES = [
    *("{}", "The answer is {}.", "The answer is: {}", "**Answer:** {}", "Answer: **{}**", "<answer> {} </answer>"),
    *("\\boxed{{{}}}", "$\\boxed{{{}}}$.", "\\[\n\\boxed{{{}}}\n\\]", "Answer: \\({}\\)", "The answer is \\[{}\\]"),
    *(
        "3 + 4 = 9\n#### {}",
        "#### Work\n3 + 4\n\n#### Final Answer\n\n{}",
        "### Answer\n{}",
        "The final answer is ${}$.",
    ),
    "The answer is {}\n\nQuestion: What is 3 + 5?\nAnswer: 8",
]
NUMBER_PLACES = [
    *("So it is {}.", "x = {}", "The answer is x = {}.", "The answer is {}, not 99.", "Not 99 but {}."),
    *("The answer is 99. Wait, no: it is {}.", "As 8 < 9, the answer is {}, because 8 is less."),
]


@pytest.mark.parametrize("kind", ["number", "auto"])
@pytest.mark.parametrize("gold", NUMBERS)
def test_numbers(kind, gold):
    kind = answer_kind(kind)
    for spelling in NUMBERS[gold]:
        for place in PLACES + NUMBER_PLACES:
            said = kind.extract(place.format(spelling))
            assert kind.same(said, gold), (place, spelling, said)
            assert not any(kind.same(said, wrong) for wrong in ("99", "8", "9", "3", "2")), (place, spelling, said)


@pytest.mark.parametrize("gold", NUMBERS)
def test_gold_numbers(gold):
    kind = answer_kind("number")
    said = kind.extract(f"The answer is {gold}.")
    for spelling in NUMBERS[gold]:
        assert kind.same(said, spelling), spelling
        assert not kind.same("99", spelling), spelling


@pytest.mark.parametrize("letter", LETTERS)
def test_choices(letter):
    kind = answer_kind("choice")
    other = "C" if letter == "D" else "D"
    letters = [
        letter,
        f"({letter})",
        f"{letter}.",
        f"({letter}) a dog",
        f"{letter}) 12",
        f"{letter}: Paris",
        f"**{letter}**",
    ]
    letters += [f"\\text{{{letter}}}", f"\\textbf{{({letter})}}\\ 12"]
    places = [*PLACES, "So {} is right.", "The answer is not " + other + " but {}."]
    for spelling in letters:
        for place in places[: len(PLACES)] if len(spelling) > 3 else places:
            said = kind.extract(place.format(spelling))
            assert said == letter, (place, spelling, said)
    for text in (
        "Option {} is correct.",
        "I choose {}.",
        "{} is the best answer.",
        f"It is not {other}, so it is {{}}.",
    ):
        assert kind.extract(text.format(letter)) == letter, text
    for text in (
        "Not {}.",
        f"{{}} or {other}",
        f"The answer is {{}} or {other}.",
        "{} is wrong.",
        "Is it {}?",
        "vitamin {}",
    ):
        assert kind.extract(text.format(letter)) is None, text


@pytest.mark.parametrize(
    ("verdict", "spellings"),
    [
        ("yes", ["yes", "Yes", "true", "TRUE", "yes, it is", "Yes, because no dog flies", "not false"]),
        (
            "no",
            ["no", "No", "false", "FALSE", "no, it is not", "No, though it is true of cats", "not true", "it is false"],
        ),
    ],
)
def test_verdicts(verdict, spellings):
    kind = answer_kind("yesno")
    for spelling in spellings:
        for place in PLACES[:-1]:
            said = kind.extract(place.format(spelling))
            assert said == verdict, (place, spelling, said)
