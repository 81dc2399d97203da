"""A run's samples from a corpus: local copies of every form, the draw, and what is said where it cannot be had."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from huggingface_hub import constants
from pydantic import TypeAdapter
from typer.testing import CliRunner

from lada.cli.main import app
from lada.core.errors import InputError
from lada.tasks.data import TaskData
from lada.tasks.load import load_task
from lada.tasks.options import HubTask, TaskOptions

OPTIONS: TypeAdapter[Any] = TypeAdapter(TaskOptions)
TWO: dict[str, tuple[str, ...]] = {"b": (), "a": ()}
SMALL = {"kind": "corpus", "corpus": "gsm8k", "public": 6, "private": 5, "test": 4}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def gsm8k(start: int, count: int) -> list[dict[str, str]]:
    return [{"question": f"{n} + {n}?", "answer": f"Sum: {2 * n}.\n#### {2 * n}"} for n in range(start, start + count)]


def jsonl(file: Path, rows: list[dict[str, str]]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    jsonl(tmp_path / "copy" / "train.jsonl", gsm8k(0, 40))
    jsonl(tmp_path / "copy" / "test.jsonl", gsm8k(36, 10))
    return tmp_path


def load(base: Path, clients: Mapping[str, tuple[str, ...]] = TWO, seed: int = 0, **options: Any) -> TaskData:
    return load_task(OPTIONS.validate_python(SMALL | {"source": "copy"} | options), clients, seed, base)


def questions(task: TaskData) -> dict[str, list[str]]:
    parts = {"public": task.public, "test": task.test, **{f"private {name}": p for name, p in task.private.items()}}
    return {name: [sample.question for sample in part] for name, part in parts.items()}


class TestTheDraw:
    def test_sizes_and_one_sample(self, folder: Path) -> None:
        task = load(folder)
        assert {name: len(part) for name, part in questions(task).items()} == {
            "public": 6,
            "test": 4,
            "private a": 5,
            "private b": 5,
        }
        assert (task.replay, task.general, task.steps) == ((), frozenset(), None)
        assert task.own_domains == {"a": {"all"}, "b": {"all"}}
        sample = task.public[0]
        n = int(sample.question.partition(" ")[0])
        assert (sample.id, sample.answer, sample.rationale) == (f"train-{n + 1:06d}", str(2 * n), f"Sum: {2 * n}.")
        assert task.same(task.extract("so it is 8.0"), "8")

    @pytest.mark.parametrize("clients", [TWO, {"a": ()}])
    def test_no_question_is_in_two_parts_though_the_splits_share_some(
        self, folder: Path, clients: Mapping[str, tuple[str, ...]]
    ) -> None:
        task = load(folder, clients, test=10, private=100)
        every = [question for part in questions(task).values() for question in part]
        assert len(every) == len(set(every)) == 46
        assert {sample.id[:5] for sample in task.test} == {"test-"}

    def test_the_seed_and_nothing_else_decides(self, folder: Path) -> None:
        assert load(folder, {"a": (), "b": ()}) == load(folder) != load(folder, seed=1)
        one, other = questions(load(folder)), questions(load(folder, seed=1))
        assert [name for name in one if one[name] == other[name]] == []

    def test_without_a_test_split_questions_are_held_back(self, folder: Path) -> None:
        task = load(folder, source="copy/train.jsonl", private=100)
        every = [question for part in questions(task).values() for question in part]
        assert sorted(every) == sorted(row["question"] for row in gsm8k(0, 40))
        assert len(task.test) == 4

    def test_a_question_that_stands_twice_is_drawn_once(self, folder: Path) -> None:
        jsonl(folder / "twice.jsonl", gsm8k(0, 20) * 2)
        task = load(folder, source="twice.jsonl", private=100)
        assert sum(len(part) for part in questions(task).values()) == 20

    def test_so_many_rows_are_looked_at(self, folder: Path) -> None:
        task = load(folder, rows=14, private=100)
        assert sum(len(part) for name, part in questions(task).items() if name != "test") in range(10, 15)

    def test_domains_are_dealt_where_the_corpus_has_them(self, tmp_path: Path) -> None:
        rows = [
            {"source": f"{task} {n}?", "target": "yes", "rationale": "So it is.", "task": task}
            for task in ("boolq", "rte")
            for n in range(20)
        ]
        jsonl(tmp_path / "cot.jsonl", rows)
        task = load(tmp_path, corpus="cot-collection", source="cot.jsonl")
        assert task.own_domains == {"a": {"boolq"}, "b": {"rte"}}
        task = load(tmp_path, {"a": ("rte",), "b": ()}, corpus="cot-collection", source="cot.jsonl")
        assert task.own_domains == {"a": {"rte"}, "b": {"boolq"}}
        task = load(tmp_path, corpus="cot-collection", source="cot.jsonl", partition={"by": "iid"}, private=100)
        assert task.own_domains == {"a": {"boolq", "rte"}, "b": {"boolq", "rte"}}

    def test_too_few_questions_are_refused(self, folder: Path) -> None:
        with pytest.raises(InputError, match=r"task\.public: 40 public questions of 3\d .* leave 0 for 2 clients"):
            load(folder, public=40)


class TestLocalCopies:
    def test_every_form_gives_the_same_samples(self, folder: Path) -> None:
        saved = datasets.DatasetDict(
            {"train": datasets.Dataset.from_list(gsm8k(0, 40)), "test": datasets.Dataset.from_list(gsm8k(36, 10))}
        )
        saved.save_to_disk(folder / "saved")
        (folder / "parquet").mkdir()
        for split, rows in saved.items():
            rows.to_parquet(folder / "parquet" / f"{split}-00000-of-00001.parquet")
        assert load(folder) == load(folder, source="saved") == load(folder, source=str(folder / "parquet"))

    def test_one_split_alone_is_for_training(self, folder: Path) -> None:
        datasets.Dataset.from_list(gsm8k(0, 40)).save_to_disk(folder / "saved")
        assert load(folder, source="saved") == load(folder, source="copy/train.jsonl")

    def test_a_corpus_file_of_ones_own(self, folder: Path) -> None:
        own = {"title": "mine", "hub": "me/mine", "question": "{q}", "answer": "a", "kind": "number"}
        (folder / "mine.yaml").write_text(yaml.safe_dump(own | {"licence": "-", "paper": "-"}), encoding="utf-8")
        jsonl(folder / "mine.jsonl", [{"q": f"{n}?", "a": str(n)} for n in range(20)])
        task = load(folder, corpus="mine.yaml", source="mine.jsonl")
        assert {f"{sample.answer}?" == sample.question for sample in task.public} == {True}

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("nowhere", r"task\.source: there is no .*nowhere"),
            ("empty", r"task\.source: cannot load '.*empty': .*expected a folder saved by"),
            ("notes.txt", r"task\.source: .*extension '\.txt'; expected \.jsonl"),
            ("dev", r"task\.corpus: there is no split 'train'; dev has 'validation'"),
            ("bad.jsonl", r"data: bad\.jsonl, row 3 of split 'train': column 'answer' ends in 'none'"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, folder: Path, source: str, message: str) -> None:
        (folder / "empty").mkdir()
        (folder / "notes.txt").write_text("x", encoding="utf-8")
        jsonl(folder / "dev" / "validation.jsonl", gsm8k(0, 3))
        jsonl(folder / "bad.jsonl", [*gsm8k(0, 2), {"question": "?", "answer": "none"}])
        with pytest.raises(InputError, match=message):
            load(folder, source=source)


class TestRealFiles:
    def test_a_few_unreadable_gold_answers_are_counted(self, folder: Path) -> None:
        rows = [*gsm8k(0, 38), {"question": "x?", "answer": "none"}, {"question": "y?", "answer": "#### many"}]
        jsonl(folder / "some.jsonl", rows)
        task = load(folder, source="some.jsonl", private=100)
        assert sum(len(part) for part in questions(task).values()) == 38
        assert len(task.notices) == 1
        assert task.notices[0].startswith(
            "task.corpus: 2 of 40 rows of split 'train' are left out, since their gold answers cannot be read; the "
            "first: data: some.jsonl, row 39 of split 'train': column 'answer' ends in 'none'"
        )
        assert load(folder).notices == ()
        jsonl(folder / "many.jsonl", [*gsm8k(0, 36), *({"question": f"{n}?", "answer": "x"} for n in range(5))])
        with pytest.raises(InputError, match=r"row 37 of split 'train': column 'answer' ends in 'x'"):
            load(folder, source="many.jsonl")

    def test_marks_and_line_ends(self, folder: Path) -> None:
        text = "\ufeff" + "".join(json.dumps(row) + "\r\n" for row in gsm8k(0, 40))
        (folder / "windows.jsonl").write_bytes(text.encode())
        assert questions(load(folder, source="windows.jsonl")) == questions(load(folder, source="copy/train.jsonl"))

    @pytest.mark.parametrize("source", ["broken", "broken/train.jsonl"])
    def test_a_line_that_is_no_json_is_named(self, folder: Path, source: str) -> None:
        jsonl(folder / "broken" / "train.jsonl", gsm8k(0, 4))
        with (folder / "broken" / "train.jsonl").open("a", encoding="utf-8") as file:
            file.write('{"question": \n')
        with pytest.raises(InputError, match=r"train\.jsonl, line 5: not valid JSON"):
            load(folder, source=source)

    def test_pictures_are_not_looked_at(self, tmp_path: Path) -> None:
        features = datasets.Features(
            {
                "image": datasets.Image(),
                "question": datasets.Value("string"),
                "choices": datasets.List(datasets.Value("string")),
                "answer": datasets.Value("int8"),
                **{name: datasets.Value("string") for name in ("hint", "subject", "solution")},
            }
        )
        rows = [
            {
                "image": {"bytes": b"no picture", "path": None} if n % 3 == 0 else None,
                "question": f"Question {n}?",
                "choices": ["yes", "no"],
                "answer": n % 2,
                "hint": "",
                "subject": "natural science" if n % 2 else "social science",
                "solution": "So it is.",
            }
            for n in range(30)
        ]
        datasets.Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "science")
        task = load(tmp_path, corpus="scienceqa", source="science", private=100)
        every = [question for part in questions(task).values() for question in part]
        assert len(every) == 20
        assert not any(int(question.split()[1][:-1]) % 3 == 0 for question in every)


def test_a_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"needs the package datasets .*pip install 'lada-fed\[hub\]'"):
        load(folder)


def test_a_hub_that_is_not_there_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"^task\.corpus: cannot load 'openai/gsm8k' from the hub: ") as refused:
        load_task(HubTask.model_validate(SMALL), {"a": ()}, 0)
    assert "set task.source to a local copy" in str(refused.value)
    assert "Retrying" not in caplog.text


def test_programs_are_refused_since_a_corpus_has_no_tests(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"task\.verifier\.kind: 'code' needs task\.kind: files, since a corpus has no"
    ):
        load(folder, verifier={"kind": "code", "sandbox": "none"})


def test_the_command_line_shows_it(folder: Path) -> None:
    model = {"model": {"model": "zoo:slm-llama"}}
    config = {
        "task": SMALL | {"source": "copy"},
        "server": {"model": {"model": "zoo:llm-world-0"}},
        "clients": [{"name": "a", **model}, {"name": "b", **model}],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    shown = CliRunner().invoke(app, ["tasks", "show", str(folder / "run.yaml"), "--count", "1"])
    assert shown.exit_code == 0, shown.output
    assert "####" not in shown.output
    assert "Sum:" in shown.output
