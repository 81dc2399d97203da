"""Tokens without an embedding: refused where a text may become one, before any weight is read."""

import json
from pathlib import Path
from typing import Any

import pytest

from lada.core.errors import InputError
from lada.models.load import check, load
from lada.models.options import ModelOptions
from lada.planning import compose

OPTIONS = ModelOptions(model="m", device="cpu", max_new_tokens=8)
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


@pytest.fixture
def save(tiny: Any, tmp_path: Path) -> Any:
    """Give what saves a model of 300 embeddings with a tokenizer that a test has changed."""

    def save(change: Any, template: str | None = None) -> str:
        tokenizer = tiny.tokenizer()
        rows = len(tokenizer)
        change(tokenizer)
        tokenizer.chat_template = template
        tiny.model("llama", rows).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return str(tmp_path)

    return save


def special(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<audio>"]})


def test_special_tokens_that_no_prompt_holds_need_no_embedding(save: Any, tiny: Any) -> None:
    folder = save(special, TEMPLATE)
    check(folder, OPTIONS)
    asked = load(folder, OPTIONS)
    assert len(asked.answer(tiny.questions, seed=0)) == len(tiny.questions)
    rows = asked.model.get_input_embeddings().weight.shape[0]
    assert len(asked.vocabulary().tokens) == rows == len(asked.tokenizer) - 2


@pytest.mark.parametrize(
    ("change", "template", "token"),
    [
        (lambda tokenizer: tokenizer.add_tokens(["one", "more"]), None, "one"),
        (special, "<audio>" + TEMPLATE, "<audio>"),
        (lambda tokenizer: tokenizer.add_special_tokens({"eos_token": "<end>"}), None, "<end>"),
        (lambda tokenizer: tokenizer.add_special_tokens({"pad_token": "<hole>"}), None, "<hole>"),
    ],
    ids=["text", "template", "end", "padding"],
)
def test_tokens_that_are_used_need_one(change: Any, template: str | None, token: str, save: Any) -> None:
    folder = save(change, template)
    said = rf"but the model only \d+ embeddings; call .* a text may become token \d+ \('{token}'\)"
    with pytest.raises(InputError, match=said):
        check(folder, OPTIONS)
    clients = [{"name": "slm", "model": {"model": folder}}]
    with pytest.raises(InputError, match=said):
        compose.plan({"name": "tiny", "server": {"model": {"model": "zoo:llm-world-0"}}, "clients": clients})


def test_a_configuration_that_names_more_embeddings_than_there_are_is_refused(save: Any) -> None:
    folder = save(lambda tokenizer: tokenizer.add_tokens(["more"]))
    file = Path(folder) / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 1000}))
    for read in (check, load):
        with pytest.raises(InputError, match=r"has the shape \[\d+, 16\]; expected \[1000, 16\]"):
            read(folder, OPTIONS)
