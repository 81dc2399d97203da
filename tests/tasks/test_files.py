import csv
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.tasks.files import read_samples
from lada.tasks.options import Columns

FULL = {
    "id": "q1",
    "question": "What is 6 * 7?",
    "answer": "42",
    "rationale": "6 * 7 = 42",
    "domain": "sums",
    "difficulty": "1",
    "client": "north",
}
SAMPLE = Sample("q1", "What is 6 * 7?", "42", "6 * 7 = 42", "sums", 1)


def read(path: Path, *, require_answer: bool = False, limit: int | None = None, **columns: str):
    return read_samples(path, Columns(**columns), require_answer=require_answer, limit=limit)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_parquet(path: Path, **columns) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=["jsonl", "csv", "parquet"])
def rows_to_file(request, tmp_path):
    """Write rows, dicts of the same keys with text or None, in each format."""

    def write_rows(*rows: dict[str, str | None]) -> Path:
        path = tmp_path / f"data.{request.param}"
        if request.param == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        elif request.param == "csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        else:
            parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        return path

    return write_rows


def test_all_columns(rows_to_file):
    table = read(rows_to_file(FULL), require_answer=True)
    assert table.samples == (SAMPLE,)
    assert table.clients == ("north",)
    assert table.columns == set(FULL)


def test_only_a_question(rows_to_file):
    path = rows_to_file({"question": " One ? "}, {"question": "Two?"})
    table = read(path)
    assert [sample.question for sample in table.samples] == ["One ?", "Two?"]
    assert {(s.answer, s.rationale, s.domain, s.difficulty) for s in table.samples} == {(None, None, "", None)}
    assert table.clients == (None, None)
    first = 2 if path.suffix == ".csv" else 1  # the header is line 1
    assert [sample.id for sample in table.samples] == [f"data-{first:05d}", f"data-{first + 1:05d}"]


def test_renamed_columns(rows_to_file):
    path = rows_to_file({"prompt": "One?", "label": "1", "owner": "south"})
    table = read(path, question="prompt", answer="label", client="owner", require_answer=True)
    assert table.samples[0].question == "One?"
    assert table.samples[0].answer == "1"
    assert table.clients == ("south",)


def test_one_column_may_serve_twice(rows_to_file):
    path = rows_to_file({"question": "One?", "answer": "1 = 1\n#### 1"})
    assert read(path, rationale="answer").samples[0].rationale == "1 = 1\n#### 1"


def test_limit(rows_to_file):
    path = rows_to_file(*({"question": f"Q{n}"} for n in range(9)))
    assert len(read(path, limit=4).samples) == 4
    assert len(read(path, limit=99).samples) == 9


def test_missing_question_column(rows_to_file):
    with pytest.raises(
        InputError, match=r"(row|line) [12]: no column 'question' .*'questions'.*did you mean 'questions'"
    ):
        read(rows_to_file({"questions": "One?", "answer": "1"}))


@pytest.mark.parametrize("blank", ["  ", None])
def test_empty_question(rows_to_file, blank):
    with pytest.raises(InputError, match=r"(row|line) [23]: column 'question' is empty"):
        read(rows_to_file({"question": "One?", "answer": "1"}, {"question": blank, "answer": "2"}))


def test_required_answer(rows_to_file):
    path = rows_to_file({"question": "One?", "answer": "1"}, {"question": "Two?", "answer": None})
    assert read(path).samples[1].answer is None
    with pytest.raises(InputError, match=r"(row|line) [23]: column 'answer' is empty; expected the answer"):
        read(path, require_answer=True)
    with pytest.raises(InputError, match=r"no column 'label' \(columns.answer\)"):
        read(path, answer="label", require_answer=True)


def test_duplicate_ids_name_both_rows(rows_to_file):
    rows = ({"question": "One?", "id": "a"}, {"question": "Two?", "id": "b"}, {"question": "Three?", "id": "a"})
    with pytest.raises(InputError, match=r"(row|line) [34]: id 'a' is also that of (row|line) [12]"):
        read(rows_to_file(*rows))


@pytest.mark.parametrize("difficulty", ["hard", "-1", "1.5", "²", "9" * 5000])
def test_difficulty_is_a_whole_number(rows_to_file, difficulty):
    with pytest.raises(InputError, match=r"(row|line) [12]: column 'difficulty' is .*expected a whole number"):
        read(rows_to_file({"question": "One?", "difficulty": difficulty}))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.csv"):
        read(tmp_path / "none.csv")


def test_unknown_extension(tmp_path):
    with pytest.raises(InputError, match=r"extension '.json'; expected .jsonl, .csv, .parquet; did you mean '.jsonl'"):
        read(write(tmp_path / "data.json", "[]"))


@pytest.mark.parametrize(
    ("name", "content"), [("e.jsonl", ""), ("e.jsonl", "\n \n"), ("e.csv", ""), ("e.csv", "question\n")]
)
def test_no_rows(tmp_path, name, content):
    with pytest.raises(InputError, match=r"e\.\w+ holds no rows"):
        read(write(tmp_path / name, content))


def test_no_rows_in_parquet(tmp_path):
    with pytest.raises(InputError, match="holds no rows"):
        read(write_parquet(tmp_path / "e.parquet", question=pa.array([], pa.string())))


def test_jsonl_with_mark_crlf_and_blank_lines(tmp_path):
    text = '\ufeff{"question": "Où?"}\r\n\r\n   \n{"question": "b"}'
    table = read(write(tmp_path / "a.jsonl", text))
    assert [(s.id, s.question) for s in table.samples] == [("a-00001", "Où?"), ("a-00004", "b")]


def test_csv_with_mark_crlf_and_quoted_newlines(tmp_path):
    text = '\ufeffquestion,answer\r\n"one,\r\n""two""",1\r\n\r\nthree,3\r\n'
    table = read(write(tmp_path / "a.csv", text))
    assert [(s.id, s.question, s.answer) for s in table.samples] == [
        ("a-00002", 'one,\r\n"two"', "1"),
        ("a-00005", "three", "3"),
    ]


def test_json_numbers_lose_no_digit(tmp_path):
    long = "1234567890123456789012345678901234567890"
    text = f'{{"question": 1, "answer": {long}, "id": 7, "difficulty": 3}}\n{{"question": 2, "answer": 1.10}}'
    samples = read(write(tmp_path / "a.jsonl", text)).samples
    assert samples[0] == Sample("7", "1", long, difficulty=3)
    assert samples[1].answer == "1.10"


def test_parquet_numbers(tmp_path):
    table = read(
        write_parquet(
            tmp_path / "a.parquet",
            question=pa.array(["a", "b"]).dictionary_encode(),
            answer=pa.array([2**63 - 1, 5], pa.int64()),
            rationale=pa.array([Decimal("1.50"), None]),
            domain=pa.array([0.1, float("nan")], pa.float32()),
            difficulty=pa.array([3.0, None]),
        )
    )
    assert table.samples == (
        Sample("a-00001", "a", "9223372036854775807", "1.50", "0.1", 3),
        Sample("a-00002", "b", "5"),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "b"', r"(row|line) 2: not valid JSON"),
        ("[1]", r"(row|line) 2: valid JSON, but not an object"),
        ("7", r"(row|line) 2: valid JSON, but not an object"),
        ('{"question": NaN}', r"(row|line) 2: not valid JSON \(NaN is no JSON number\)"),
        ('{"question": ["b"]}', r"(row|line) 2: column 'question' holds a list; expected text or a number"),
        ('{"question": {"a": 1}}', r"(row|line) 2: column 'question' holds a dict"),
        ('{"question": "b", "answer": true}', r"(row|line) 2: column 'answer' holds a bool"),
        ('{"question": "\\ud800"}', r"(row|line) 2: column 'question' holds half of a surrogate pair"),
        ("[" * 200_000, r"(row|line) 2: not valid JSON"),
    ],
)
def test_bad_json_lines(tmp_path, line, message):
    with pytest.raises(InputError, match=r"a\.jsonl, " + message):
        read(write(tmp_path / "a.jsonl", '{"question": "a"}\n' + line + "\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,answer\na,1\nb,2,3\n", "line 3: 3 values for 2 columns"),
        ("question,answer\na\n", "line 2: 1 values for 2 columns"),
        ("question,question\na,b\n", "names a column twice"),
        ('question\nfine\n"open\n', "line 3: not valid CSV"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "a.csv", content))


def test_a_field_may_be_as_long_as_it_likes(rows_to_file):
    long = "a" * 3_000_000
    assert read(rows_to_file({"question": long, "answer": "1"})).samples[0].question == long


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.jsonl",
            '{"question": "One?", "answer": "1"}|{"question": "Two?"}||{"question": "Three?", "answer": null}|',
        ),
        ("a.csv", "question,answer|One?,1|Two?,||Three?,|"),
    ],
)
def test_byte_order_marks_line_ends_nulls_and_missing_columns(tmp_path, name, text, mark, ends):
    table = read(write(tmp_path / name, mark + text.replace("|", ends)))
    assert [(sample.question, sample.answer) for sample in table.samples] == [
        ("One?", "1"),
        ("Two?", None),
        ("Three?", None),
    ]
    with pytest.raises(InputError, match=r"line [23]: (no column 'answer'|column 'answer' is empty)"):
        read(tmp_path / name, require_answer=True)


@pytest.mark.parametrize("value", ["[[1], [2, 3]]", '{"a": 1}', "true"])
def test_nested_values_are_refused_with_their_row(tmp_path, value):
    path = write(tmp_path / "a.jsonl", '{"question": "a"}\n{"question": "b", "answer": ' + value + "}\n")
    with pytest.raises(InputError, match=r"line 2: column 'answer' holds a \w+; expected text or a number"):
        read(path)


CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "And 3 more?"},
    {"role": "assistant", "content": "4 + 3 = 7"},
]


class TestConversations:
    @pytest.fixture(params=["jsonl", "csv", "parquet"])
    def chats(self, request, tmp_path):
        def write_chats(*rows: dict) -> Path:
            path = tmp_path / f"data.{request.param}"
            if request.param == "jsonl":
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            elif request.param == "csv":
                with path.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(rows[0]))
                    writer.writeheader()
                    writer.writerows({**row, "messages": json.dumps(row["messages"])} for row in rows)
            else:
                parquet.write_table(pa.Table.from_pylist(list(rows)), path)
            return path

        return write_chats

    def test_the_last_assistant_turn_is_taught(self, chats):
        (sample,) = read(chats({"messages": CHAT, "domain": "sums"}), require_answer=True).samples
        assert sample.question == "System: Be brief.\n\nUser: 2 + 2?\n\nAssistant: 4\n\nUser: And 3 more?"
        assert (sample.answer, sample.rationale, sample.domain) == ("4 + 3 = 7", "4 + 3 = 7", "sums")

    def test_a_single_user_turn_is_the_question_as_it_stands(self, chats):
        (sample,) = read(chats({"messages": CHAT[1:3]})).samples
        assert (sample.question, sample.answer) == ("2 + 2?", "4")

    def test_one_that_ends_in_a_question_is_asked(self, chats):
        path = chats({"messages": CHAT[1:2], "answer": "4"})
        (sample,) = read(path, require_answer=True).samples
        assert (sample.question, sample.answer, sample.rationale) == ("2 + 2?", "4", None)

    def test_an_answer_column_goes_before_the_reply(self, chats):
        (sample,) = read(chats({"messages": CHAT, "answer": "7"}), require_answer=True).samples
        assert (sample.answer, sample.rationale) == ("7", "4 + 3 = 7")

    def test_without_a_reply_an_answer_is_missing(self, chats):
        with pytest.raises(InputError, match=r"(row|line) [12]: (no column 'answer'|column 'answer' is empty)"):
            read(chats({"messages": CHAT[1:2]}), require_answer=True)

    def test_other_names_and_forms(self, tmp_path):
        turns = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
        path = write(tmp_path / "a.jsonl", json.dumps({"conversations": turns}) + "\n")
        assert read(path, messages="conversations").samples[0].answer == "4"
        parts = [{"role": "user", "content": [{"type": "text", "text": "2 +"}, {"type": "text", "text": "2?"}]}]
        path = write(tmp_path / "b.jsonl", json.dumps({"messages": parts}) + "\n")
        assert read(path).samples[0].question == "2 +\n2?"

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            ({"messages": []}, "expected a list of messages"),
            ({"messages": "2 + 2?"}, "not a list of messages"),
            ({"messages": [["user", "2 + 2?"]]}, "message 1: expected a mapping with role and content"),
            ({"messages": [{"role": "user", "content": None}]}, "message 1: its content is empty"),
            ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "message 1: its content is not text"),
            ({"messages": [{"role": "user", "content": "\ud800"}]}, "message 1: .*half of a surrogate pair"),
            ({"messages": [*CHAT, {"role": "tool", "content": "7"}]}, "message 6: the role 'tool' is not one of"),
            ({"messages": CHAT[2:3]}, "no user turn comes before the last reply"),
            ({"messages": CHAT[:1]}, "it ends in no user turn"),
            ({"messages": [*CHAT, CHAT[-1]]}, "no user turn comes before the last reply"),
            ({"messages": CHAT, "question": "2 + 2?"}, "both have a value"),
        ],
    )
    def test_refusals_name_the_row(self, tmp_path, row, words):
        path = write(tmp_path / "a.jsonl", '{"question": "a"}\n' + json.dumps(row) + "\n")
        with pytest.raises(InputError, match=rf"a\.jsonl, line 2: .*{words}"):
            read(path)


@pytest.mark.parametrize(("name", "head"), [("a.jsonl", b'{"question": "a"}\n'), ("a.csv", b"question\n")])
def test_bytes_that_are_not_utf8(tmp_path, name, head):
    with pytest.raises(InputError, match=r"(row|line) 2: byte 3 of the line is not UTF-8"):
        read(write(tmp_path / name, head + b"ab\xff\n"))


def test_bad_parquet(tmp_path):
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file"):
        read(write(tmp_path / "a.parquet", "question\na\n"))
    for values in ([["a"]], [True], [b"a"]):
        with pytest.raises(InputError, match=r"column 'question' has the type .*expected text or numbers"):
            read(write_parquet(tmp_path / "b.parquet", question=values))


def test_unused_columns_may_hold_anything(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", question=["a"], vector=[[1.0, 2.0]])
    assert read(path).columns == {"question", "vector"}
    path = write(tmp_path / "a.jsonl", '{"question": "a", "more": {"b": [true]}}')
    assert read(path).columns == {"question", "more"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
@settings(deadline=None, max_examples=25)
def test_every_text_comes_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("texts")
    texts = [f"q{text}" for text in texts]
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["question"], *([text] for text in texts)])
    lines = "\n".join(json.dumps({"question": text}, ensure_ascii=False) for text in texts)
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    write_parquet(folder / "a.parquet", question=texts)
    for path in folder.iterdir():
        assert [sample.question for sample in read(path).samples] == [text.strip() for text in texts]


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=75)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        try:
            samples = read(write(folder / name, content)).samples
        except InputError:
            continue
        assert samples
        assert all(sample.question for sample in samples)
