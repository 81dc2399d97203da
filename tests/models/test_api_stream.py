"""Replies as servers write them: as a stream nobody asked for, behind a byte order mark, in other charsets."""

import json
from typing import Any

import pytest
from fake_api import Say, chat, serving

from lada.models.api import ApiLearner
from lada.models.api_options import ApiOptions
from lada.models.api_reply import Reply
from lada.models.api_stream import is_stream, joined
from lada.models.api_transport import decoded


def stream(*parts: dict[str, Any], done: bool = True) -> str:
    said = [f"data: {json.dumps(part, ensure_ascii=False)}" for part in parts]
    lines = [": PROCESSING", *said, *(["data: [DONE]"] if done else [])]
    return "\n\n".join(lines) + "\n\n"


def part(index: int = 0, finish: str | None = None, log_prob: float | None = None, **delta: Any) -> dict[str, Any]:
    told = None if log_prob is None else {"content": [{"token": "x", "logprob": log_prob}]}
    return {"model": "big", "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": told}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}


def test_the_parts_of_a_stream_are_one_reply():
    text = stream(
        part(role="assistant", content=""), part(1, content="other"), part(content="so\u2028", log_prob=-0.5),
        part(content="4", log_prob=-0.25), part(finish="length"), part(1, finish="stop"), USAGE,
    )  # fmt: skip
    assert is_stream(text)
    found = Reply.read(joined(text), str)
    assert (found.text, found.log_probs, found.finish, found.model) == ("so\u20284", (-0.5, -0.25), "length", "big")
    assert (found.input_tokens, found.output_tokens) == (3, 2)


def test_completions_come_in_parts_too():
    parts = [
        {"choices": [{"text": text, "logprobs": {"tokens": [text], "token_logprobs": [value]}}]}
        for text, value in (("a", -1.0), ("b", -2.0))
    ]
    found = Reply.read(joined(stream(*parts)), str)
    assert (found.text, found.log_probs) == ("ab", (-1.0, -2.0))


def test_a_stream_is_whole_or_none():
    assert joined(stream(part(content="so "), done=False)) is None
    assert joined(stream(part(content="so", finish="stop"), done=False)) is not None
    assert joined(stream()) == {"choices": []}
    assert joined("data: {\n\ndata: [DONE]") is None
    assert joined("data: 7\n\ndata: [DONE]") is None
    assert joined("data: " + "[" * 100_000) is None
    assert joined(stream(part(content="so"), {"error": {"code": 502}})) == {"error": {"code": 502}}
    assert not is_stream('{"data": 1}')
    assert not is_stream("")


@pytest.mark.parametrize(
    ("encoding", "charset"),
    [
        ("utf-8", None), ("utf-8-sig", None), ("utf-8-sig", "utf-8"), ("utf-16", None), ("utf-16-le", None),
        ("latin-1", "iso-8859-1"), ("cp1252", "windows-1252"), ("utf-16", "utf-16"), ("utf-8", "no-such"),
        ("utf-8", "base64"), ("utf-8", "idna"), ("utf-8", "undefined"),
    ],
)  # fmt: skip
def test_a_response_is_read_in_its_charset(encoding, charset):
    text = json.dumps(chat("né").body, ensure_ascii=False)
    if charset != "idna":
        assert decoded(text.encode(encoding), charset) == text
    assert decoded(b"\xff", "utf-8") == "\ufffd"


def test_a_mark_and_a_stream_cost_one_request(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    bodies = ["\ufeff" + json.dumps(chat("né").body), stream(part(content="né", finish="stop"))]
    with serving(lambda request, number: Say(bodies[number])) as api:
        more: dict[str, Any] = {"cache": "cache", "key_variable": None, "concurrency": 1}
        options = ApiOptions(base_url=api.url, model="big", **more)
        one = ApiLearner(options, tmp_path)
        assert [answer.text for answer in one.answer(["a", "b"], seed=0)] == ["né", "né"]
        assert len(api.requests) == 2
