"""The check of the pages' English finds what it names, with line and remedy, and passes over what is no prose."""

import prose
import pytest
from blocks import BLOCKS

RULES = [(kind, rule) for kind in ("phrases", "openings") for rule in prose.RULES[kind]]
PAGE = """# A page

It goes to the kitchen,
by
way of the LLM. It is
written anew.

```sh
echo anew
```

| what | how |
|---|---|
| a cell `anew | again` | Measured on CPUs. It is written anew. |

- [A link to the same
  bits](anew.md) and `code
  anew`, all anew.
Nor is this a sentence.
"""


@pytest.mark.parametrize(("kind", "rule"), RULES, ids=[rule["wrong"] for _, rule in RULES])
def test_each_rule_finds_its_example(kind: str, rule: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "RULES", {**prose.RULES, "phrases": [], "openings": [], kind: [rule]})
    assert [each.say for each in prose.findings(rule["wrong"])] == [rule["say"]]


@pytest.mark.parametrize("rule", prose.RULES["docstrings"], ids=lambda rule: rule["wrong"])
def test_each_rule_of_docstrings_finds_its_example(rule: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "RULES", {**prose.RULES, "phrases": [], "docstrings": [rule]})
    found = prose.docstring_findings(f'def f():\n    """{rule["wrong"]}"""\n')
    assert [(each.line, each.say) for each in found] == [(2, rule["say"])]


def test_docstrings_are_checked_for_phrases_wherever_they_stand() -> None:
    source = '''"""A module, made
anew by `anew`."""

LIMIT = "not a docstring, anew"
"""Bytes that go
to the bit."""


class Options:
    """There is none. Nor is this a sentence."""

    size: int = 1
    """The size; None where
    it is unknown. A comment: anew."""  # anew
'''
    assert [
        (each.line, each.found) for each in sorted(prose.docstring_findings(source), key=lambda each: each.line)
    ] == [
        (2, "anew"),
        (6, "to the bit"),
        (13, "None where"),
        (14, "anew"),
    ]
    assert prose.report("src/lada/a.py", source).count("anew") == 2


def test_a_finding_has_its_line_and_what_to_write() -> None:
    assert [(each.line, each.found, each.say) for each in prose.findings(PAGE)] == [
        (4, "by way of", "through"),
        (6, "anew", "again"),
        (14, "anew", "again"),
        (16, "the same bits", "bit for bit"),
        (18, "anew", "again"),
        (19, "Nor is", "begin with the subject"),
    ]


@pytest.mark.parametrize(("words", "found"), [(35, []), (36, [(3, "36 words; split it, 35 are the most")])])
def test_a_sentence_has_35_words_at_most(words: int, found: list[tuple[int, str]]) -> None:
    text = f"Short.\n\n{'Word ' * (words - 2)}`some code` end. Another sentence."
    assert [(each.line, each.say) for each in prose.findings(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "What they find out can be so.",
        "It is nothing but a rule, and as good as reading it.",
        "Averaged weights lose what clients have learnt.",
        "Speed of writing is measured.",
        "**Used.** Each phase has its peak, e.g. The memory.",
        "We know how one client learns.",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert list(prose.findings(text)) == []


def test_a_page_is_told_only_when_it_has_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prose.RULES, "allowed", {"docs/a.md": 1})
    assert prose.report("docs/a.md", "All anew.") == ""
    assert prose.report("docs/b.md", "All\nanew.") == (
        "docs/b.md:2: 'anew': again\ndocs/b.md: 1 findings; docs/prose.yaml allows 0\n"
    )


def test_every_file_with_an_allowance_exists_and_none_is_passed_over() -> None:
    names = [file.relative_to(prose.ROOT).as_posix() for file in prose.files(prose.ROOT)]
    assert {"README.md", "CHANGELOG.md", "docs/methods.md", "src/lada/config.py", *prose.RULES["allowed"]} <= set(names)


@pytest.mark.parametrize("name", BLOCKS)
def test_what_pages_take_from_the_code_is_plain_english_too(name: str) -> None:
    made = BLOCKS[name]().replace("answer-anew", "the name of a phase")
    found = [each for each in prose.findings(made) if "`code`, `code`" not in each.found]  # a list is no sentence
    assert [(each.found, each.say) for each in found] == []
