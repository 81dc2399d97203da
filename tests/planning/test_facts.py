"""What is known of a model holds for its files, its options and the texts that it sees."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lada.core.terms import Sample
from lada.models.options import ModelOptions
from lada.planning import facts
from lada.planning.compose import plan
from lada.planning.facts import Model, find_model
from lada.zoo.shipped import locate

SAMPLES = (Sample("a", "What is 2 + 2?", answer="4", rationale="2 and 2 is 4."),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(locate("zoo:slm-llama"), tmp_path / "slm")
    return tmp_path / "slm"


def model(folder: Path, **options: Any) -> Model:
    found = find_model(ModelOptions(model=str(folder), **options))
    assert found is not None
    return found


def depends(of: Model, samples: tuple[Sample, ...] | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what facts are said to depend on."""
    told: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(facts, "keep", lambda kind, depends, find: told.append(depends))
        of.facts(samples)
    return json.dumps(told, sort_keys=True)


def test_every_file_counts_but_not_the_numbers_of_weights(folder: Path):
    weights = load_file(folder / "model.safetensors")
    save_file({name: np.ones_like(array) for name, array in weights.items()}, folder / "model.safetensors")
    header = model(folder).digest
    save_file({name: np.zeros_like(array) for name, array in weights.items()}, folder / "model.safetensors")
    assert model(folder).digest == header
    seen = [header]
    save_file({name: array.astype(np.float64) for name, array in weights.items()}, folder / "model.safetensors")
    seen.append(model(folder).digest)
    files = [file for file in folder.iterdir() if file.suffix == ".json"]
    for file in files:
        file.write_text(file.read_text("utf-8") + "\n", encoding="utf-8")
        seen.append(model(folder).digest)
    (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    seen.append(model(folder).digest)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").write_text("x", encoding="utf-8")
    seen.append(model(folder).digest)
    assert len({*seen}) == len(seen) == 4 + len(files)


def test_options_and_texts_count(folder: Path, monkeypatch: pytest.MonkeyPatch):
    seen = {
        depends(model(folder, **options), samples, monkeypatch)
        for options, samples in [
            ({}, SAMPLES),
            ({"prompt": "{question}!"}, SAMPLES),
            ({"max_new_tokens": 9}, SAMPLES),
            ({"tune": "lora"}, SAMPLES),
            ({"attention": "eager"}, SAMPLES),
            ({}, None),
            ({}, (Sample("a", "What is 2 + 2?", answer="4"),)),
            ({}, (Sample("a", "What is 2 + 3?", answer="4", rationale="2 and 2 is 4."),)),
        ]
    }
    assert len(seen) == 8
    idle = [depends(model(folder, batch_size=size), SAMPLES, monkeypatch) for size in (1, 2)]
    assert idle[0] == idle[1]


def test_a_plan_is_the_same_from_memory(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = {
        "name": "tiny",
        "task": {"kind": "rulebooks", "public": 20, "private": 5, "replay": 2, "test_per_domain": 1},
        "server": {"model": {"model": str(folder), "tune": "lora", "device": "cpu"}},
        "clients": [{"name": "a", "model": {"model": str(folder), "device": "cpu", "dtype": "bfloat16"}}],
    }

    def planned() -> Any:
        return plan(config).model_dump(mode="json", exclude={"devices": {"__all__": {"free"}}})

    monkeypatch.setenv("LADA_CACHE", str(tmp_path / "cache"))
    first = planned()
    monkeypatch.setattr(Model, "_found", lambda *_: pytest.fail("it was found out before"))
    monkeypatch.setattr(Model, "_traced", lambda *_: pytest.fail("it was traced before"))
    assert planned() == first
