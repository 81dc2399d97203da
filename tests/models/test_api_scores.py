"""A teacher behind an API that scores texts is the same teacher as at hand."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_api import FakeApi, Say, serving
from fake_vllm import scoring
from hypothesis import given
from hypothesis import strategies as st

from lada.alignment import check_scores
from lada.core.errors import InputError
from lada.core.terms import Verb
from lada.models import api_client
from lada.models.api import ApiLearner
from lada.models.api_options import ApiOptions
from lada.models.api_scores import first_of, likeliest
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load, load_tokenizer
from lada.models.options import ModelOptions
from lada.zoo.shipped import locate

PAIRS = [
    ("a box holds 4 . two more come .", "4 plus 2 makes 6 . answer 6"),
    ("how many ?", "answer 9"),
    ("a box", "box"),
]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)


@pytest.fixture(scope="module", params=["slm-llama", "slm-gpt2"])
def local(request: pytest.FixtureRequest) -> HuggingFaceLearner:
    return load(locate(f"zoo:{request.param}"), ModelOptions(model=request.param, device="cpu"))


def remote(api: FakeApi, folder: Path, **options: Any) -> ApiLearner:
    more = {"style": "completions", "prompt": "{question}\n", "key_variable": None, "cache": "cache", **options}
    return ApiLearner(ApiOptions(base_url=api.url, model="big", **more), folder)


def by_tokens(local: HuggingFaceLearner) -> dict[str, Any]:
    return {"scores": "prompt_logprobs", "tokenizer": locate(f"zoo:{local.name}")}


def test_with_a_tokenizer_it_judges_as_the_model_at_hand(local, tmp_path):
    with serving(scoring(local)) as api:
        one = remote(api, tmp_path, **by_tokens(local))
        assert one.verbs == {Verb.ANSWER, Verb.EXPLAIN, Verb.JUDGE, Verb.LOG_PROBS}
        for found, expected in zip(one.judge(PAIRS), local.judge(PAIRS), strict=True):
            assert (found.tokens, found.size) == (expected.tokens, expected.size)
            assert found.total == pytest.approx(expected.total, abs=1e-3)
            assert found.minimum == pytest.approx(expected.minimum, abs=1e-3)
        one.judge(PAIRS)
        assert len(api.requests) == len(PAIRS) + 2  # paid for once, and an answer to try it out
        assert one.take_notices() == ()


@pytest.mark.parametrize(("k", "most"), [(1, 20), (5, 20), (32, 20), (32, 4)])
def test_with_a_tokenizer_it_names_the_same_tokens(local, k, most, tmp_path):
    with serving(scoring(local)) as api:
        one = remote(api, tmp_path, **by_tokens(local), top_log_probs=most)
        assert one.vocabulary() == local.vocabulary()
        for found, expected in zip(one.log_probs(PAIRS, k), local.log_probs(PAIRS, min(k, most)), strict=True):
            assert found is not None
            assert expected is not None
            check_scores(found, len(local.vocabulary().tokens))
            assert np.array_equal(found.tokens, expected.tokens)
            assert np.array_equal(found.offsets, expected.offsets)
            assert np.array_equal(found.top.ids, expected.top.ids)
            np.testing.assert_allclose(found.top.log_probs, expected.top.log_probs, atol=1e-3)


@pytest.mark.parametrize("scores", ["prompt_logprobs", "echo"])
@pytest.mark.parametrize("partial", ["\ufffd", ""])
def test_without_a_tokenizer_it_judges_all_but_the_end(local, scores, partial, tmp_path):
    with serving(scoring(local, partial)) as api:
        one = remote(api, tmp_path, scores=scores)
        assert one.verbs == {Verb.ANSWER, Verb.EXPLAIN, Verb.JUDGE}
        expected = local.log_probs(PAIRS, 1)
        for found, scored, (_, text) in zip(one.judge(PAIRS), expected, PAIRS, strict=True):
            assert scored is not None
            own = scored.own()[:-1]
            assert (found.tokens, found.size) == (len(own), len(text))
            assert found.total == pytest.approx(own.sum(), abs=1e-3)


def test_a_chat_template_stands_where_the_model_has_one(local, tmp_path):
    folder = tmp_path / "tokenizer"
    tokenizer = load_tokenizer(locate(f"zoo:{local.name}"))
    tokenizer.chat_template = "{% for m in messages %}{{m['role']}} : {{m['content']}}\n{% endfor %}answer : "
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text((Path(locate(f"zoo:{local.name}")) / "config.json").read_text())
    chat = load(locate(f"zoo:{local.name}"), ModelOptions(model=local.name, device="cpu"))
    chat = HuggingFaceLearner(chat.model, tokenizer, ModelOptions(model=local.name, device="cpu", system="sum up ."))
    with serving(scoring(local)) as api:
        options = {"style": "chat", "system": "sum up .", "prompt": "{question}", "tokenizer": str(folder)}
        one = remote(api, tmp_path, scores="prompt_logprobs", **options)
        for found, expected in zip(one.judge(PAIRS), chat.judge(PAIRS), strict=True):
            assert found.tokens == expected.tokens
            assert found.total == pytest.approx(expected.total, abs=1e-3)
        with pytest.raises(InputError, match="has no chat template, which style 'chat' needs"):
            remote(api, tmp_path, scores="prompt_logprobs", **{**options, "tokenizer": locate(f"zoo:{local.name}")})


def test_what_a_server_does_not_say_is_refused_and_counted(local, tmp_path):
    honest = scoring(local)

    def say(request: dict[str, Any], number: int) -> Say:
        said = honest(request, number)
        rows = said.body["choices"][0].get("prompt_logprobs")
        if number == 2:  # a token of which it says nothing, in vLLM's words
            next(iter(rows[-1].values()))["logprob"] = -9999.0
        elif number == 3:  # other tokens than those asked for
            del rows[-2]
        return said

    with serving(say) as api:
        one = remote(api, tmp_path, **by_tokens(local), concurrency=1)
        first, second, third = one.judge(PAIRS)
        assert [math.isnan(each.total) for each in (first, second, third)] == [True, True, False]
        assert not first.known
        assert one.take_notices() == (
            "2 texts are not scored, since the server says no log-prob of every token, or other tokens than theirs",
        )


def test_a_text_that_the_server_refuses_is_left_out_and_counted(local, tmp_path):
    honest = scoring(local)
    refuse = Say({"error": {"message": "context length exceeded"}}, 400)
    with serving(lambda request, number: refuse if number == 3 else honest(request, number)) as api:
        one = remote(api, tmp_path, **by_tokens(local), concurrency=1)
        assert [scores is None for scores in one.log_probs(PAIRS, 3)] == [False, True, False]
        assert one.take_notices()[0] == (
            "1 request to log_probs failed; the first: status 400: context length exceeded"
        )


@pytest.mark.parametrize("fault", [Say({"choices": []}), Say("", 500), Say("", 400)])
@pytest.mark.parametrize("place", [0, 1])
def test_one_text_that_is_never_scored_is_left_out_in_each_run(fault, place, local, tmp_path):
    """Also where it is the first, which is what the try-out takes."""
    honest = scoring(local)
    texts = ("a box", "how many ?", "4 plus 2")

    def say(request: dict[str, Any], number: int) -> Say:
        bad = request["prompt"].startswith(texts[place])
        return fault if bad else honest(request, number)

    with serving(say) as api:
        for _ in range(2):
            one = remote(api, tmp_path, scores="prompt_logprobs", concurrency=1, retries=0)
            found = one.judge([(text, "box") for text in texts])
            assert [not each.known for each in found] == [place == i for i in range(3)]
            assert any(notice.startswith("1 text is not scored") for notice in one.take_notices())


@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_server_that_scores_wrongly_stops_the_run(tokenizer, local, tmp_path):
    """As llama-cpp-python 0.3.36, which gives each token the likelihood that it would have one place further."""
    honest = scoring(local)

    def say(request: dict[str, Any], number: int) -> Say:
        said = honest(request, number)
        rows = said.body["choices"][0].get("prompt_logprobs", [])
        values = [next(iter(row.values())) for row in rows[1:]]
        for row, after in zip(values, [each["logprob"] for each in values[1:]], strict=False):
            row["logprob"] = after
        return said

    options = by_tokens(local) if tokenizer else {"scores": "prompt_logprobs"}
    with serving(say) as api:
        for verb in (lambda one: one.judge(PAIRS), *([lambda one: one.log_probs(PAIRS, 2)] if tokenizer else [])):
            with pytest.raises(InputError, match=r"nats per token away from its log-probs at generation"):
                verb(remote(api, tmp_path, **options))
        assert len(api.requests) == 2


@pytest.mark.parametrize("scores", ["prompt_logprobs", "echo"])
def test_a_server_that_does_not_score_stops_the_run(scores, tmp_path):
    with serving(lambda request, number: Say({"choices": [{"text": " x"}]})) as api:
        with pytest.raises(InputError, match=f"model.api.scores: .* does not score prompts by {scores}"):
            remote(api, tmp_path, scores=scores, concurrency=1).judge(PAIRS)
        assert len(api.requests) <= len(PAIRS) + 1


@pytest.mark.parametrize(
    ("texts", "before", "text", "expected"),
    [
        (["a", "b", " c"], "a", "b c", 1),
        (["<s>", "a", "b"], "a", "b", 2),
        (["", " a", "b"], "a", "b", 2),  # an unknown token in front, and the space of SentencePiece
        (["ab", "c"], "a", "bc", None),  # one token of both
        (["a", "c"], "a", "b", None),
        (["b"], "a", "b", 0),
        (["a", "b", "written"], "a", "b", None),
        (["a", "\ufffd", "\ufffd", "b"], "a", "éb", 1),
        (["a", "", "", "b"], "a", "éb", 1),
        (["a", "\ufffd", "\ufffd", "b"], "aé", "b", 3),
        (["a", " \ufffd", "\ufffd", "b"], "a", " éb", 1),
        (["a", " \ufffd", "\ufffd", "b"], "a ", "éb", None),  # the first token of é is of the space too
        (["a", "\ufffd", "\ufffd", "\ufffd", "\ufffd", "b"], "aé", "éb", None),  # any of them may be the first
        (["a", "bytes:\\xc3", "bytes:\\xA9", "b"], "a", "éb", 1),
        (["a", "\ufffd", "b"], "a", "xb", None),  # nothing ASCII goes unread
        (["a", "\ufffd", "\ufffd"], "a", "é", 1),
        (["a", "é", "\ufffd", "\ufffd"], "aé", "é", None),  # é may be the first or the second
    ],
)
def test_the_first_token_of_a_text_is_found(texts, before, text, expected):
    assert first_of(texts, before.encode(), text.encode()) == expected


@given(
    st.text(alphabet="ab é€😀\n", min_size=1, max_size=12),
    st.integers(0, 11),
    st.lists(st.integers(1, 3), max_size=40),
    st.sampled_from(["replace", "ignore", "bytes"]),
)
def test_the_first_token_is_right_or_refused(text, cut, sizes, errors):
    """Tokens are any stretches of bytes, in the words of three servers."""
    before, text = text[:cut].encode(), text[cut:].encode()
    whole = before + text
    cuts = [0, *(cut for cut in np.cumsum(sizes).tolist() if cut < len(whole)), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(cuts) if b > a]

    def said(piece: bytes) -> str:
        whole, none = piece.decode("utf-8", "replace"), piece.decode("utf-8", "ignore")
        if "\ufffd" not in whole:
            return whole
        if errors == "bytes":
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
        return none if errors == "ignore" and not none else whole

    texts = [said(piece) for piece in pieces]
    begins = np.cumsum([0, *map(len, pieces)]).tolist()[:-1]
    right = begins.index(len(before)) if text and len(before) in begins else None
    found = first_of(texts, before, text)
    assert found == right if (whole.isascii() or errors == "bytes") and text else found in (None, right)


def test_the_own_token_stands_among_the_likeliest():
    rows = [{5: -9.0, 1: -0.5, 2: -1.0, 3: -1.0, 900: -0.1}]
    top = likeliest(rows, np.array([5]), 3, 100)
    assert top is not None
    assert (top.ids.tolist(), top.log_probs.tolist()) == ([[1, 2, 5]], [[-0.5, -1.0, -9.0]])
    assert likeliest(rows, np.array([5]), 5, 100) is None


def test_options_of_scores_that_do_not_go_together_are_refused():
    def options(**more: Any) -> ApiOptions:
        return ApiOptions(base_url="http://host/v1", model="big", **more)

    for more, told in (
        ({"scores": "echo"}, "is for style 'completions'"),
        ({"scores": "prompt_logprobs"}, "needs the chat template of a tokenizer"),
        ({"tokenizer": "x"}, "tokenizer is for scores: 'prompt_logprobs'"),
        ({"scores": "echo", "style": "completions", "tokenizer": "x"}, "tokenizer is for scores: 'prompt_logprobs'"),
    ):
        with pytest.raises(ValueError, match=told):
            options(**more)
