"""Several prompts in one request: the same answers, scores and cache as one by one, with fewer requests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_api import FakeApi, Say, serving
from fake_vllm_protocol import vllm
from hypothesis import given
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.models import api_client
from lada.models.api import ApiLearner
from lada.models.api_lists import apart, as_one, grouped
from lada.models.api_options import ApiOptions
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

PAIRS = [(f"a box holds {i} . two more come .", "4 plus 2 makes 6 . answer 6" + " . so" * i) for i in range(7)]
QUESTIONS = [question for question, _ in PAIRS]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)


@pytest.fixture(scope="module")
def local() -> HuggingFaceLearner:
    return load(locate("zoo:slm-llama"), ModelOptions(model="slm-llama", device="cpu"))


def remote(api: FakeApi, folder: Path, **options: Any) -> ApiLearner:
    told = {"style": "completions", "prompt": "{question}\n", "key_variable": None, "max_new_tokens": 8}
    scored = {"scores": "prompt_logprobs", "tokenizer": locate("zoo:slm-llama"), "log_probs": True}
    return ApiLearner(ApiOptions(base_url=api.url, model="big", **{**told, **scored, **options}), folder)


def prompts(api: FakeApi) -> list[int]:
    """Return how many prompts each request had."""
    given = [request["prompt"] for request in api.requests]
    return [len(each) if isinstance(each, list) and not isinstance(each[0], int) else 1 for each in given]


@pytest.mark.parametrize("heat", [0.0, 1.0])
def test_answers_are_those_of_one_by_one(local: HuggingFaceLearner, tmp_path: Path, heat: float):
    found, took = {}, {}
    for size in (1, 3):
        with serving(vllm(local)) as api:
            one = remote(api, tmp_path, cache=f"cache-{size}", prompts_per_request=size)
            found[size] = one.sample(QUESTIONS, paths=2, seed=5, temperature=heat)
            took[size] = sorted(prompts(api))
            one.sample(QUESTIONS, paths=2, seed=5, temperature=heat)
            assert sorted(prompts(api)) == took[size]  # each is kept by itself
    assert found[1] == found[3]
    assert took == {0.0: {1: [1] * 7, 3: [1, 3, 3]}, 1.0: {1: [1] * 14, 3: [1, 1, 3, 3, 3, 3]}}[heat]


def test_scores_and_soft_targets_are_those_of_the_model_at_hand(local: HuggingFaceLearner, tmp_path: Path):
    with serving(vllm(local)) as api:
        one = remote(api, tmp_path, cache="cache", prompts_per_request=4)
        for found, expected in zip(one.judge(PAIRS), local.judge(PAIRS), strict=True):
            assert (found.tokens, found.size) == (expected.tokens, expected.size)
            assert found.total == pytest.approx(expected.total, abs=1e-3)
        assert prompts(api)[2:] in ([4, 3], [3, 4])  # behind two that try the server out
        for found, expected in zip(one.log_probs(PAIRS, 20), local.log_probs(PAIRS, 20), strict=True):
            assert found is not None
            assert expected is not None
            assert np.array_equal(found.top.ids, expected.top.ids)
            np.testing.assert_allclose(found.top.log_probs, expected.top.log_probs, atol=1e-3)
        assert len(api.requests) == 6
        assert one.take_notices() == ()
        lengths = [len(local.encoder.pair(*pair)) for pair in PAIRS]
        tried = one._client.meter.spent.input - 2 * sum(lengths)  # what is counted is what was read
        assert 0 < tried < 100


def test_one_that_is_refused_costs_no_other_its_answer(local: HuggingFaceLearner, tmp_path: Path):
    long = "a box " * 100
    with serving(vllm(local, max_model_len=60)) as api:
        one = remote(api, tmp_path, cache="cache", prompts_per_request=8)
        found = one.answer([*QUESTIONS, long], seed=0)
        assert [answer.refused for answer in found] == [False] * 7 + [True]
        assert prompts(api) == [8] + [1] * 8
        assert "1 request to answer failed; the first: status 400: This model's maximum" in one.take_notices()[0]


def test_a_server_that_takes_no_lists_is_asked_one_by_one(local: HuggingFaceLearner, tmp_path: Path):
    honest = vllm(local)

    def first_alone(request: dict[str, Any], number: int) -> Say:
        several = not isinstance(request["prompt"], str)
        return honest({**request, "prompt": request["prompt"][0]} if several else request, number)

    for number, say in enumerate((first_alone, vllm(local, max_prompts=1))):
        with serving(say) as api:
            one = remote(api, tmp_path, cache=f"cache-{number}", prompts_per_request=7)
            found = [answer.text for answer in one.answer(QUESTIONS, seed=0)]
            assert prompts(api) == [7] + [1] * 7
        with serving(honest) as api:
            assert found == [each.text for each in remote(api, tmp_path, cache="honest").answer(QUESTIONS, seed=0)]


def test_more_log_probs_than_the_server_gives_stop_the_run(local: HuggingFaceLearner, tmp_path: Path):
    with serving(vllm(local, max_logprobs=4)) as api:
        one = remote(api, tmp_path, cache="cache", prompts_per_request=4, top_log_probs=20)
        with pytest.raises(InputError, match=r"prompt logprobs of 20, which is greater than max allowed: 4.*top_log_p"):
            one.log_probs(PAIRS, 20)


BODY = st.fixed_dictionaries(
    {"prompt": st.text(max_size=2) | st.lists(st.integers(0, 3), min_size=1, max_size=2), "seed": st.integers(0, 2)}
)


@given(st.dictionaries(st.text(max_size=3), BODY, max_size=12), st.integers(1, 4))
def test_groups_hold_each_request_once_and_differ_in_prompts_alone(asked: dict[str, Any], most: int):
    groups = list(grouped(asked, most))
    assert sorted(digest for group in groups for digest in group) == sorted(asked)
    for group in groups:
        assert 1 <= len(group) <= most
        assert len({body["seed"] for body in group.values()}) == 1
        assert len({type(body["prompt"]) for body in group.values()}) == 1
        if len(group) > 1:
            whole = as_one(list(group.values()))
            assert whole["prompt"] == [body["prompt"] for body in group.values()]


def test_chats_are_asked_one_by_one():
    assert [len(group) for group in grouped({"a": {"messages": [1]}, "b": {"messages": [2]}}, 8)] == [1, 1]


@pytest.mark.parametrize(
    ("choices", "usage", "expected"),
    [
        ([{"index": 1, "text": "b"}, {"index": 0, "text": "a"}], (5, 3), [("a", 3, 2), ("b", 2, 1)]),
        ([{"text": "a"}, {"text": "b"}], None, [("a", None, None), ("b", None, None)]),
        (
            [{"index": i, "text": "ab"[i], "prompt_token_ids": [1] * (i + 1), "token_ids": [2, 2]} for i in (0, 1)],
            (9, 9),
            [("a", 1, 2), ("b", 2, 2)],
        ),
    ],
)  # fmt: skip
def test_replies_are_told_apart(choices: list[Any], usage: Any, expected: list[Any]):
    data = {"model": "big", "choices": choices}
    if usage:
        data["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))
    found = apart(data, 2)
    assert [
        (each["choices"][0]["text"], each["usage"]["prompt_tokens"], each["usage"]["completion_tokens"])
        for each in found
    ] == expected
    assert all(each["model"] == "big" and each["choices"][0]["index"] == 0 for each in found)


@pytest.mark.parametrize("data", [{"choices": [{}]}, {"choices": None}, {}, None, {"choices": [1, 2]}])
def test_what_is_no_reply_to_two_is_refused(data: Any):
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        apart(data, 2)
