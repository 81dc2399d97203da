"""Faults of a server, each in each place: every question is answered once or counted, and nothing is paid twice."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, Say, chat, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lada.core.errors import InputError
from lada.models import api_client, api_transport
from lada.models.api import ApiLearner
from lada.models.api_meter import ApiError
from lada.models.api_options import ApiOptions
from lada.models.base import Answer

KEY = "sk-very/secret+1234567890"
QUESTIONS = [f"q{i}" for i in range(5)]
RETRIES = 2

PASSING = {
    "rate limit": Say({"error": {"message": "Rate limit", "code": "rate_limit_exceeded"}}, 429),
    "rate limit with milliseconds": Say("", 429, {"retry-after-ms": "2", "Retry-After": "3000"}),
    "overloaded": Say("<html><title>503 Busy</title></html>", 503, {"Retry-After": "0"}),
    "broken gateway": Say("<!doctype html><title>502</title>", 502),
    "error of the server": Say({"error": {"message": "oh"}}, 500),
    "request timeout": Say("", 408),
    "error in the place of an answer": Say({"error": {"message": "upstream", "code": 502}}),
}
"""Failures that nobody pays for, which may pass."""
BROKEN = {
    "no JSON": Say("oops"),
    "half an answer": Say('{"choices": [{"message": {"content": "answ'),
    "a connection that breaks": Say({}, headers={"Content-Length": "1000"}),
    "a stream that breaks": Say('data: {"choices": [{"delta": {"content": "answ"}}]}\n\n'),
    "null": Say("null"),
    "depth": Say("[" * 100_000),
    "an answer that failed": chat("answ", finish_reason="error"),
    "too much": Say("x" * 70_000),
}
"""Failures that may have been paid for."""
SLOW = {
    "silence": Say("", pause=9.0),
    "a drip": Say({"choices": "x" * 1000}, pause=0.02),
}
"""The same, of servers that keep one waiting."""
REFUSED = {
    "a filter": Say({"error": {"message": "filtered", "code": "content_filter", "param": "prompt"}}, 400),
    "too long": Say({"error": {"message": "context length exceeded"}}, 400),
    "moderation": Say({"error": {"message": "Input was flagged by moderation"}}, 403),
    "a bare 400": Say("Bad Request", 400),
    "a body too large": Say("<html><title>413</title></html>", 413),
    "unprocessable": Say({"detail": []}, 422),
}
"""Refusals of one question, which nobody pays for."""
NONE = {
    "content_filter": chat("a", finish_reason="content_filter"),
    "refusal": chat(None, message={"refusal": "I cannot"}),
    "tool_calls": chat(None, finish_reason="tool_calls", message={"tool_calls": [{"id": "1"}]}),
    "reasoning": chat("", finish_reason="length", message={"reasoning_content": "hm"}),
    "nothing": chat("", finish_reason="stop"),
    "no choices": Say({"choices": []}),
    "no content, all reasoning": Say({"choices": [{"message": {"role": "assistant"}, "finish_reason": "length"}]}),
    "no content": Say({"choices": [{"message": {"role": "assistant"}, "finish_reason": "stop"}]}),
    "no message": Say({"choices": [{"finish_reason": "stop"}]}),
}
"""Answers that are none; they are paid for."""
STOPPING = {
    "wrong key": (Say({"error": {"message": f"wrong key {KEY}"}}, 401), InputError, "check the key in the environment"),
    "no money": (Say({"error": {"message": "Insufficient Balance"}}, 402), ApiError, "has nothing left"),
    "forbidden": (Say("", 403), InputError, "check the key in the environment"),
    "no model": (Say({"error": {"code": "model_not_found"}}, 404), InputError, "check base_url"),
    "no quota": (Say({"error": {"code": "insufficient_quota"}}, 429), ApiError, "has nothing left"),
    "an option": (Say({"error": {"param": "temperature"}}, 400), InputError, "take these options"),
    "a redirect": (Say("", 302, {"Location": "https://x.org/"}), InputError, "redirects requests to 'https://x.org/'"),
    "a web page": (Say("<!doctype html><html><title>Welcome</title>"), InputError, "a web page, 'Welcome'"),
    "a long wait": (Say("", 429, {"Retry-After": "9999"}), ApiError, "asks to wait 9999 s"),
}
"""Failures of all questions, whichever meets them."""


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(api_transport, "LARGEST", 60_000)


def asked(request: dict[str, Any]) -> str:
    return request["messages"][-1]["content"]


def learner(api: FakeApi, folder: Path, **options: Any) -> ApiLearner:
    more = {"retries": RETRIES, "concurrency": 1, **options}
    return ApiLearner(ApiOptions(base_url=api.url, model="big", cache="cache", **more), folder)


def faulty(where: str, fault: Say, times: int) -> Callable[[dict[str, Any], int], Say]:
    """Answer with a fault, so many times, where one question is asked; else well."""
    left = [times]

    def say(request: dict[str, Any], number: int) -> Say:
        if asked(request) == where and left[0]:
            left[0] -= 1
            return fault
        return chat(f"answer {asked(request)}")

    return say


def texts(answers: list[Answer]) -> list[str | None]:
    return [None if answer.refused else answer.text for answer in answers]


def expected(but: str | None = None) -> list[str | None]:
    return [None if question == but else f"answer {question}" for question in QUESTIONS]


def counted(one: ApiLearner) -> int:
    """The number of answers that the notices call missing."""
    found = [re.match(r"(\d+) (requests? to|answers? (are|is) none)", text) for text in one.take_notices()]
    return sum(int(match[1]) for match in found if match)


PLACES = ("q0", "q2", "q4")


@pytest.mark.parametrize("fault", SLOW)
def test_nobody_waits_for_ever(fault, tmp_path):
    with serving(faulty("q2", SLOW[fault], 1)) as api:
        limit = {"timeout": 1.5} if fault == "silence" else {"time_limit": 1.5}
        one = learner(api, tmp_path, **limit)
        assert texts(one.answer(QUESTIONS, seed=0)) == expected()
        assert Counter(map(asked, api.requests)) == {**dict.fromkeys(QUESTIONS, 1), "q2": 2}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", [*PASSING, *BROKEN])
def test_what_passes_is_asked_again_and_nothing_else(fault, place, tmp_path):
    with serving(faulty(place, {**PASSING, **BROKEN}[fault], 1)) as api:
        one = learner(api, tmp_path)
        assert texts(one.answer(QUESTIONS, seed=0)) == expected()
        assert Counter(map(asked, api.requests)) == {**dict.fromkeys(QUESTIONS, 1), place: 2}
        # A server that knows the header answers a request that came twice once.
        names = {
            (asked(request), each["Idempotency-Key"]) for request, each in zip(api.requests, api.headers, strict=True)
        }
        assert len(names) == len(QUESTIONS)
        assert counted(one) == 0
        assert texts(learner(api, tmp_path).answer(QUESTIONS, seed=1)) == expected()
        assert len(api.requests) == len(QUESTIONS) + 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", REFUSED)
def test_a_refused_question_is_left_out_and_counted(fault, place, tmp_path):
    with serving(faulty(place, REFUSED[fault], 99)) as api:
        one = learner(api, tmp_path)
        assert texts(one.answer(QUESTIONS, seed=0)) == expected(but=place)
        assert counted(one) == 1
        assert Counter(map(asked, api.requests)) == dict.fromkeys(QUESTIONS, 1)
        # In later rounds nothing is asked again; in another run only what nobody has paid for.
        assert texts(one.answer(QUESTIONS, seed=0)) == expected(but=place)
        assert len(api.requests) == len(QUESTIONS)
        assert texts(learner(api, tmp_path).answer(QUESTIONS, seed=0)) == expected(but=place)
        assert [asked(request) for request in api.requests[len(QUESTIONS) :]] == [place]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", NONE)
def test_an_answer_that_is_none_is_paid_for_once_and_counted(fault, place, tmp_path):
    with serving(faulty(place, NONE[fault], 99)) as api:
        for _ in range(2):
            one = learner(api, tmp_path)
            found = one.answer(QUESTIONS, seed=0)
            assert texts(found) == expected(but=place)
            assert [answer.text for answer in found if answer.refused] == [""]
            assert counted(one) == 1
        assert Counter(map(asked, api.requests)) == dict.fromkeys(QUESTIONS, 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", STOPPING)
def test_what_concerns_all_stops_and_keeps_what_was_paid_for(fault, place, tmp_path):
    say, kind, told = STOPPING[fault]
    with serving(faulty(place, say, 1)) as api:
        with pytest.raises(kind) as error:
            learner(api, tmp_path).answer(QUESTIONS, seed=0)
        assert told in str(error.value)
        assert KEY not in str(error.value)
        before = QUESTIONS.index(place)
        assert len(api.requests) == before + 1
        assert ("kept in" in str(error.value)) == (kind is ApiError or before > 0)
        assert texts(learner(api, tmp_path).answer(QUESTIONS, seed=0)) == expected()
        assert Counter(map(asked, api.requests)) == {**dict.fromkeys(QUESTIONS, 1), place: 2}


FAILING = {
    "error of the server": PASSING["error of the server"],
    "overloaded": PASSING["overloaded"],
    "no JSON": BROKEN["no JSON"],
    "a reset": BROKEN["a connection that breaks"],
    "no content": Say("", 204),
    "a drip": SLOW["a drip"],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAILING)
def test_one_question_that_never_gets_an_answer_is_left_out_in_each_run(fault, place, tmp_path):
    """Whether the others are answered before, behind or in an earlier run, whose answers are in the cache."""
    slow = {"time_limit": 0.6, "retries": 0} if fault == "a drip" else {}
    tries = 1 if slow else RETRIES + 1
    with serving(faulty(place, FAILING[fault], 99)) as api:
        for run in range(2):
            one = learner(api, tmp_path, **slow)
            assert texts(one.answer(QUESTIONS, seed=0)) == expected(but=place)
            (notice,) = one.take_notices()
            assert notice.startswith(f"1 request to answer failed; the first: no answer; attempts: {tries}, the last: ")
            assert Counter(map(asked, api.requests)) == {**dict.fromkeys(QUESTIONS, 1), place: tries * (2 * run + 1)}
            assert texts(one.answer([place], seed=0)) == [None]  # alone, behind answers of this run


def test_a_server_that_answers_nobody_stops_the_run_behind_several_questions(tmp_path, monkeypatch):
    with serving(lambda request, number: Say("", 503)) as api:
        with pytest.raises(ApiError, match="5 requests in a row failing, the last with no answer; attempts: 3"):
            learner(api, tmp_path).answer(QUESTIONS, seed=0)
        assert Counter(map(asked, api.requests)) == dict.fromkeys(QUESTIONS, 3)
        monkeypatch.setattr(api_client, "FAILED", 2)
        with pytest.raises(ApiError, match="2 requests in a row"):
            learner(api, tmp_path).answer(QUESTIONS, seed=0)
        assert len(api.requests) < 15 + 4 * 3
        with pytest.raises(ApiError, match="1 request in a row"):
            learner(api, tmp_path).answer(["a"], seed=0)


def test_a_server_that_dies_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(api_client, "REFUSED", 3)
    with serving(lambda request, number: chat("yes") if number == 0 else Say("", 503)) as api:
        one = learner(api, tmp_path, retries=0)
        with pytest.raises(ApiError, match="3 requests in a row failing"):
            one.answer(QUESTIONS, seed=0)
        assert [asked(request) for request in api.requests][:4] == QUESTIONS[:4]


def test_a_server_that_refuses_whatever_it_is_asked_stops_the_run(tmp_path, monkeypatch):
    refuse = Say({"error": {"message": "logprobs are not supported"}}, 400)
    with serving(lambda request, number: refuse) as api:
        with pytest.raises(
            InputError, match="refuses all 5 requests to model 'big', the first with status 400: logprobs"
        ):
            learner(api, tmp_path).answer(QUESTIONS, seed=0)
        with pytest.raises(InputError, match="refuses 1 request to model"):
            learner(api, tmp_path).answer(["a"], seed=0)
        monkeypatch.setattr(api_client, "REFUSED", 2)
        with pytest.raises(InputError, match="refuses all 2 requests"):
            learner(api, tmp_path).answer(QUESTIONS, seed=0)
    with serving(lambda request, number: REFUSED["too long"]) as api:
        assert learner(api, tmp_path).answer(["a"], seed=0)[0].refused  # that it is the question's fault is said


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(
        st.lists(st.sampled_from([*PASSING, *REFUSED, *NONE, "no JSON", "half an answer", "an answer"]), max_size=2),
        min_size=1, max_size=6,
    ),
    concurrency=st.integers(1, 4),
)  # fmt: skip
def test_whatever_happens_each_question_is_answered_once_or_counted(script, concurrency, tmp_path_factory):
    """Each question has its own list of faults, one per attempt, behind which it is answered."""
    faults = {**PASSING, **BROKEN, **REFUSED, **NONE}
    attempts: Counter[str] = Counter()
    answered: Counter[str] = Counter()

    def say(request: dict[str, Any], number: int) -> Say:
        question = asked(request)
        row, place = script[int(question)], attempts[question]
        attempts[question] += 1
        name = row[place] if place < len(row) else "an answer"
        answered[question] += name in NONE or name == "an answer"
        return faults.get(name, chat(f"answer {question}"))

    questions, folder = [str(i) for i in range(len(script))], tmp_path_factory.mktemp("answers")
    with serving(say) as api:
        one = learner(api, folder, concurrency=concurrency)
        try:
            found = one.answer(questions, seed=0)
        except InputError:  # all were refused
            assert not answered.total()
            return
        for question, answer in zip(questions, found, strict=True):
            assert answer.refused or answer.text == f"answer {question}"
        assert counted(one) == sum(answer.refused for answer in found)
        assert max(answered.values(), default=0) <= 1
        total = len(api.requests)
        whole = [question for question, answer in zip(questions, found, strict=True) if not answer.refused]
        assert not any(answer.refused for answer in learner(api, folder).answer(whole, seed=0))
        assert len(api.requests) == total
