"""A learner behind an API, against a server on this machine that fails in every way an API does."""

import json
import logging
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fake_api import FakeApi, Say, chat, serving

from lada.core.errors import InputError, LadaError
from lada.core.terms import Likelihood, Verb
from lada.models import api_client
from lada.models.api import ApiLearner
from lada.models.api_client import back_off
from lada.models.api_meter import ApiError, Meter, Pacer, Tokens
from lada.models.api_options import ApiOptions, Budget, Prices

KEY = "sk-very-secret-1234567890"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.01)


def learner(api: FakeApi, folder: Path, **options: Any) -> ApiLearner:
    return ApiLearner(ApiOptions(base_url=api.url, model="big", cache="cache", **options), folder)


def asked(request: dict[str, Any]) -> str:
    return request["messages"][-1]["content"]


def echo(request: dict[str, Any], number: int) -> Say:
    return chat(f"answer {asked(request)}")


def texts(learner: ApiLearner, *questions: str, seed: int = 0, temperature: float = 0.0) -> list[str]:
    return [answer.text for answer in learner.answer(questions, seed=seed, temperature=temperature)]


def test_a_request_says_what_was_configured(tmp_path):
    with serving(echo) as api:
        one = learner(api, tmp_path, system="Be brief.", prompt="Q: {question}", stop=("\n\n",), log_probs=False)
        assert texts(one, "a") == ["answer Q: a"]
        assert texts(one, "a", seed=2**31 + 7, temperature=0.5) == ["answer Q: a"]
    greedy = {
        "model": "big",
        "max_tokens": 512,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: a"}],
        "temperature": 0.0,
        "stop": ["\n\n"],
    }
    assert api.requests == [greedy, {**greedy, "temperature": 0.5, "seed": 7}]
    assert api.paths == ["/v1/chat/completions"] * 2
    assert api.keys == [f"Bearer {KEY}"] * 2


def test_several_paths_are_requests_with_seeds_of_their_own(tmp_path):
    def say(request, number):
        return chat(f"{asked(request)} {request['seed']}")

    told = []
    with serving(say) as api:
        one = learner(api, tmp_path)
        found = one.sample(
            ["a", "b"], paths=3, seed=2**31 - 1, temperature=0.5, progress=lambda *state: told.append(state)
        )
        assert [[answer.text for answer in paths] for paths in found] == [
            ["a 2147483647", "a 0", "a 1"],
            ["b 2147483647", "b 0", "b 1"],
        ]
        assert len(api.requests) == 6
        assert told[-1][:3] == ("answer", 6, 6)
        # More paths ask for the new ones alone, and the first is what answer gives.
        assert [answer.text for answer in one.sample(["a"], paths=4, seed=2**31 - 1, temperature=0.5)[0]][-1] == "a 2"
        assert texts(one, "a", seed=2**31 - 1, temperature=0.5) == ["a 2147483647"]
        assert len(api.requests) == 7


def test_completions_and_a_server_without_key(tmp_path):
    def say(request, number):
        return Say({"choices": [{"text": " yes", "logprobs": {"token_logprobs": [-0.5, -0.25]}}]})

    with serving(say) as api:
        options = {"style": "completions", "key_variable": None, "log_probs": True, "temperature": None}
        one = learner(api, tmp_path, limit_name="max_completion_tokens", **options)
        (answer,) = one.answer(["a"], seed=0)
    assert api.paths == ["/v1/completions"]
    assert api.keys == [None]
    assert api.requests == [{"model": "big", "max_completion_tokens": 512, "prompt": "a", "logprobs": 1}]
    assert (answer.text, answer.likelihood) == (" yes", Likelihood(-0.75, -0.5, 2, 4))
    assert one.verbs == {Verb.ANSWER, Verb.CONFIDENCE}


def test_log_probs_become_a_likelihood(tmp_path):
    with serving(lambda request, number: chat("né", [-1.0, 1e-9, -0.5])) as api:
        (answer,) = learner(api, tmp_path, log_probs=True).answer(["a"], seed=0)
    assert answer.likelihood == Likelihood(-1.5, -1.0, 3, 3)
    assert api.requests[0]["logprobs"] is True


def test_without_log_probs_the_likelihood_is_unknown(tmp_path):
    with serving(echo) as api:
        one = learner(api, tmp_path)
        (answer,) = one.answer(["a"], seed=0)
    assert answer.likelihood == Likelihood.unknown(8)
    assert not answer.likelihood.known
    assert one.verbs == {Verb.ANSWER}


def test_an_empty_answer_is_no_sure_one(tmp_path):
    with serving(lambda request, number: chat(None)) as api:
        (answer,) = learner(api, tmp_path, log_probs=True).answer(["a"], seed=0)
    assert answer.text == ""
    assert math.isnan(answer.likelihood.mean)


def test_log_probs_that_do_not_come_stop_the_run(tmp_path):
    with serving(echo) as api, pytest.raises(InputError, match="returns no log-probs for model 'big'; set log_probs"):
        learner(api, tmp_path, log_probs=True).answer(["a"], seed=0)


def test_answers_come_in_order_and_no_more_requests_at_once_than_allowed(tmp_path):
    def say(request, number):
        time.sleep(0.06 if asked(request) in ("q0", "q3") else 0.02)
        return echo(request, number)

    told = []
    questions = [f"q{i}" for i in range(9)] + ["q0"]
    with serving(say) as api:
        one = learner(api, tmp_path, concurrency=3)
        answers = one.answer(questions, seed=0, progress=lambda *state: told.append(state))
    assert [answer.text for answer in answers] == [f"answer {question}" for question in questions]
    assert api.most_at_once == 3
    assert len(api.requests) == 9  # the same question once
    assert told[-1] == ("answer", 9, 10, 45)


@pytest.mark.parametrize(
    "fault",
    [
        Say("slow down", 429),
        Say("slow down", 429, {"Retry-After": "0"}),
        Say("oh", 500),
        Say("", 503),
        Say('{"choices": [{"message": {"cont'),
        Say({"error": "overloaded"}),
        Say([]),
    ],
)
def test_what_may_pass_is_asked_again(fault, tmp_path):
    with serving(lambda request, number: fault if number < 2 else echo(request, number)) as api:
        assert texts(learner(api, tmp_path), "a") == ["answer a"]
        assert len(api.requests) == 3


def test_silence_is_asked_again(tmp_path):
    gate = threading.Event()

    def say(request, number):
        if number == 0:
            gate.wait(5)
        return echo(request, number)

    with serving(say) as api:
        assert texts(learner(api, tmp_path, timeout=0.3), "a") == ["answer a"]
        gate.set()
        assert len(api.requests) == 2


def test_a_server_that_is_not_there(tmp_path):
    nobody = FakeApi(echo, url="http://127.0.0.1:1/v1")
    with pytest.raises(ApiError, match="attempts: 2, the last: no connection"):
        texts(learner(nobody, tmp_path, retries=1), "a")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "check the key in the environment variable OPENAI_API_KEY"),
        (404, "check base_url"),
        (307, "status 307"),
    ],
)
def test_what_will_not_pass_stops_at_once(status, told, tmp_path):
    with serving(lambda request, number: Say(f"no: {KEY}", status)) as api:
        with pytest.raises(InputError) as error:
            texts(learner(api, tmp_path, concurrency=1), "a", "b", "c")
        assert len(api.requests) == 1
    message = str(error.value)
    assert told in message
    assert all(part in message for part in (api.url, "'big'", "no: ***"))
    assert KEY not in message


def test_the_wait_before_asking_again(monkeypatch):
    monkeypatch.setattr(api_client, "FIRST_WAIT", 1.0)
    for attempt, most in enumerate((1, 2, 4, 8, 16, 32, 60, 60)):
        waits = {back_off(attempt, None, f"request {i}") for i in range(50)}
        assert len(waits) == 50
        assert most / 2 <= min(waits) < 0.6 * most
        assert 0.9 * most < max(waits) <= most
    assert back_off(3, None, "a") == back_off(3, None, "a")
    assert back_off(3, 90.0, "a") == 90.0


def test_the_server_s_wait_is_kept(tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(api_client.ApiClient, "_sleep", lambda self, seconds: slept.append(seconds))
    fault = Say("", 429, {"Retry-After": "40"})
    with serving(lambda request, number: fault if number == 0 else echo(request, number)) as api:
        texts(learner(api, tmp_path), "a")
    assert slept == [0.0, 40.0, 0.0]


def test_a_wait_that_is_too_long_ends_the_run(tmp_path):
    with serving(lambda request, number: Say("", 429, {"Retry-After": "601"})) as api:
        with pytest.raises(ApiError, match=r"attempts: 1, the last: status 429:  \(it asks to wait 601 s\)"):
            texts(learner(api, tmp_path), "a")
        assert len(api.requests) == 1


def test_requests_are_spread_over_a_minute():
    now = [100.0]
    pacer = Pacer(30, clock=lambda: now[0])
    assert [pacer.delay() for _ in range(3)] == [0.0, 2.0, 4.0]
    now[0] = 103.0
    assert pacer.delay() == 3.0
    now[0] = 200.0
    assert pacer.delay() == 0.0
    assert [Pacer(None).delay() for _ in range(3)] == [0.0] * 3


def test_nothing_is_asked_twice_after_a_crash(tmp_path):
    def crash_at_c(request, number):
        return Say("no", 401) if asked(request) == "c" else echo(request, number)

    with serving(crash_at_c) as api:
        with pytest.raises(InputError):
            texts(learner(api, tmp_path, concurrency=1), "a", "b", "c", "d")
        assert [asked(request) for request in api.requests] == ["a", "b", "c"]
        api.say = echo
        again = learner(api, tmp_path)
        assert texts(again, "a", "b", "c", "d", seed=5) == [f"answer {q}" for q in "abcd"]
        assert sorted(asked(request) for request in api.requests[3:]) == ["c", "d"]
        assert again.spent == "2 requests, 20 input and 10 output tokens"
        texts(again, "a", seed=5, temperature=0.5)  # other settings are another request
        assert len(api.requests) == 6
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"ab\n{}", None])
def test_a_damaged_entry_is_asked_for_again(damage, tmp_path):
    with serving(echo) as api:
        texts(learner(api, tmp_path), "a")
        (entry,) = tmp_path.rglob("*.json")
        whole = entry.read_bytes()
        entry.write_bytes(whole.replace(b"answer", b"anzwer") if damage is None else damage)
        assert texts(learner(api, tmp_path), "a") == ["answer a"]
        assert entry.read_bytes() == whole
        assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ({"requests": 2}, "budget.requests: 2 has no room"),
        # A request of 92 bytes and at most 20 new tokens may take 112; it takes 10 + 5.
        ({"tokens": 141}, "budget.tokens: 141 has no room"),
        ({"cost": 0.000141}, "budget.cost: 0.000141 has no room"),
    ],
)
def test_a_budget_ends_a_run_before_it_is_passed(budget, told, tmp_path):
    with serving(echo) as api:
        options = {"budget": Budget(**budget), "prices": Prices(input=1.0, output=1.0), "max_new_tokens": 20}
        one = learner(api, tmp_path, **options)
        with pytest.raises(ApiError) as error:
            texts(one, "a", "b", "c", "d")
        assert len(api.requests) == 2
        message = str(error.value)
        assert told in message
        assert "spent: 2 requests, 20 input and 10 output tokens, cost 0.0000" in message
        assert f"kept in {str(tmp_path / 'cache')!r}" in message
        kept = [asked(request) for request in api.requests]
        assert texts(one, *kept) == [f"answer {question}" for question in kept]  # the cache costs nothing
        assert len(api.requests) == 2


def test_what_is_not_told_counts_at_its_most(tmp_path):
    def say(request, number):
        return Say("cut off") if number == 0 else chat("a", usage=None)

    with serving(say) as api:
        one = learner(api, tmp_path, max_new_tokens=7)
        texts(one, "a")
    size = len(json.dumps(api.requests[0]))
    assert one.spent == f"2 requests, {2 * size} input and 14 output tokens"


def test_the_meter_counts_cost():
    meter = Meter(Budget(), Prices(input=2.0, output=10.0))
    meter.reserve(Tokens(5_000_000, 5_000_000))
    meter.settle(Tokens(5_000_000, 5_000_000), Tokens(1_500_000, 250_000))
    assert str(meter) == "1 request, 1,500,000 input and 250,000 output tokens, cost 5.5000"


def test_a_missing_key_is_told_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    nobody = FakeApi(echo, url="http://127.0.0.1:1/v1")
    with pytest.raises(InputError, match="the environment variable OPENAI_API_KEY is not set"):
        learner(nobody, tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY} {KEY}")
    with pytest.raises(InputError) as error:
        learner(nobody, tmp_path)
    assert KEY not in str(error.value)


def test_more_of_a_request_and_secrets_in_other_headers(tmp_path, monkeypatch):
    monkeypatch.setenv("AZURE_KEY", "azure/secret+1234567890")

    def say(request, number):
        # JSON may write a slash with a backslash.
        return Say(json.dumps(chat("azure/secret+1234567890 is my key").body).replace("/", "\\/"))

    more = {"top_p": 0.5, "chat_template_kwargs": {"enable_thinking": False}}
    headers = {"extra_headers": {"X-Title": "LaDa"}, "secret_headers": {"api-key": "AZURE_KEY"}, "key_variable": None}
    with serving(say) as api:
        one = learner(api, tmp_path, reasoning_effort="low", extra_body=more, **headers)
        assert texts(one, "a") == ["*** is my key"]
        assert {**api.requests[0], "reasoning_effort": "low", **more} == api.requests[0]
        assert (api.headers[0]["api-key"], api.headers[0]["X-Title"]) == ("azure/secret+1234567890", "LaDa")
        assert api.keys == [None]
        assert not any(b"azure/secret" in file.read_bytes() for file in tmp_path.rglob("*.json"))
        # Headers that are known may change an answer; a secret does not.
        monkeypatch.setenv("AZURE_KEY", "azure/another+1234567890")
        again = learner(api, tmp_path, reasoning_effort="low", extra_body=more, **headers)
        assert texts(again, "a") == ["*** is my key"]
        assert len(api.requests) == 1
        headers["extra_headers"] = {"X-Title": "other"}
        texts(learner(api, tmp_path, reasoning_effort="low", extra_body=more, **headers), "a")
        assert len(api.requests) == 2


def test_what_is_wrong_with_answers_is_told_once(tmp_path):
    def say(request, number):
        match asked(request):
            case "cut":
                return chat("half", [-0.5], finish_reason="length")
            case "unsaid":
                return chat("one two", [-0.5, -9999.0])
            case "other":
                return chat("yes", [-0.5], model="small")
        return chat("yes", [-0.5], model="org/Big-2025", finish_reason="stop")

    with serving(say) as api:
        one = learner(api, tmp_path, log_probs=True)
        cut, unsaid, other, whole = one.answer(["cut", "unsaid", "other", "whole"], seed=0)
        assert (cut.text, cut.cut, cut.refused) == ("half", True, False)
        assert math.isnan(unsaid.likelihood.total)
        assert not unsaid.likelihood.known
        assert whole.likelihood == other.likelihood == Likelihood(-0.5, -0.5, 1, 3)
        assert [answer.cut or answer.refused for answer in (unsaid, other, whole)] == [False] * 3
        assert one.take_notices() == (
            "1 answer is not whole; the first: cut at max_new_tokens",
            "1 answer comes without a log-prob of every token, so their confidence is unknown",
            "1 answer comes from another model than 'big'; the first: 'small'",
        )
        assert one.take_notices() == ()


@pytest.mark.parametrize("words", [False, True])
def test_a_model_that_only_thinks_is_not_paid_for_ever(words, tmp_path):
    def say(request, number):
        return echo(request, number) if words and number == 0 else chat("", finish_reason="length")

    questions = [f"q{i}" for i in range(50)]
    with serving(say) as api:
        one = learner(api, tmp_path, concurrency=1)
        if words:
            assert sum(answer.refused for answer in one.answer(questions, seed=0)) == 49
        else:
            with pytest.raises(InputError, match="max_new_tokens: 512 are spent on reasoning in all of the first 32"):
                one.answer(questions, seed=0)
            assert len(api.requests) < 50


def test_an_answer_that_cannot_be_kept_stops_the_run(tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lada.models.api_cache.os.replace", full)
    with serving(echo) as api:
        with pytest.raises(ApiError, match=r"model.api.cache: .* cannot be written to .*: No space left on device"):
            texts(learner(api, tmp_path, concurrency=1), "a", "b", "c")
        assert len(api.requests) == 1


def test_a_word_in_the_place_of_a_key_may_stand_in_an_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "answer")
    with serving(echo) as api:
        assert texts(learner(api, tmp_path), "a") == ["answer a"]


def test_the_key_is_nowhere(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told = []
    for status in (200, 401, 500):
        with serving(lambda request, number, status=status: Say({"echo": KEY, **chat(KEY).body}, status)) as api:
            one = learner(api, tmp_path, retries=0)
            told += [repr(one), repr(vars(one)), one.spent, repr(one._options)]
            try:
                told += texts(one, f"a{status}")
            except LadaError as error:
                told += [repr(error), repr(error.__cause__), repr(error.__context__)]
    files = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    out, err = capfd.readouterr()
    assert len(files) == 1
    assert "***" in files[0]
    assert len(told) == 19
    assert all(KEY not in text for text in (*told, *files, out, err, caplog.text))


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("judge", [[]]),
        ("log_probs", [[], 3]),
        ("vocabulary", []),
        ("tokenize", [[]]),
        ("embed", [[]]),
        ("read", [[]]),
        ("adapter", []),
        ("load_adapter", [{}]),
    ],
)
def test_other_verbs_are_refused(verb, arguments, tmp_path):
    one = learner(FakeApi(echo, url="http://127.0.0.1:1/v1"), tmp_path)
    with pytest.raises(InputError, match="'big' is behind an API and cannot"):
        getattr(one, verb)(*arguments)


def test_there_is_nothing_to_save(tmp_path):
    one = learner(FakeApi(echo, url="http://127.0.0.1:1/v1"), tmp_path)
    (tmp_path / "model").mkdir()
    one.save(tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())


def test_a_cache_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="cannot be created"):
        learner(FakeApi(echo, url="http://127.0.0.1:1/v1"), tmp_path)
