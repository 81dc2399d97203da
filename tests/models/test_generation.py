"""Every backend writes what a model's own greedy loop writes; a sampled path does not depend on its batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from pydantic import ValidationError

from lada.models.backends import Backend
from lada.models.decoding import can_drop_rows, decode_dropping, decode_in_batches, decode_keeping
from lada.models.encoding import Encoder
from lada.models.generation import Continuation, GenerationRequest, SamplingParams, make_requests
from lada.models.load import load
from lada.models.options import Generation, ModelOptions
from lada.zoo.shipped import cards, locate

SHAPE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 96, "initializer_range": 0.5, "bos_token_id": None,
    "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "llama": lambda **ids: hf.LlamaConfig(**SHAPE, **ids),
    "qwen2": lambda **ids: hf.Qwen2Config(**SHAPE, **ids),
    "gemma": lambda **ids: hf.GemmaConfig(**SHAPE, head_dim=8, **ids),
    "gpt2": lambda **ids: hf.GPT2Config(**SHAPE, n_inner=32, **ids),
    "opt": lambda **ids: hf.OPTConfig(**SHAPE, ffn_dim=32, word_embed_proj_dim=16, init_std=0.5, **ids),
    "bloom": lambda **ids: hf.BloomConfig(**SHAPE, **ids),
    "windowed": lambda **ids: hf.MistralConfig(**SHAPE, sliding_window=8, **ids),
    "convolutions": lambda **ids: hf.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"], **ids),
    "phi3": lambda **ids: hf.Phi3Config(**SHAPE, **ids),
    "mamba": lambda **ids: hf.MambaConfig(**SHAPE, **ids),
}


def make(kind: str, tiny: Any) -> tuple[Any, Encoder]:
    tokenizer = tiny.tokenizer()
    torch.manual_seed(0)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[kind](vocab_size=len(tokenizer))).float().eval()
    return model, Encoder(tokenizer, prompt="{question}\n", context=tiny.context)


def params(encoder: Encoder, temperature: float = 0.0, batch_size: int = 64, **generation: Any) -> SamplingParams:
    return SamplingParams(encoder, batch_size, temperature, Generation(**generation))


def generated(model: Any, encoder: Encoder, stream: GenerationRequest) -> list[int]:
    """Return what transformers writes for one stream alone."""
    ids = torch.tensor([stream.prompt])
    found = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=stream.max_new_tokens, do_sample=False,
        eos_token_id=encoder.eos, pad_token_id=encoder.pad,
    )  # fmt: skip
    return found[0, ids.shape[1] :].tolist()


@torch.inference_mode()
def ordered(backend: Backend, model: Any, streams: list[GenerationRequest], params: SamplingParams) -> list[list[int]]:
    found = {number: each for part in backend(model, streams, params) for number, each in part.items()}
    return ids([found[number] for number in range(len(streams))])


def ids(written: list[Continuation]) -> list[list[int]]:
    return [each.ids for each in written]


@pytest.mark.parametrize("kind", CONFIGS)
def test_greedy_ids_are_those_of_generate(kind: str, tiny: Any):
    model, encoder = make(kind, tiny)
    assert can_drop_rows(model) == (kind not in ("phi3", "mamba"))  # these prepare their inputs in their own way
    streams = make_requests(encoder, tiny.questions, 2, 0, 40)
    # Rows end at different steps, and in another order than they stand in.
    streams = [GenerationRequest(each.prompt, 3 + 2 * i, each.address) for i, each in enumerate(streams)]
    expected = [generated(model, encoder, stream) for stream in streams]
    assert len(set(map(len, expected))) > 3
    assert ordered(decode_in_batches, model, streams, params(encoder)) == expected
    assert ordered(decode_in_batches, model, streams, params(encoder, batch_size=3)) == expected


@pytest.mark.parametrize("card", cards(), ids=lambda card: card["name"])
def test_the_shipped_models_write_what_generate_writes(card: dict[str, Any]):
    learner = load(locate(f"zoo:{card['name']}"), ModelOptions(model=card["name"], device="cpu"))
    asked = ["7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?", "how many ?", "a) holiday"]
    streams = make_requests(learner._encoder, asked, 1, 0, 40)
    with torch.inference_mode():
        found = ids(decode_dropping(learner.model, streams, params(learner._encoder)))
    assert found == [generated(learner.model, learner._encoder, stream) for stream in streams]


@pytest.mark.parametrize("decode", [decode_dropping, decode_keeping])
@pytest.mark.parametrize("kind", ["llama", "convolutions"])
def test_a_sampled_path_does_not_depend_on_its_neighbours(kind: str, decode: Any, tiny: Any):
    model, encoder = make(kind, tiny)
    streams = make_requests(encoder, tiny.questions, 3, 5, 20)
    warm = params(encoder, 1.0, top_k=30, top_p=0.95)
    with torch.inference_mode():
        together = ids(decode(model, streams, warm))
        assert ids(decode(model, streams, warm)) == together
        assert [decode(model, [stream], warm)[0].ids for stream in streams] == together
    assert len(set(map(tuple, together))) > len(tiny.questions)


def test_rows_that_are_kept_draw_the_same_tokens_as_rows_that_are_dropped(tiny: Any):
    model, encoder = make("llama", tiny)
    streams = make_requests(encoder, tiny.questions, 2, 5, 20)
    warm = params(encoder, 0.8, stop=("a", "7"))
    with torch.inference_mode():
        assert ids(decode_keeping(model, streams, warm)) == ids(decode_dropping(model, streams, warm))


def test_a_shared_prompt_is_read_once(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    model, encoder = make("llama", tiny)
    shapes: list[tuple[int, ...]] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **given: shapes.append(given["input_ids"].shape) or forward(**given))
    streams = make_requests(encoder, tiny.questions[:2], 3, 0, 4)
    with torch.inference_mode():
        decode_dropping(model, streams, params(encoder, 1.0))
    assert shapes[0][0] == 2
    assert shapes[1] == (6, 1)


def test_a_models_own_settings_bend_nothing_where_rows_are_kept(tiny: Any):
    model, encoder = make("phi3", tiny)
    streams = make_requests(encoder, tiny.questions, 1, 0, 12)
    plain = ordered(decode_in_batches, model, streams, params(encoder))
    model.generation_config.update(repetition_penalty=5.0, no_repeat_ngram_size=1, min_new_tokens=9, num_beams=2)
    own = model.generation_config
    assert ordered(decode_in_batches, model, streams, params(encoder)) == plain
    assert model.generation_config is own


@pytest.mark.parametrize("decode", [decode_dropping, decode_keeping])
def test_generation_ends_at_a_stop_text(decode: Any, tiny: Any):
    model, encoder = make("llama", tiny)
    streams = make_requests(encoder, tiny.questions, 1, 0, 30)
    with torch.inference_mode():
        whole = ids(decode(model, streams, params(encoder)))
        texts = [encoder.tokenizer.decode(each, skip_special_tokens=True) for each in whole]
        stop = texts[0][6:9]
        found = ids(decode(model, streams, params(encoder, stop=(stop, "never written"))))
    for all_ids, cut, text in zip(whole, found, texts, strict=True):
        assert cut == all_ids[: len(cut)]
        assert encoder.text(cut, (stop,)) == text.partition(stop)[0].strip()
        if stop in text:  # nothing is written behind the token that completes it
            assert stop not in encoder.tokenizer.decode(cut[:-1], skip_special_tokens=True)
    assert len(found[0]) < len(whole[0])


def test_the_earliest_stop_ends_a_text(tiny: Any):
    encoder = Encoder(tiny.tokenizer(), prompt="{question}", context=96)
    ids = encoder.completion("a) pallet : 7 + 4 = 11 . answer 5")
    assert encoder.text(ids, ("answer", ": 7", "nowhere")) == "a) pallet"
    assert encoder.text(ids, ("a)",)) == ""
    assert encoder.text(ids) == "a) pallet : 7 + 4 = 11 . answer 5"


def test_several_paths_of_a_question(tiny: Any):
    learner = tiny.learner(batch_size=5)
    told: list[tuple[Any, ...]] = []
    found = learner.sample(tiny.questions, paths=3, seed=1, temperature=1.0, progress=lambda *state: told.append(state))
    assert [len(paths) for paths in found] == [3] * len(tiny.questions)
    assert told[-1][:3] == ("answer", 12, 12)
    assert len({answer.text for answer in found[0]}) == 3
    for paths in (1, 2):
        fewer = learner.sample(tiny.questions, paths=paths, seed=1, temperature=1.0)
        assert [[a.text for a in each] for each in fewer] == [[a.text for a in each[:paths]] for each in found]
    assert [a.text for a in learner.answer(tiny.questions, seed=1, temperature=1.0)] == [a[0].text for a in found]
    assert learner.sample([], paths=3, seed=0, temperature=1.0) == []
    (greedy,) = learner.sample(tiny.questions[:1], paths=2, seed=0, temperature=0.0)
    assert greedy[0] == greedy[1] == learner.answer(tiny.questions[:1], seed=9)[0]


def test_a_learner_with_an_adapter_answers_like_its_merged_model(tiny: Any, tmp_path: Path):
    learner = tiny.learner()
    learner.save(tmp_path)
    adapted = load(str(tmp_path), ModelOptions(model="tiny", tune="lora", device="cpu", max_new_tokens=24))
    with torch.no_grad():
        for weight in adapted._adapter().values():
            weight.normal_(generator=torch.Generator().manual_seed(3))
    texts = [answer.text for answer in adapted.answer(tiny.questions, seed=0)]
    assert texts != [answer.text for answer in learner.answer(tiny.questions, seed=0)]
    learner.model = adapted.model.merge_and_unload()
    assert [answer.text for answer in learner.answer(tiny.questions, seed=0)] == texts


@pytest.mark.parametrize(
    "fault", [{"backend": "fast"}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": 0}, {"stop": ("",)}, {"stops": ("a",)}]
)
def test_faulty_options_are_refused(fault: dict[str, Any]):
    with pytest.raises(ValidationError):
        Generation(**fault)
