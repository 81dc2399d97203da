import pytest

from lada.core.thinking import TAGS, conclusion


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("answer 5", "answer 5"),
        ("<think>\n3 + 2\n</think>\n\nanswer 5", "\n\nanswer 5"),
        ("3 + 2</think> answer 5", " answer 5"),  # a template has written the opening tag
        ("<think>a</think>b<think>c</think>answer 5", "answer 5"),
        ("<think>\nanswer 5", ""),
        ("<think>a</think>answer 4 <think>no, answer 5", ""),
        ("[THINK]a[/THINK]b", "b"),
        ("<thinking>a</thinking><reasoning>b</reasoning>c", "c"),
        ("</think>", ""),
        ("", ""),
    ],
)
def test_what_follows_thinking(text: str, left: str):
    assert conclusion(text) == left


@pytest.mark.parametrize(("opening", "closing"), TAGS.items())
def test_every_known_pair_of_tags_is_passed_over(opening: str, closing: str):
    assert conclusion(f"{opening}5{closing}6") == "6"
    assert conclusion(f"{opening}5") == ""


def test_other_tags():
    assert conclusion("<a>5</a>6 <think>", {"<a>": "</a>"}) == "6 <think>"


def test_a_runaway_thought_is_no_burden():
    assert conclusion("<think>" + "wait " * 10**6) == ""
    assert conclusion("<think>" + "wait " * 10**6 + "</think>5") == "5"
