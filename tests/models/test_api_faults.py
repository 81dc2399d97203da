"""What a server's refusals and answers mean, one by one."""

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from fake_api import chat

from lada.models.api_faults import Fault, Lost, Stop, read_failure, wait_of, words
from lada.models.api_reply import Reply, alike, log_prob

NOW = 1_700_000_000.0


def meaning(status: int, error: Any = None, headers: dict[str, str] | None = None) -> str:
    text = error if isinstance(error, str) else json.dumps({"error": error})
    found = read_failure(status, headers or {}, text, now=NOW, variable="MY_KEY")
    match found:
        case Fault():
            return "busy" if found.busy else "again"
        case Lost():
            return "this question" if found.sure else "perhaps this question"
        case Stop():
            return "spent" if found.spent else "stop"


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, {"message": "Incorrect API key", "code": "invalid_api_key"}, "stop"),
        (402, {"message": "Insufficient Balance"}, "spent"),
        (402, "", "spent"),
        (403, {"message": "Country not supported", "code": "unsupported_country_region_territory"}, "stop"),
        (403, {"message": "Input was flagged by moderation", "code": 403}, "this question"),
        (404, {"message": "The model `x` does not exist", "code": "model_not_found"}, "stop"),
        (405, "Method Not Allowed", "stop"),
        (400, {"message": "bad", "type": "invalid_request_error", "param": None}, "perhaps this question"),
        (400, "Bad Request", "perhaps this question"),
        (400, {"message": "filtered", "param": "prompt", "code": "content_filter"}, "this question"),
        (400, {"message": "m", "param": "messages", "code": "context_length_exceeded"}, "this question"),
        (400, {"message": "This model's maximum context length is 4096.", "param": "input_tokens"}, "this question"),
        (400, {"message": "Your credit balance is too low", "type": "invalid_request_error"}, "spent"),
        # Options are the same in all questions, also where their values are called too large.
        (400, {"message": "Unsupported parameter", "param": "temperature", "code": "unsupported_parameter"}, "stop"),
        (400, {"message": "max_tokens is too large: 100000", "param": "max_tokens"}, "stop"),
        (413, "<html><head><title>413 Request Entity Too Large</title>", "this question"),
        (422, [{"msg": "field required"}], "perhaps this question"),
        (451, "", "perhaps this question"),
        (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}, "busy"),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "spent"),
        (429, {"message": "You exceeded your current quota", "type": "insufficient_quota"}, "spent"),
        (429, {"message": "no", "type": "exceeded_current_quota_error"}, "spent"),
        # Gemini's words where a minute's requests are spent.
        (429, {"message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}, "busy"),
        (429, "slow down", "busy"),
        (408, "", "again"),
        (500, "oh", "again"),
        (500, {"message": "too large", "type": "exceed_context_size_error"}, "this question"),
        (503, {"message": "Service is too busy"}, "again"),
        (529, {"message": "Overloaded"}, "again"),
        (501, "", "stop"),
        (301, "", "stop"),
        (418, "", "stop"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_reaction(status, error, expected):
    assert meaning(status, error) == expected


def test_what_to_check_is_said():
    def check(status: int, **headers: str) -> str:
        found = read_failure(status, headers, "", now=NOW, variable="MY_KEY")
        assert isinstance(found, Stop)
        return found.check

    assert check(401) == "the key in the environment variable MY_KEY, and its permissions"
    assert check(404).startswith("base_url")
    # What stands behind ? or before @ may be a secret.
    assert check(302, location="https://x.org/login?token=abc") == (
        "base_url: the server redirects requests to 'https://x.org/login'"
    )
    assert check(307, location="https://me:pw@x.org:99/v1") == (
        "base_url: the server redirects requests to 'https://x.org/v1'"
    )
    assert check(308, location="/v2") == "base_url: the server redirects requests to '/v2'"
    assert check(308, location="https://[") == check(308) == "base_url: the server redirects requests to ''"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 23:13:50 +0100"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 99999 22:13:50 GMT"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers, expected, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # a date without a zone is UTC, wherever one is
    time.tzset()
    try:
        assert wait_of(headers, NOW) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_server_s_words_are_short_and_harmless():
    assert words('{"error": {"message": "no\\nmore"}}') == "no more"
    assert words('{"error": "no more"}') == "no more"
    assert words('[{"error": {"message": "Gemini"}}]') == "Gemini"
    assert words('{"message": "flat"}') == "flat"
    assert words("<!DOCTYPE html><html><head><title> 502 </title></head><body>" + "x" * 9999) == "a web page, '502'"
    assert words("\x1b[2J" + "x" * 9999) == "\\x1b[2J" + "x" * 296
    assert words("[" * 100_000).startswith("[[[")


def reply(**parts: Any) -> Reply:
    return Reply.read(chat(**parts).body, lambda text: text.replace("sesame", "***"))


@pytest.mark.parametrize(
    ("parts", "text", "cut", "refused"),
    [
        ({"text": "yes"}, "yes", False, False),
        ({"text": "yes", "finish_reason": "stop"}, "yes", False, False),
        ({"text": "yes", "finish_reason": "EOS_TOKEN"}, "yes", False, False),
        *(({"text": "yes", "finish_reason": word}, "yes", False, False) for word in ("eos_token_id", "eos")),
        ({"text": "yes", "finish_reason": "end_turn"}, "yes", False, False),
        ({"text": "yes", "finish_reason": {"type": "stop"}}, "yes", False, False),
        ({"text": "yes", "finish_reason": {"type": "length"}}, "yes", True, False),
        ({"text": "yes", "finish_reason": "length"}, "yes", True, False),
        ({"text": "yes", "finish_reason": "MAX_TOKENS"}, "yes", True, False),
        # All tokens were spent on reasoning.
        ({"text": "", "finish_reason": "length", "message": {"reasoning_content": "hm"}}, "", True, True),
        ({"text": None, "finish_reason": "length"}, "", True, True),
        ({"text": None, "finish_reason": "stop"}, "", False, True),
        ({"text": "  \n", "finish_reason": "stop"}, "  \n", False, True),
        ({"text": "ye", "finish_reason": "content_filter"}, "ye", False, True),
        ({"text": "ye", "finish_reason": "content_filter: RECITATION"}, "ye", False, True),
        ({"text": None, "finish_reason": "tool_calls", "message": {"tool_calls": []}}, "", False, True),
        ({"text": None, "finish_reason": "stop", "message": {"refusal": "I cannot."}}, "", False, True),
        ({"text": "I see", "finish_reason": "stop", "message": {"refusal": None}}, "I see", False, False),
        ({"text": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", False, False),
        ({"text": [{"type": "thinking", "thinking": []}, {"type": "text", "text": "b"}]}, "b", False, False),
        ({"text": [{"type": "refusal", "refusal": "no"}]}, "", False, True),
        ({"text": ["a", "b"]}, "ab", False, False),
        ({"text": []}, "", False, True),
        ({"text": "open sesame"}, "open ***", False, False),
        ({"text": "half \ud800"}, "half ?", False, False),
    ],
)  # fmt: skip
def test_what_an_answer_says_and_how_it_ends(parts, text, cut, refused):
    found = reply(**parts)
    assert (found.text, found.cut, found.refused) == (text, cut, refused)


def test_how_an_answer_ended_is_said():
    assert reply(text="a", finish_reason="length").why == "cut at max_new_tokens"
    assert reply(text="", finish_reason="length").why == "cut at max_new_tokens, all of them spent on reasoning"
    assert reply(text="").why == "empty"
    assert reply(text="a", finish_reason="tool_calls").why == "finish_reason 'tool_calls'"
    assert reply(text="", message={"refusal": "no"}).why == "finish_reason 'refusal'"


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"choices": None}, {"choices": [None]}, {"choices": [{}]}, {"choices": {"0": 1}},
        {"choices": [{"message": 7}]}, {"choices": [{"message": {"content": 7}}]}, {"choices": [{"text": {}}]},
        {"choices": [{"message": {"content": [{"type": "text"}]}}]}, {"choices": [{"message": {"content": [7]}}]},
        chat("a", finish_reason="error").body, chat("a", error={"code": 502}).body,
        chat("a", ["x"]).body, {"choices": [{"text": "a", "logprobs": 7}]},
    ],
)  # fmt: skip
def test_what_is_no_answer_is_none(body):
    with pytest.raises((ValueError, KeyError, IndexError, TypeError, AttributeError)):
        Reply.read(body, str)


def test_no_choices_are_an_answer_that_is_none():
    found = Reply.read({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 0}}, str)
    assert (found.refused, found.cut, found.why) == (True, False, "the server returns no choices")
    assert (found.input_tokens, found.output_tokens) == (7, 0)


def test_the_choice_is_told_by_its_index():
    second, first = {"index": 1, "text": "b"}, {"index": 0, "text": "a"}
    assert Reply.read({"choices": [second, first]}, str).text == "a"
    assert Reply.read({"choices": [second]}, str).text == "b"
    assert Reply.read({"choices": [{"text": "c"}, {"text": "d"}]}, str).text == "c"


def test_log_probs_that_are_none():
    assert [log_prob(value) for value in (-0.5, 1e-9, 0, -9998.0)] == [-0.5, 0.0, 0.0, -9998.0]
    assert [log_prob(value) for value in (None, -9999.0, -99999, float("-inf"), float("nan"))] == [None] * 5
    assert reply(text="a", log_probs=[-1.0, -9999.0, None]).log_probs == (-1.0, None, None)
    assert reply(text="a", log_probs=[]).log_probs is None


def test_odd_counts_of_tokens_are_not_said():
    for usage in (
        None,
        [],
        {"prompt_tokens": -1, "completion_tokens": 1e3},
        {"prompt_tokens": "7"},
        {"prompt_tokens": True},
    ):
        found = Reply.read({**chat("a").body, "usage": usage}, str)
        assert (found.input_tokens, found.output_tokens) == (None, None)


def test_a_model_may_have_a_longer_name():
    for answered in ("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "openai/gpt-4.1-mini", "GPT_4.1_mini"):
        assert alike("gpt-4.1-mini", answered)
    assert alike("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct-turbo")
    assert not alike("gpt-4.1", "gpt-4o")
    assert not alike("big", "small")
