"""Logits only where they are needed: the input of the output head, and the memory that it takes."""

from typing import Any

import pytest
import torch
import transformers as hf
from torch.profiler import ProfilerActivity, profile

from lada.core.terms import Lesson
from lada.models.adapters import with_adapter
from lada.models.base import Study
from lada.models.decoding import decode_dropping, decode_keeping
from lada.models.encoding import Encoded
from lada.models.generation import GenerationRequest, SamplingParams
from lada.models.head import at, head_sees, last
from lada.models.likelihood import predict
from lada.models.options import Generation, ModelOptions
from lada.objectives.base import OBJECTIVES

ROWS = (Encoded((5, 6, 7), (8, 9, 10, 1)), Encoded((4,), (3, 1)), Encoded((9, 9, 9, 9, 9, 9), (2, 2, 2)))


class Seen:
    """Keeps the shapes of what the layer of the logits of a model was given."""

    def __init__(self, model: Any) -> None:
        self.shapes: list[tuple[int, ...]] = []
        model.get_output_embeddings().register_forward_hook(
            lambda _, given, made: self.shapes.append(tuple(given[0].shape[:-1]))
        )


def test_scoring_computes_logits_of_the_completions_alone(tiny: Any, architecture: str):
    model = tiny.model(architecture, 12)
    seen = Seen(model)
    with torch.inference_mode():
        predicted = predict(model, ROWS, 0)
        alone = [model(input_ids=torch.tensor([row.prompt + row.completion])).logits[0] for row in ROWS]
    assert seen.shapes[0] == (1, 9)
    expected = torch.cat([logits[len(row.prompt) - 1 : -1] for logits, row in zip(alone, ROWS, strict=True)])
    assert torch.allclose(predicted.logits, expected, atol=1e-5)


def test_a_model_that_names_no_head_is_scored_alike(tiny: Any, architecture: str, monkeypatch: pytest.MonkeyPatch):
    model = tiny.model(architecture, 12)
    with torch.inference_mode():
        told = predict(model, ROWS, 0)
        monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
        untold = predict(model, ROWS, 0)
    assert torch.allclose(told.logits, untold.logits, atol=1e-5)
    assert torch.equal(told.own, untold.own)


@pytest.mark.parametrize("decode", [decode_dropping, decode_keeping])
def test_writing_computes_the_logits_of_the_last_position_alone(tiny: Any, architecture: str, decode: Any):
    learner = tiny.learner(architecture)
    seen = Seen(learner.model)
    streams = [GenerationRequest((5, 6, 7, 8), 3, (0,)), GenerationRequest((9, 10), 3, (1,))]
    with torch.inference_mode():
        decode(learner.model, streams, SamplingParams(learner.encoder, 2, 0.0, Generation()))
    assert seen.shapes
    assert all(shape[1] == 1 for shape in seen.shapes)


def test_embedding_computes_the_logits_of_one_position(tiny: Any, architecture: str):
    learner = tiny.learner(architecture)
    seen = Seen(learner.model)
    learner.embed(tiny.questions)
    assert seen.shapes == [(4, 1)]


def test_the_head_sees_all_again_behind_it(tiny: Any):
    model = tiny.model("llama", 12)
    ids = torch.tensor([[5, 6, 7]])
    with head_sees(model, at(torch.tensor([[True, False, True]]))):
        assert model(input_ids=ids).logits.shape == (1, 2, 12)
    with head_sees(model, last):
        assert model(input_ids=ids).logits.shape == (1, 1, 12)
    assert model(input_ids=ids).logits.shape == (1, 3, 12)


def test_positions_are_picked_in_each_of_several_streams():
    hidden = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)  # rows, streams, positions, width
    mask = torch.tensor([[False, True, True, False], [True, False, False, False]])
    picked = at(mask)(hidden)
    assert picked.shape == (1, 3, 3, 5)
    for stream in range(3):
        expected = torch.stack([hidden[0, stream, 1], hidden[0, stream, 2], hidden[1, stream, 0]])
        assert torch.equal(picked[0, stream], expected)
        assert torch.equal(last(hidden)[:, stream, 0], hidden[:, stream, 3])
    assert last(hidden).shape == (2, 3, 1, 5)


def test_a_model_that_predicts_several_tokens_at_once_is_scored_and_written_by_the_next(tiny: Any):
    """The layer of the logits of ProphetNet sees [rows, streams, positions, width], and the first stream counts."""
    config = hf.ProphetNetConfig(
        hidden_size=16, decoder_ffn_dim=32, num_decoder_layers=2, num_decoder_attention_heads=2,
        max_position_embeddings=64, init_std=0.5, vocab_size=12, is_decoder=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = hf.ProphetNetForCausalLM(config).eval()
    seen = Seen(model)
    with torch.inference_mode():
        predicted = predict(model, ROWS, 0, "equal")
        assert seen.shapes == [(1, 2, len(row.completion)) for row in ROWS]
        alone = [model(input_ids=torch.tensor([row.prompt + row.completion])).logits[0] for row in ROWS]
        expected = torch.cat([logits[len(row.prompt) - 1 : -1] for logits, row in zip(alone, ROWS, strict=True)])
        prompt = torch.tensor([ROWS[0].prompt])
        whole = model(input_ids=prompt).logits
        with head_sees(model, last):
            ended = model(input_ids=prompt).logits
    assert torch.allclose(predicted.logits, expected, atol=1e-5)
    assert torch.allclose(ended, whole[:, -1:], atol=1e-5)


def largest(job: Any) -> int:
    """Return the bytes of the largest thing that is allocated meanwhile."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        job()
    profiler: Any = recorded.profiler
    return max(e.nbytes() for e in profiler.kineto_results.events() if e.name() == "[memory]")


def test_no_row_makes_a_copy_of_a_frozen_head(tiny: Any):
    """A head of 20,000 tokens in bfloat16 has 640,000 bytes, and 8 rows of it, which a view would make, 5 million."""
    tokenizer = tiny.tokenizer()
    options = ModelOptions(model="tiny", tune="lora", batch_size=8, max_new_tokens=3)
    learner = tiny.learner(tokenizer=tokenizer, tune="lora", batch_size=8, max_new_tokens=3)
    learner.model = with_adapter(tiny.model("llama", 20_000).bfloat16(), options, 0, None).eval()
    questions = [f"{question} {i}" for i in range(2) for question in tiny.questions]
    lessons = [Lesson("1", "how many boxes ?", "answer 5")]
    sft = OBJECTIVES.get("sft")
    head = 20_000 * 16 * 2
    assert largest(lambda: learner.answer(questions, seed=0)) < 4 * head  # logits of 8 rows of 3 tokens are 1.5 heads
    assert largest(lambda: learner.embed(questions)) < head
    job = lambda: learner.study(lessons, sft.make(sft.options()), Study(steps=1, batch_size=1), seed=0)  # noqa: E731
    assert largest(job) < 2 * head
