"""Each shipped corpus turns rows in the schema of its original into samples; a corpus file of one's own; errors."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.tasks.answers import answer_kind
from lada.tasks.corpus import Corpus, UnreadableGoldError, corpus_names, read_corpus, sample_of

Row = dict[str, Any]
ROWS: list[Row] = [
    json.loads(line) for line in (Path(__file__).parent / "corpus_rows.jsonl").read_text(encoding="utf-8").splitlines()
]
"""Per line a corpus, a row in the schema of its original, and what is expected of it; rows are made up."""


@pytest.mark.parametrize("case", ROWS, ids=[f"{case['corpus']}-{i}" for i, case in enumerate(ROWS)])
def test_a_row_of_the_original_becomes_this_sample(case: Row) -> None:
    corpus = read_corpus(case["corpus"])
    expected = Sample("id-1", case["question"], case["answer"], case["rationale"], case["domain"])
    assert sample_of(corpus, case["row"], "here", "id-1") == expected
    kind = answer_kind(corpus.kind)
    assert kind.same(kind.extract(f"So the answer is {case['answer']}"), case["answer"])
    assert kind.same(kind.extract("I know nothing of it"), case["answer"]) is False


def test_every_shipped_corpus_has_two_rows_above() -> None:
    assert sorted(case["corpus"] for case in ROWS) == sorted(corpus_names() * 2)
    assert len(corpus_names()) == 19


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mathinstruct", {"source": "data/PoT/gsm_gpt4.json"}),
        ("mathinstruct", {"output": "Hence 4."}),
        ("mathinstruct", {"output": "Hence the answer is ."}),
        ("finqa", {"post_text": []}),
        ("finqa", {"final_result": ""}),
        ("super-naturalinstructions", {"inputs": " "}),
        ("cot-collection", {"target": None}),
        ("mmedbench", {"answer_idx": "A,B"}),
        ("mmedbench", {"answer_idx": None}),
        ("scienceqa", {"image": {"bytes": "iVBOR", "path": None}}),
    ],
)
def test_rows_that_are_left_out(name: str, change: Row) -> None:
    row = next(case["row"] for case in ROWS if case["corpus"] == name)
    assert sample_of(read_corpus(name), row | change, "here", "id-1") is None


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("math", {"solution": "So it is 7."}, "column 'solution' ends in 'So it is 7.'"),
        ("math", {"solution": "So it is \\boxed{7."}, "column 'solution' ends in"),
        ("math", {"solution": "So it is \\boxed\\frac12."}, "column 'solution' ends in"),
        ("mmlu-pro", {"answer": "K"}, "column 'answer' is 'K'; expected the label of a choice"),
        ("aqua", {"correct": ""}, "column 'correct' is empty"),
        ("strategyqa", {"answer": None}, "column 'answer' is empty"),
        ("scienceqa", {"answer": 7}, "column 'answer' is '7'; expected one of 0, 1"),
        ("openbookqa", {"answerKey": None}, "column 'answerKey' is empty"),
    ],
)
def test_a_gold_answer_that_cannot_be_read_is_told_from_other_faults(name: str, change: Row, words: str) -> None:
    row = next(case["row"] for case in ROWS if case["corpus"] == name)
    with pytest.raises(UnreadableGoldError) as error:
        sample_of(read_corpus(name), row | change, "row 7", "id-1")
    assert str(error.value).startswith("row 7: ")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("box", "gold"),
    [
        ("\\boxed{5}", "5"),
        ("\\boxed{\\text{(A)}}", "\\text{(A)}"),
        ("\\boxed{\\left\\{1,\\frac{a^{2}}{b_{3}}\\right\\}}", "\\left\\{1,\\frac{a^{2}}{b_{3}}\\right\\}"),
        ("\\fbox{12}", "12"),
        ("\\boxed{3} or else \\boxed{4}", "4"),
        ("\\boxed 9$", "9"),
    ],
)
def test_the_box_of_math(box: str, gold: str) -> None:
    row = {"problem": "?", "type": "Algebra", "level": "Level 1", "solution": f"Thus ${box}$."}
    sample = sample_of(read_corpus("math"), row, "here", "id-1")
    assert sample is not None
    assert sample.answer == gold


class TestConversations:
    CHAT = Corpus.model_validate(
        {"title": "chats", "hub": "me/chats", "question": "{messages}", "kind": "number", "licence": "-", "paper": "-"}
    )

    def test_the_last_assistant_turn_is_taught(self) -> None:
        turns = [("user", "2 + 2?"), ("assistant", "4"), ("user", "And 3 more?"), ("assistant", "4 + 3 = 7.")]
        row = {"messages": [{"role": role, "content": text} for role, text in turns]}
        question = "User: 2 + 2?\n\nAssistant: 4\n\nUser: And 3 more?"
        assert sample_of(self.CHAT, row, "here", "id-1") == Sample("id-1", question, "7", "4 + 3 = 7.", "all")

    def test_a_reply_without_an_answer_is_an_unreadable_gold(self) -> None:
        row = {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "Hm."}]}
        with pytest.raises(UnreadableGoldError, match=r"here: column 'messages': kind 'number' cannot read"):
            sample_of(self.CHAT, row, "here", "id-1")
        with pytest.raises(UnreadableGoldError, match=r"here: column 'messages' is empty"):
            sample_of(self.CHAT, {"messages": row["messages"][:1]}, "here", "id-1")

    def test_only_a_conversation_has_its_answer_in_itself(self) -> None:
        with pytest.raises(ValueError, match="`answer` is missing"):
            own(answer=None)


OWN: Row = {
    "title": "mine",
    "hub": "me/mine",
    "question": "{ask}",
    "answer": "solution",
    "kind": "number",
    "licence": "none",
    "paper": "none",
}


def own(**change: Any) -> Corpus:
    return Corpus.model_validate(OWN | change)


@pytest.mark.parametrize(
    ("corpus", "row", "words"),
    [
        (own(), {"question": "1?", "solution": 1}, ["no column 'ask'", "'question', 'solution'"]),
        (own(), {"ask": "1?", "solutions": 1}, ["no column 'solution'", "did you mean 'solutions'?"]),
        (own(), {"ask": " ", "solution": 1}, ["column 'ask' is empty"]),
        (own(), {"ask": "1?", "solution": None}, ["column 'solution' is empty", "expected the answer"]),
        (own(), {"ask": "1?", "solution": {"a": 1}}, ["column 'solution' holds a dict"]),
        (own(), {"ask": "1?", "solution": "many"}, ["column 'solution'", "kind 'number' cannot read", "'many'"]),
        (own(answer="a.b"), {"ask": "1?", "a": {"c": 1}}, ["no column 'a.b'", "there are 'c'"]),
        (own(answer={"column": "s", "map": {"0": "7"}}), {"ask": "?", "s": 2}, ["column 's' is '2'", "one of 0"]),
        (own(answer={"column": "s", "pattern": "=(.*)"}), {"ask": "?", "s": "12"}, ["column 's'", "'=(.*)' finds"]),
    ],
)
def test_a_bad_row_is_refused(corpus: Corpus, row: Row, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        sample_of(corpus, row, "row 7", "id-1")
    assert str(error.value).startswith("row 7: ")
    assert [word for word in words if word not in str(error.value)] == []


CHOOSE = own(question="{ask}\n{choices}", choices={"texts": "options"}, kind="choice")


@pytest.mark.parametrize(
    ("options", "label", "words"),
    [
        (["x", "y"], "C", ["column 'solution' is 'C'", "one of A, B"]),
        (["x"], "A", ["column 'options' has 1 choices"]),
        (list("klmnopqrstu"), "A", ["column 'options' has 11 choices"]),
        ("xy", "A", ["column 'options' is 'xy'", "expected a list"]),
    ],
)
def test_bad_choices_are_refused(options: Any, label: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        sample_of(CHOOSE, {"ask": "?", "options": options, "solution": label}, "row 7", "id-1")
    assert [word for word in ["row 7: ", *words] if word not in str(error.value)] == []


def test_choices_without_labels_are_lettered() -> None:
    sample = sample_of(CHOOSE, {"ask": "?", "options": ["x", "y"], "solution": "B"}, "here", "id-1")
    assert sample is not None
    assert (sample.question, sample.answer) == ("?\n(A) x\n(B) y", "B")


class TestReadCorpus:
    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(OWN), encoding="utf-8")
        assert read_corpus("mine.yaml", tmp_path) == read_corpus(str(tmp_path / "mine.yaml")) == own()

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"unknown corpus 'gsm8'; .*did you mean 'gsm8k'\?"):
            read_corpus("gsm8")

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"task\.corpus: there is no file .*mine\.yaml"):
            read_corpus("mine.yaml", tmp_path)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a: [", ["not valid YAML"]),
            ("3", ["mine.yaml", "file: "]),
            (yaml.safe_dump(OWN | {"qestion": "x"}), ["unknown key 'qestion'", "did you mean 'question'?"]),
            (yaml.safe_dump({k: v for k, v in OWN.items() if k != "kind"}), ["key 'kind' is missing"]),
            (yaml.safe_dump(OWN | {"kind": "nubmer"}), ["unknown kind 'nubmer'", "'number'"]),
            (yaml.safe_dump(OWN | {"question": "{ask} {choices}"}), ["belong together"]),
            (
                yaml.safe_dump(OWN | {"answer": {"column": "a", "pattern": "x+"}}),
                ["answer.pattern", "does not have exactly one group"],
            ),
            (yaml.safe_dump(OWN | {"keep": {"a": "("}}), ["keep.a", "not a regular expression"]),
        ],
    )
    def test_a_bad_file_is_refused(self, tmp_path: Path, text: str, words: list[str]) -> None:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as error:
            read_corpus("mine.yaml", tmp_path)
        assert [word for word in words if word not in str(error.value)] == []
