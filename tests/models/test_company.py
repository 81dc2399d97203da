"""Which batches a model may have: found when it is loaded, and kept to by every verb."""

from typing import Any

import pytest
import torch
import transformers as hf

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.company import Batching, try_batching
from lada.models.encoding import Encoded, buckets
from lada.models.learner import HuggingFaceLearner
from lada.models.likelihood import token_log_probs
from lada.models.options import Generation, ModelOptions
from lada.rounds.steps import sft

IDS: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
SMALL: dict[str, Any] = {**IDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
GATED: dict[str, Any] = {**SMALL, "num_key_value_heads": 1, "intermediate_size": 48, "max_position_embeddings": 96}


LLAMA: Any = hf.LlamaForCausalLM


class Unmasked(LLAMA):
    """Reads padding like any token, and counts it."""

    def forward(self, attention_mask: Any = None, position_ids: Any = None, **told: Any) -> Any:
        return super().forward(**told)


class Neighbourly(LLAMA):
    """Looks at its neighbours in the batch."""

    def forward(self, input_ids: Any = None, **told: Any) -> Any:
        embeddings = self.get_input_embeddings()(input_ids)
        return super().forward(inputs_embeds=embeddings + embeddings.mean(0, keepdim=True), **told)


class Blind(LLAMA):
    """Cannot do without an image."""

    def forward(self, **told: Any) -> Any:
        raise TypeError("missing 1 required argument: 'pixel_values'\nmore")


def make(kind: Any, vocabulary: int, **changes: Any) -> Any:
    torch.manual_seed(0)
    configs = {
        hf.RwkvForCausalLM: lambda: hf.RwkvConfig(hidden_size=32, num_hidden_layers=2, vocab_size=vocabulary, **IDS),
        hf.BertLMHeadModel: lambda: hf.BertConfig(**SMALL, vocab_size=vocabulary, intermediate_size=48),
        hf.BartForCausalLM: lambda: hf.BartConfig(
            d_model=32, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=48, vocab_size=vocabulary,
            max_position_embeddings=96, is_decoder=True, is_encoder_decoder=False, forced_eos_token_id=None, **IDS,
        ),
    }  # fmt: skip
    config = configs.get(kind, lambda: hf.LlamaConfig(**GATED, vocab_size=vocabulary, **changes))()
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    return model


def learner(tiny: Any, kind: Any, **options: Any) -> HuggingFaceLearner:
    tokenizer = tiny.tokenizer()
    settings = ModelOptions(**{"model": "tiny", "device": "cpu", "max_new_tokens": 6, **options})
    return HuggingFaceLearner(make(kind, len(tokenizer)), tokenizer, settings)


FOUND = {
    hf.LlamaForCausalLM: Batching("any", "any"),
    hf.RwkvForCausalLM: Batching("none", "any"),
    hf.BartForCausalLM: Batching("equal", "any"),
    Unmasked: Batching("equal", "any"),
    Neighbourly: Batching("none", "none"),
}


@pytest.mark.parametrize("kind", FOUND)
def test_each_family_gets_the_batches_that_it_answers_alike_in(kind: Any, tiny: Any) -> None:
    together, alone = learner(tiny, kind), learner(tiny, kind, batch_size=1)
    assert together._batching == FOUND[kind]
    answers = together.answer(tiny.questions, seed=0)
    expected = alone.answer(tiny.questions, seed=0)
    assert [answer.text for answer in answers] == [answer.text for answer in expected]
    pairs = list(zip(tiny.questions, tiny.paths, strict=True))
    for one, other in zip(together.judge(pairs), alone.judge(pairs), strict=True):
        assert one.total == pytest.approx(other.total, abs=1e-3)


def test_what_shrinks_is_said_once(tiny: Any) -> None:
    asked = learner(tiny, Unmasked)
    assert asked.take_notices() == (
        "answer: in a batch with padding it would give other results than alone, so only texts of equal length share "
        "a batch, which is slower",
    )
    assert asked.take_notices() == ()
    assert learner(tiny, hf.LlamaForCausalLM).take_notices() == ()


def test_who_sees_what_follows_is_told_so(tiny: Any) -> None:
    asked = learner(tiny, hf.BertLMHeadModel)
    assert (asked._batching.causal, asked._batching.told) == (False, False)
    assert asked.take_notices()[-1].startswith("it sees the tokens after the one that it predicts")


def test_what_cannot_run_on_text_is_refused(tiny: Any) -> None:
    said = r"model: Blind cannot be run on text alone: TypeError: missing 1 required argument: 'pixel_values'; expected"
    with pytest.raises(InputError, match=said):
        learner(tiny, Blind)


def test_trying_draws_nothing_and_changes_nothing(tiny: Any) -> None:
    asked = learner(tiny, hf.LlamaForCausalLM)
    weights = {name: weight.clone() for name, weight in asked.model.state_dict().items()}
    before = torch.get_rng_state()
    try_batching(asked.model, asked.encoder, Generation())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[name], weight) for name, weight in asked.model.state_dict().items())


def test_attention_in_blocks_is_tried_beyond_a_block(tiny: Any) -> None:
    """With blocks of 40 tokens the longest prompt has 47, and 3 tokens behind it; the shortest stays at 7."""
    asked = learner(tiny, hf.LlamaForCausalLM)
    lengths: list[int] = []
    forward = asked.model.forward
    asked.model.config.compress_rates = {"some": 4, "others": 40}
    asked.model.forward = lambda **told: (lengths.append(told["input_ids"].shape[1]), forward(**told))[1]
    try_batching(asked.model, asked.encoder, Generation())
    assert (max(lengths), 47 in lengths, 7 in lengths) == (50, True, True)


def test_a_context_without_room_is_not_tried(tiny: Any) -> None:
    asked = learner(tiny, hf.LlamaForCausalLM)
    asked.encoder.context = 12
    assert try_batching(asked.model, asked.encoder, Generation()) == Batching()


def test_buckets_of_equal_length() -> None:
    lengths = [5, 7, 5, 5, 9, 7]
    assert list(buckets(lengths, 2, "equal")) == [[4], [1, 5], [0, 2], [3]]
    assert list(buckets(lengths, 2, "none")) == [[4], [1], [5], [0], [2], [3]]
    assert list(buckets(lengths, 2)) == [[4, 1], [5, 0], [2, 3]]


@pytest.mark.parametrize("company", ["equal", "none"])
def test_rows_that_may_not_share_a_batch_have_the_same_log_probs_and_gradients(company: Any, tiny: Any) -> None:
    model = make(hf.LlamaForCausalLM, 300)
    rows = [Encoded((5, 6, 7), (8, 9)), Encoded((10,), (11, 12, 13, 14, 15)), Encoded((20, 21), (22,))]
    gradients = []
    for chosen in ("any", company):
        log_probs, mask = token_log_probs(model, rows, 0, chosen)
        assert mask.tolist() == [[True] * 2 + [False] * 3, [True] * 5, [True] + [False] * 4]
        model.zero_grad()
        log_probs.square().sum().backward()
        gradients.append((log_probs.detach(), model.model.embed_tokens.weight.grad.clone()))
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_study_goes_as_it_would_with_padding(tiny: Any) -> None:
    lessons = [
        Lesson(str(i), question, path)
        for i, (question, path) in enumerate(zip(tiny.questions, tiny.paths, strict=True))
    ]
    losses = []
    for judge in ("any", "equal"):
        pupil = learner(tiny, hf.LlamaForCausalLM)
        pupil._batching = Batching("any", judge)
        losses.append(pupil.study(lessons, sft(), Study(steps=3, batch_size=4), seed=0).last_loss)
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
