"""A learner behind a real server: llama.cpp's, by llama-cpp-python, with a tiny shipped model."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_runs

from lada.core.errors import InputError
from lada.export.export import export
from lada.models.api import ApiLearner
from lada.models.api_options import ApiOptions
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

pytestmark = pytest.mark.slow
pytest.importorskip("llama_cpp.server.app")
pytest.importorskip("gguf")
PROMPT, MOST, CONTEXT = "{question}\n", 8, 256
QUESTIONS = ["a pallet holds 4 boxes . two more come .", "how many ?", "7 + 4"]


@pytest.fixture(scope="module")
def local() -> HuggingFaceLearner:
    options = ModelOptions(model="slm-llama", device="cpu", prompt=PROMPT, max_new_tokens=MOST)
    return load(locate("zoo:slm-llama"), options)


@pytest.fixture(scope="module")
def url(local: HuggingFaceLearner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gguf")
    found = export(tiny_runs.run_folder(folder, local.model, local.tokenizer), "slm", "gguf", dtype="float32")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = folder / "server.log"
    options = ["--model", str(found.folder / "slm.gguf"), "--port", str(port), "--n_ctx", str(CONTEXT)]
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        *options,
        "--logits_all",
        "true",
        "--n_threads",
        "1",
        "--type_k",
        "0",
        "--type_v",
        "0",
    ]
    with said.open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    base = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(600):
            assert server.poll() is None, said.read_text()
            try:
                httpx.get(f"{base}/models", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield base
    finally:
        server.kill()
        server.wait()


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def remote(url: str, folder: Path, **options: Any) -> ApiLearner:
    more = {"style": "completions", "prompt": PROMPT, "key_variable": None, "cache": "cache", "concurrency": 1}
    return ApiLearner(ApiOptions(base_url=url, model="tiny", **{**more, "max_new_tokens": MOST, **options}), folder)


def test_its_answers_are_those_of_the_model_at_hand(url, local, tmp_path):
    one = remote(url, tmp_path, log_probs=True, extra_body={"repeat_penalty": 1.0})
    found = one.answer(QUESTIONS, seed=0)
    for answer, expected in zip(found, local.answer(QUESTIONS, seed=0), strict=True):
        assert answer.text.strip() == expected.text
        assert answer.cut == (answer.likelihood.tokens == MOST)
    cut = sum(answer.cut for answer in found)
    assert cut > 0
    assert one.take_notices() == (f"{cut} answers are not whole; the first: cut at max_new_tokens",)


def test_its_scores_are_those_of_the_model_at_hand_or_refused(url, local, tmp_path):
    pairs = [(question, text) for question, text in zip(QUESTIONS, tiny_runs.TEXTS, strict=False)]
    one = remote(url, tmp_path, scores="echo", extra_body={"repeat_penalty": 1.0})
    try:
        judged = one.judge(pairs)
    except InputError as error:
        assert "nats per token away from its log-probs at generation" in str(error)  # noqa: PT017 - of 0.3.36
        return
    for found, scores in zip(judged, local.log_probs(pairs, 1), strict=True):
        assert scores is not None
        own = scores.own()[:-1]
        assert found.tokens == len(own)
        assert found.total == pytest.approx(float(own.sum()), abs=0.01 * len(own))
    assert one.take_notices() == ()


def test_a_question_that_is_too_long_is_left_out_and_counted(url, tmp_path):
    one = remote(url, tmp_path)
    found = one.answer([*QUESTIONS, "box " * 4 * CONTEXT], seed=0)
    assert [answer.refused for answer in found] == [False, False, False, True]
    assert any("1 request to answer failed; the first: status 400" in notice for notice in one.take_notices())


def test_chats_are_answered(url, tmp_path):
    one = remote(url, tmp_path, style="chat", prompt="{question}", system="Be brief.")
    (answer,) = one.answer(QUESTIONS[:1], seed=0, temperature=0.7)
    assert answer.text
    assert remote(url, tmp_path, style="chat", prompt="{question}", system="Be brief.").spent.startswith("0 requests")
