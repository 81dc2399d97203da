"""Where a model's shape is found, and what is said where it is not."""

import socket
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from lada.core.errors import InputError
from lada.models.shapes import read_shape


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_folders_own(tmp_path: Path) -> None:
    hf.LlamaConfig(num_hidden_layers=3).save_pretrained(tmp_path / "slm")
    shape = read_shape(str(tmp_path / "slm"))
    assert shape is not None
    assert (shape.config.num_hidden_layers, shape.folder, shape.source) == (3, tmp_path / "slm", "from its config.json")


def test_what_was_downloaded_goes_before_what_is_shipped(tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "models--Qwen--Qwen2.5-0.5B-Instruct"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc", encoding="utf-8")
    hf.Qwen2Config(num_hidden_layers=3).save_pretrained(cached / "snapshots" / "abc")
    shape = read_shape("Qwen/Qwen2.5-0.5B-Instruct")
    assert shape is not None
    assert (shape.config.num_hidden_layers, shape.folder) == (3, cached / "snapshots" / "abc")
    other = read_shape("Qwen/Qwen2.5-0.5B-Instruct", revision="v2")
    assert other is not None
    assert other.folder is None


def test_nothing_is_known_of_any_other_id() -> None:
    assert read_shape("someone/some-model") is None


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        read_shape(str(tmp_path))


def test_what_is_neither_folder_nor_id() -> None:
    with pytest.raises(InputError, match=r"no folder './models/slm'"):
        read_shape("./models/slm")


@pytest.mark.parametrize("text", ["{", '{"model_type": "unheard-of"}', '{"auto_map": {"AutoConfig": "a.B"}}'])
def test_a_configuration_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot read the config\.json"):
        read_shape(str(tmp_path))
