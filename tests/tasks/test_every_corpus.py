"""A run on a local copy of each shipped corpus, in the format that it has on the hub; its rows are made up."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

import lada
from lada.tasks.corpus import corpus_names, read_corpus
from lada.tasks.load import load_task
from lada.tasks.options import HubTask

ROWS = [
    json.loads(line) for line in (Path(__file__).parent / "corpus_rows.jsonl").read_text(encoding="utf-8").splitlines()
]
COPIES = 14
SMALL = {"kind": "corpus", "public": 6, "private": 5, "test": 4, "partition": {"by": "iid"}}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def varied(name: str) -> list[dict[str, Any]]:
    """Return the corpus's rows again and again, each with a question of its own."""
    corpus = read_corpus(name)
    found = re.search(r"\{([\w.]+)\}", corpus.question)
    assert found
    rows = []
    for number in range(COPIES):
        for row in (case["row"] for case in ROWS if case["corpus"] == name):
            asked = row[found[1]]
            rows.append(
                {**row, found[1]: [*asked, f"({number})"] if isinstance(asked, list) else f"{asked} ({number})"}
            )
    return rows


def write_copy(name: str, folder: Path) -> None:
    """Write a folder of Parquet files, one for each split that the corpus names."""
    splits = read_corpus(name).splits
    for split in {splits.train, splits.test or splits.train}:
        rows = [{**row, "_split": split} for row in varied(name)]
        keys = sorted({key for row in rows for key in row})
        table = datasets.Dataset.from_list([{key: row.get(key) for key in keys} for row in rows])
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.mark.parametrize("name", corpus_names())
def test_a_copy_of_it_gives_the_samples_of_a_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    write_copy(name, tmp_path / "copy")
    options = HubTask.model_validate(SMALL | {"corpus": name, "source": "copy"})
    task = load_task(options, {"a": (), "b": ()}, 0, tmp_path)
    parts = [task.public, task.test, *task.private.values()]
    assert [len(part) for part in parts] == [6, 4, 5, 5]
    assert task.notices == ()
    for sample in (sample for part in parts for sample in part):
        assert task.same(task.extract(f"So the answer is {sample.answer}"), sample.answer or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", corpus_names())
def test_a_run_on_a_copy_of_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    write_copy(name, tmp_path / "copy")
    model = {"model": {"model": "zoo:slm-llama", "max_new_tokens": 8}}
    config = {
        "name": "copy",
        "rounds": 1,
        "workers": 0,
        "task": SMALL | {"corpus": name, "source": str(tmp_path / "copy")},
        "server": {"model": {"model": "zoo:llm-world-0", "max_new_tokens": 8}, "distil": {"steps": 1}},
        "clients": [{"name": client, **model, "private": {"steps": 1}, "distil": {"steps": 1}} for client in "ab"],
        "host": "fedmkt",
        "plugin": "lada",
        "allocator": {"name": "lada", "options": {"budget": 2}},
    }
    results = lada.run(config, runs=tmp_path / "runs")
    assert {(e.party, e.round) for e in results.evaluations} == {(p, r) for p in ("llm", "a", "b") for r in (0, 1)}
    assert {e.overall.count for e in results.evaluations} == {4}
