"""Folders whose only tokenizer is Mistral's `tekken.json`."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import transformers.integrations.mistral.tokenizer as convert

from lada.core.errors import InputError
from lada.models.load import check, load
from lada.models.options import ModelOptions

SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    tiny.model("llama", len(SPECIAL) + 256).save_pretrained(tmp_path)
    tekken = {
        "config": {
            "pattern": r"[^\s]+|\s+",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + len(SPECIAL),
            "default_num_special_tokens": len(SPECIAL),
            "version": "v7",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": None} for i in range(256)
        ],
        "special_tokens": [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(SPECIAL)],
    }
    (tmp_path / "tekken.json").write_text(json.dumps(tekken))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return tmp_path


def test_it_is_read_with_the_template_beside_it(folder: Path):
    options = ModelOptions(model=str(folder), device="cpu", max_new_tokens=4)
    check(str(folder), options)
    learner = load(str(folder), options)
    question = "a [INST] </s> é"
    assert learner.encoder.prompt(question) == (1, 3, *(len(SPECIAL) + byte for byte in question.encode()), 4)
    assert learner.encoder.completion("5</s>") == (*(len(SPECIAL) + byte for byte in b"5</s>"), 2)
    learner.save(folder / "saved")
    assert load(str(folder / "saved"), options).encoder.prompt(question) == learner.encoder.prompt(question)


def test_without_a_template_it_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "chat_template.jinja").unlink()
    monkeypatch.setattr(convert, "is_mistral_common_available", lambda: False)
    with pytest.raises(InputError, match=r"has tekken\.json and no chat template for it; .*mistral-common"):
        check(str(folder), ModelOptions(model=str(folder), device="cpu"))


def test_one_that_cannot_be_read_is_named(folder: Path):
    (folder / "tekken.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot read tekken\.json of .*; call `pip install"):
        check(str(folder), ModelOptions(model=str(folder), device="cpu"))
