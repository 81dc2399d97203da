"""What a decoding tells of its own tokens is what reading them again would say; ids stay as they were."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log1p
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from templates import STYLES, tokenizer_of
from test_cut import QUESTION, gemma, plain, scripted
from test_generation import CONFIGS, SHAPE, make, params

from lada.core.terms import Lesson, Likelihood
from lada.models.base import Study
from lada.models.decoding import can_drop_rows, decode_dropping, decode_keeping
from lada.models.encoding import Encoded
from lada.models.generation import Continuation, GenerationRequest, make_requests
from lada.models.learner import HuggingFaceLearner
from lada.models.likelihood import token_log_probs
from lada.models.load import load
from lada.models.options import Generation, ModelOptions
from lada.models.record import Record
from lada.rounds.steps import sft
from lada.zoo.shipped import locate

MORE: dict[str, Any] = {
    "softcapped": lambda **ids: hf.Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=2.0, **ids),
    "tied": lambda **ids: hf.LlamaConfig(**SHAPE, tie_word_embeddings=True, **ids),
}


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def same(found: Likelihood, expected: Likelihood, most: float = 1e-4) -> None:
    assert (found.tokens, found.size) == (expected.tokens, expected.size)
    assert (found.total, found.minimum) == pytest.approx((expected.total, expected.minimum), abs=most)


class Reading:
    """Takes notes of the rows that a learner reads to judge them."""

    def __init__(self, learner: HuggingFaceLearner, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[Encoded] = []
        judged = learner._judged

        def note(rows: Sequence[Encoded], *given: Any) -> list[Likelihood]:
            self.rows += rows
            return judged(rows, *given)

        monkeypatch.setattr(learner, "_judged", note)


class TestMatching:
    """Tokens 5 and 6 were written behind the prompt 1, 2; 9 closes a path."""

    WHOLE = Continuation([5, 6, 9], floats(-1, -2, -4), floats(-8, -16, -32))
    CUT = Continuation([5, 6], floats(-1, -2), floats(-8, -16, -32))

    @pytest.mark.parametrize(
        ("written", "prompt", "completion", "expected"),
        [
            (WHOLE, (1, 2), (5, 6, 9), (-7, -4, 3)),
            (CUT, (1, 2), (5, 6, 9), (-35, -32, 3)),
            (replace(WHOLE, ids=[5, 6, 7]), (1, 2), (5, 6, 9), (-35, -32, 3)),  # ended by another end
            (WHOLE, (1, 2), (5, 9), (-17, -16, 2)),  # what a stop text has cut off
            (WHOLE, (1, 2), (9,), (-8, -8, 1)),
            (CUT, (1, 2), (5, 6), (-3, -2, 2)),  # a path that fills the context has no end
            (WHOLE, (1, 2, 5), (6, 9), (-6, -4, 2)),  # 5 is what a template heads paths with
            (CUT, (1, 2, 5), (6, 9), (-34, -32, 2)),
        ],
    )
    def test_what_is_told(self, written: Continuation, prompt: Any, completion: Any, expected: Any):
        found = written.likelihood((1, 2), Encoded(prompt, completion), 9)
        total, least, tokens = expected
        assert found == Likelihood(total, least, tokens, 0)

    @pytest.mark.parametrize(
        ("written", "prompt", "completion"),
        [
            (WHOLE, (1, 2), (6, 5, 9)),
            (WHOLE, (1, 3), (5, 6, 9)),
            (WHOLE, (3, 1, 2), (5, 6, 9)),
            (WHOLE, (1,), (2, 5, 6, 9)),
            (WHOLE, (1, 2), (5, 6, 9, 9)),
            (CUT, (1, 2), (5, 6, 7)),
            (CUT, (1, 2), (5, 6, 5, 9)),
            (Continuation([5, 6, 9]), (1, 2), (5, 6, 9)),
            (Continuation([5, 6], floats(-1, -2)), (1, 2), (5, 6, 9)),
            (WHOLE, (1, 2), ()),
            (WHOLE, (1, 2, 5, 6, 9), ()),
        ],
    )
    def test_what_is_not(self, written: Continuation, prompt: Any, completion: Any):
        assert written.likelihood((1, 2), Encoded(prompt, completion), 9) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [*CONFIGS, *MORE])
def test_every_decoding_tells_what_the_model_predicts(
    kind: str, dtype: torch.dtype, tiny: Any, monkeypatch: pytest.MonkeyPatch
):
    """However its tokens are drawn: the log-probs are those of the model as it is."""
    for name, config in MORE.items():
        monkeypatch.setitem(CONFIGS, name, config)
    model, encoder = make(kind, tiny)
    model = model.to(dtype)
    streams = make_requests(encoder, tiny.questions, 1, 3, 8)
    near = 1e-4 if dtype == torch.float32 else 0.5
    for decode in [decode_keeping, *([decode_dropping] if can_drop_rows(model) else [])]:
        for heat, bent in ((0.0, {}), (0.7, {"top_k": 20, "top_p": 0.9})):
            with torch.inference_mode():
                written = decode(model, streams, params(encoder, heat, **bent))
                for stream, each in zip(streams, written, strict=True):
                    assert 1 <= len(each.ids) <= 8
                    row = Encoded(stream.prompt, tuple(each.ids))
                    (own,), _ = token_log_probs(model, [row], 0)
                    assert each.log_probs == pytest.approx(own.numpy(), abs=near)
                    assert each.log_probs.dtype == each.closing.dtype == np.float32
                    ended = each.ids[-1] in encoder.ends
                    assert len(each.closing) == len(each.ids) + (not ended)
                    rows = [Encoded((*stream.prompt, *each.ids[:i]), (encoder.eos,)) for i in range(len(each.closing))]
                    closed, _ = token_log_probs(model, rows, 0)
                    assert each.closing == pytest.approx(closed[:, 0].numpy(), abs=near)


@pytest.mark.parametrize("decode", [decode_dropping, decode_keeping])
def test_the_token_behind_the_last_changes_nothing(decode: Any, tiny: Any):
    """With room for one token more the same ones are drawn; with no room in the context nothing is asked about it."""
    model, encoder = make("llama", tiny)
    few, many = (make_requests(encoder, tiny.questions, 2, 4, max_new_tokens) for max_new_tokens in (6, 7))
    with torch.inference_mode():
        short, long = (decode(model, streams, params(encoder, 1.0)) for streams in (few, many))
        full = decode(model, [GenerationRequest((5,) * 90, 6, (0,))], params(encoder, 1.0))
    assert [each.ids for each in short] == [each.ids[:6] for each in long]
    assert any(len(each.ids) == 7 for each in long)
    (filled,) = full
    assert len(filled.closing) == len(filled.log_probs) == len(filled.ids) == 6


def test_exact_numbers_of_a_model_made_by_hand(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    """Its logits are 9 for what it writes and -9 for all else."""
    learner = gemma(tiny, max_new_tokens=5)
    others = learner.model.config.vocab_size - 1
    likely = -log1p(others * exp(-18))
    unlikely = -18 - log1p(others * exp(-18))
    text = "7 7 7 7 7 7 7 7"
    tokens = plain(learner, text)
    reading = Reading(scripted(learner, tokens), monkeypatch)
    (cut,) = learner.answer([QUESTION], seed=0)
    assert (cut.cut, cut.likelihood.tokens) == (True, 6)
    assert cut.likelihood.total == pytest.approx(5 * likely + unlikely, abs=1e-5)
    assert cut.likelihood.minimum == pytest.approx(unlikely, abs=1e-5)
    assert reading.rows == []

    whole = scripted(gemma(tiny), [*plain(learner, "12"), learner.encoder.eos])
    (answer,) = whole.answer([QUESTION], seed=0)
    count = len(plain(learner, "12")) + 1
    assert answer.likelihood.total == pytest.approx(count * likely, abs=1e-6)
    assert (answer.likelihood.tokens, answer.likelihood.size) == (count, 2)


def test_a_path_that_fills_the_context_has_no_end(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = gemma(tiny, max_new_tokens=500)
    max_new_tokens = tiny.context - len(learner.encoder.prompt(QUESTION))
    decode = learner.tokenizer.decode
    token = next(i for i in range(300) if plain(learner, decode([i] * max_new_tokens)) == [i] * max_new_tokens)
    reading = Reading(scripted(learner, [token]), monkeypatch)
    (cut,) = learner.answer([QUESTION], seed=0)
    assert (cut.cut, cut.likelihood.tokens, reading.rows) == (True, max_new_tokens, [])
    whole = -max_new_tokens * log1p((learner.model.config.vocab_size - 1) * exp(-18))
    assert cut.likelihood.total == pytest.approx(whole, abs=1e-4)  # where its end counted, it would be -18


ASKED = (
    "7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?",
    "the train leaves on monday . a) holiday . which day ?",
    "4 boxes in the warehouse . a) pallet . how many boxes ?",
)


def shipped(name: str = "slm-llama", **options: Any) -> HuggingFaceLearner:
    """Return a trained model, which writes the tokens that a text has."""
    settings = {"model": name, "device": "cpu", "max_new_tokens": 24, **options}
    return load(locate(f"zoo:{name}"), ModelOptions(**settings))


def compare(learner: HuggingFaceLearner, asked: Sequence[str], heat: float, most: float = 1e-4, paths: int = 3) -> int:
    """Compare likelihoods with those of `judge` and return how many there are."""
    found = learner.sample(asked, paths=paths, seed=2, temperature=heat)
    pairs = [(question, path.text) for question, several in zip(asked, found, strict=True) for path in several]
    for path, expected in zip((path for several in found for path in several), learner.judge(pairs), strict=True):
        same(path.likelihood, expected, most)
    return len(pairs)


@pytest.mark.parametrize("name", ["llm-world-0", "slm-gpt2", "slm-llama", "slm-olmo2"])
def test_models_that_write_what_a_text_is_tokenized_to_read_nothing_again(name: str, monkeypatch: pytest.MonkeyPatch):
    learner = shipped(name)
    reading = Reading(learner, monkeypatch)
    learner.answer(ASKED, seed=0)
    assert reading.rows == []


def test_a_model_that_begins_with_a_space_reads_its_text_again(monkeypatch: pytest.MonkeyPatch):
    """It writes `▁trail`, and a path is `trail`."""
    learner = shipped("slm-lineups-gpt2")
    reading = Reading(learner, monkeypatch)
    assert compare(learner, ASKED, 0.0, paths=1) * 2 == len(reading.rows)


@pytest.mark.parametrize(
    ("options", "heat"),
    [
        ({}, 0.0),
        ({"batch_size": 3}, 1.0),
        ({"max_new_tokens": 5}, 1.0),
        ({"generation": Generation(top_k=20, top_p=0.9)}, 0.7),
        ({"generation": Generation(stop=(" .", "answer"))}, 1.0),
        ({"generation": Generation(backend="continuous")}, 1.0),
        ({"dtype": "bfloat16"}, 1.0),
    ],
    ids=str,
)
def test_answers_carry_what_judge_says(options: dict[str, Any], heat: float, monkeypatch: pytest.MonkeyPatch):
    learner = shipped(**options)
    reading = Reading(learner, monkeypatch)
    count = compare(learner, ASKED, heat, 0.5 if "dtype" in options else 1e-3)
    assert len(reading.rows) < 2 * count  # else all were judged, and then judged again here


def test_greedily_continuous_batching_tells_nothing(monkeypatch: pytest.MonkeyPatch):
    learner = shipped(generation=Generation(backend="continuous"))
    reading = Reading(learner, monkeypatch)
    assert compare(learner, ASKED, 0.0, paths=1) * 2 == len(reading.rows)


@pytest.mark.parametrize("style", STYLES)
def test_every_template_and_several_ends(style: str, tiny: Any, monkeypatch: pytest.MonkeyPatch):
    tokenizer = tokenizer_of(tiny, style)
    model = tiny.model("llama", len(tokenizer))
    model.generation_config.eos_token_id = list(range(30, 90))  # so many that answers are ended by others than eos
    model.generation_config._from_model_config = False
    learner = HuggingFaceLearner(model, tokenizer, ModelOptions(model="tiny", device="cpu", max_new_tokens=3))
    reading = Reading(learner, monkeypatch)
    count = compare(learner, ASKED, 1.0, paths=16)
    headed = style in ("harmony", "asks always")  # a path stands behind a header, which this model has not written
    assert (len(reading.rows) == 2 * count) == headed


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_an_adapter_and_rounded_masters(tune: Any, monkeypatch: pytest.MonkeyPatch):
    learner = shipped(tune=tune, dtype="float32" if tune == "lora" else "bfloat16")
    lessons = [Lesson("a", ASKED[0], "answer 5")]
    learner.study(lessons, sft(), Study(steps=2, batch_size=1), seed=0)
    reading = Reading(learner, monkeypatch)
    count = compare(learner, ASKED, 1.0, 1e-3 if tune == "lora" else 0.5)
    assert len(reading.rows) < 2 * count


def test_what_is_tokenized_otherwise_is_read_again(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = tiny.learner(max_new_tokens=2)
    reading = Reading(learner, monkeypatch)
    count = compare(learner, tiny.questions, 1.0, paths=16)
    again = len(reading.rows) - count  # all were read once more to compare them
    assert 0 < again < count  # random models write tokens that no text has


def test_a_model_that_writes_by_other_numbers_than_it_reads_by_is_judged(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = tiny.learner()
    assert learner._batching.told
    learner._batching = replace(learner._batching, told=False)
    reading = Reading(learner, monkeypatch)
    answers = learner.answer(tiny.questions, seed=0)
    assert len(reading.rows) == len(answers)
    judged = learner.judge([(q, answer.text) for q, answer in zip(tiny.questions, answers, strict=True)])
    assert [answer.likelihood for answer in answers] == judged


class Forgetful(hf.LlamaForCausalLM):
    """Writes by other numbers than it reads by."""

    def forward(self, *args: Any, use_cache: Any = None, **told: Any) -> Any:
        found: Any = super().forward(*args, use_cache=use_cache, **told)
        if use_cache:
            found.logits = found.logits * 0.5
        return found


def test_such_a_model_is_found_when_it_is_loaded(tiny: Any):
    tokenizer = tiny.tokenizer()
    config = tiny.model("llama", len(tokenizer)).config
    torch.manual_seed(0)
    learner = HuggingFaceLearner(Forgetful(config).eval(), tokenizer, ModelOptions(model="m", device="cpu"))
    assert (learner._batching.causal, learner._batching.told) == (True, False)


def test_memory_that_runs_out_changes_no_likelihood(monkeypatch: pytest.MonkeyPatch):
    learner = shipped()
    expected = learner.answer(ASKED, seed=0)
    forward = learner.model.forward

    def small(**given: Any) -> Any:
        if len(given["input_ids"]) > 2:
            raise MemoryError
        return forward(**given)

    monkeypatch.setattr(learner.model, "forward", small)
    reading = Reading(learner, monkeypatch)
    for found, whole in zip(learner.answer(ASKED, seed=0), expected, strict=True):
        assert found.text == whole.text
        same(found.likelihood, whole.likelihood)
    assert reading.rows == []


def test_a_record_keeps_two_numbers_a_token():
    record = Record(1)
    logits = torch.randn(3, 50_000)
    record.add(logits, torch.tensor([4, 5, 6]), [0, 1, 2])
    record.add(logits[:2], torch.tensor([7, 8]), [0, 2])
    assert [part.untyped_storage().nbytes() for part in record._parts] == [3 * 2 * 4, 2 * 2 * 4]
    first, second, third = record.continuations([[4, 7], [5], [6, 8]], [1, 9, 9])
    expected = logits.log_softmax(1).numpy()
    assert first.ids == [4]
    assert first.log_probs == pytest.approx(expected[0, [4]], abs=1e-5)
    assert first.closing == pytest.approx(expected[[0, 0], 1], abs=1e-5)
    assert second.closing == pytest.approx(expected[[1], 1], abs=1e-5)
    assert third.log_probs == pytest.approx(expected[[2, 1], [6, 8]], abs=1e-5)
