"""The backends that are not LaDa's own: transformers' continuous batching as it is, and a vLLM that takes notes."""

import gc
import sys
import weakref
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf

from lada.core.errors import InputError, LadaError
from lada.core.seeds import seed_of
from lada.models import placement
from lada.models.backends import pick_backend
from lada.models.continuous import continue_streams, paging_of, settings_of
from lada.models.generation import GenerationRequest, SamplingParams, make_requests
from lada.models.load import load
from lada.models.options import Generation, ModelOptions
from lada.models.vllm_engine import run_engine


def texts(learner: Any, tiny: Any, **asked: Any) -> list[str]:
    return [answer.text for answer in learner.answer(tiny.questions, **{"seed": 0, **asked})]


def test_continuous_batching_writes_the_same_greedily(tiny: Any, architecture: str):
    # Fewer at once than there are questions, so that some wait.
    continuous = tiny.learner(architecture, generation=Generation(backend="continuous"), batch_size=3)
    assert texts(continuous, tiny) == texts(tiny.learner(architecture), tiny)
    assert continuous.answer([], seed=0) == []


def test_continuous_batching_cuts_at_stop_texts(tiny: Any):
    whole = texts(tiny.learner(), tiny)
    stop = whole[0][4:7]
    continuous = tiny.learner(generation=Generation(backend="continuous", stop=(stop,)))
    assert texts(continuous, tiny) == [text.partition(stop)[0].strip() for text in whole]


def test_continuous_batching_samples_from_its_seed(tiny: Any):
    learner = tiny.learner(generation=Generation(backend="continuous", top_k=40, top_p=0.95))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = [texts(learner, tiny, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1] != found[2]
    first, second = learner.sample(tiny.questions[:1], paths=2, seed=1, temperature=1.0)[0]
    assert first.text != second.text


def test_continuous_batching_leaves_the_model_as_it_was(tiny: Any):
    learner = tiny.learner(generation=Generation(backend="continuous"))
    learner.model.set_attn_implementation("eager")
    assert texts(learner, tiny) == texts(tiny.learner(), tiny)
    assert learner.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", ["bloom", "mamba"])
def test_what_continuous_batching_does_not_serve_is_refused(kind: str, tiny: Any):
    ids: dict[str, Any] = {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    config = hf.BloomConfig(n_head=2, **ids) if kind == "bloom" else hf.MambaConfig(**ids)
    learner = tiny.learner(generation=Generation(backend="continuous"))
    learner.model = hf.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(InputError, match=r"'continuous' does not support .*ForCausalLM: .*; set backend: batch"):
        learner.answer(["?"], seed=0)


def test_a_failure_within_continuous_batching_is_told(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = tiny.learner(generation=Generation(backend="continuous"))

    def fail(*args: Any, **given: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(learner.model.model, "forward", fail)
    with pytest.raises(LadaError, match="continuous batching"):
        learner.answer(["?"], seed=0)


def test_how_continuous_batching_is_set(tiny: Any):
    encoder = tiny.learner()._encoder
    streams = [
        GenerationRequest((5,) * 40, 30, (1, 0, 0)),
        GenerationRequest((5,) * 10, 50, (1, 1, 0)),
        GenerationRequest((5,), 1, (1, 2, 0)),
    ]
    warm = SamplingParams(encoder, 2, 0.7, Generation(backend="continuous", top_p=0.9))
    paging = paging_of(streams, warm, flash=False)
    # 70 tokens fill three pages of 32, and one is spare; two streams are in the making at once.
    assert (paging.page_size, paging.num_blocks, paging.max_requests_per_batch) == (32, 8, 2)
    assert paging.auto_switch_to_flash is False
    assert paging.return_logprobs is False  # top_p and temperature bend them
    assert paging_of(streams, replace(warm, temperature=1.0), flash=False).return_logprobs is False
    bare = replace(warm, temperature=1.0, generation=Generation(backend="continuous"))
    assert paging_of(streams, bare, flash=False).return_logprobs is True
    assert paging_of(streams, replace(bare, temperature=0.0), flash=False).return_logprobs is False
    assert paging_of(streams, warm, flash=True).page_size == 256
    settings = settings_of(warm)
    assert (settings.do_sample, settings.temperature, settings.top_p, settings.top_k) == (True, 0.7, 0.9, None)
    assert settings.eos_token_id == list(encoder.ends)
    greedy = settings_of(SamplingParams(encoder, 2, 0.0, Generation(top_k=3)))
    assert (greedy.do_sample, greedy.temperature, greedy.top_k) == (False, None, None)


class FakeVllm(ModuleType):
    """Writes with the model that it finds in the folder, one prompt at a time, and takes notes."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.__spec__ = ModuleSpec("vllm", None)
        self.engines: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.alive: list[weakref.ref] = []
        notes = self

        class LLM:
            def __init__(self, model: str, **options: Any) -> None:
                notes.engines.append(
                    {"model": model, "files": sorted(f.name for f in Path(model).iterdir()), **options}
                )
                notes.alive.append(weakref.ref(self))
                self._model: Any = hf.AutoModelForCausalLM.from_pretrained(model)

            def generate(self, prompts: Any, parameters: Any, *, use_tqdm: bool) -> list[Any]:
                replies = []
                for prompt, asked in zip(prompts, parameters, strict=True):
                    notes.asked.append(asked)
                    ids = torch.tensor([prompt["prompt_token_ids"]])
                    found = self._model.generate(ids, max_new_tokens=asked["max_tokens"], do_sample=False)
                    logits = self._model(found).logits[0, ids.shape[1] - 1 : -1].log_softmax(1)
                    tokens = tuple(found[0, ids.shape[1] :].tolist())
                    told = [
                        {token: SimpleNamespace(logprob=float(row[token]))}
                        for token, row in zip(tokens, logits, strict=True)
                    ]
                    written = SimpleNamespace(token_ids=tokens, logprobs=told)
                    replies.append(SimpleNamespace(outputs=[written]))
                return replies

        self.LLM = LLM
        self.SamplingParams = dict


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    fake = FakeVllm()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    return fake


def test_vllm_is_asked_with_the_weights_as_they_are(tiny: Any, vllm: FakeVllm):
    learner = tiny.learner(generation=Generation(backend="vllm", stop=("\n\n",)), batch_size=7)
    plain = tiny.learner()
    assert texts(learner, tiny) == texts(plain, tiny)
    for each in (learner, plain):
        with torch.no_grad():
            each.model.lm_head.weight.mul_(-1)
    assert texts(learner, tiny) == texts(plain, tiny)
    gc.collect()
    assert [engine() for engine in vllm.alive] == [None, None]  # memory is given back after each call
    first, second = vllm.engines
    assert first["model"] != second["model"]
    assert not Path(first["model"]).exists()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(first["files"])
    told = {"dtype": "float32", "max_model_len": 96, "max_num_seqs": 7, "generation_config": "vllm", "seed": 0}
    told["logprobs_mode"] = "raw_logprobs"
    assert {name: value for name, value in first.items() if name not in ("model", "files")} == told
    assert vllm.asked[0] == {
        "max_tokens": 24, "logprobs": 0, "temperature": 0.0, "stop": ["\n\n"], "stop_token_ids": [1]
    }  # fmt: skip
    assert learner.answer([], seed=0) == []
    assert len(vllm.engines) == 2


def test_vllm_tells_how_likely_its_tokens_are(tiny: Any, vllm: FakeVllm):
    learner = tiny.learner(generation=Generation(backend="vllm"))
    found = learner.answer(tiny.questions, seed=0)
    judged = learner.judge([(question, answer.text) for question, answer in zip(tiny.questions, found, strict=True)])
    for answer, expected in zip(found, judged, strict=True):
        assert answer.likelihood.total == pytest.approx(expected.total, abs=1e-4)
        assert answer.likelihood.tokens == expected.tokens
    streams = make_requests(learner.encoder, tiny.questions, 1, 0, 24)
    (written,) = run_engine(learner.model, streams, SamplingParams(learner.encoder, 4, 0.0, Generation(backend="vllm")))
    assert all(len(each.log_probs) == len(each.ids) for each in written.values())
    assert vllm.asked


def test_vllm_samples_each_path_with_a_seed_of_its_own(tiny: Any, vllm: FakeVllm):
    learner = tiny.learner(generation=Generation(backend="vllm", top_k=9, top_p=0.5))
    learner.sample(["a", "b"], paths=2, seed=4, temperature=0.6)
    assert [asked["seed"] for asked in vllm.asked] == [seed_of(4, i, path) for i in range(2) for path in range(2)]
    assert vllm.asked[0].items() >= {"temperature": 0.6, "top_k": 9, "top_p": 0.5}.items()
    learner.sample(["a"], paths=1, seed=4, temperature=0.0)
    assert not {"seed", "top_k", "top_p"} & set(vllm.asked[-1])


def test_vllm_gets_an_adapter_merged_and_the_learner_keeps_its_own(tiny: Any, vllm: FakeVllm, tmp_path: Path):
    tiny.learner().save(tmp_path)
    found = []
    for backend in ("batch", "vllm"):
        generation = Generation(backend=backend)
        options = ModelOptions(model="tiny", tune="lora", device="cpu", max_new_tokens=24, generation=generation)
        learner = load(str(tmp_path), options)
        with torch.no_grad():
            for weight in learner._adapter().values():
                weight.normal_(generator=torch.Generator().manual_seed(3))
        before = tiny.weights(learner)
        found.append(texts(learner, tiny))
        assert all(torch.equal(before[name], weight) for name, weight in tiny.weights(learner).items())
    assert found[0] == found[1] != texts(tiny.learner(), tiny)


def test_without_vllm_its_install_line_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"generation\.backend: 'vllm' is not installed; run `pip install vllm`"):
        pick_backend(Generation(backend="vllm"))


def test_a_transformers_without_paged_caches_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement, "version", lambda name: "5.9.1")
    with pytest.raises(
        InputError, match=r"needs transformers 5\.17 or newer, but this is 5\.9\.1; run `pip install -U"
    ):
        pick_backend(Generation(backend="continuous"))
    assert pick_backend(Generation())


def test_continuous_batching_of_nothing_is_nothing(tiny: Any):
    learner = tiny.learner()
    assert list(continue_streams(learner.model, [], SamplingParams(learner._encoder, 1, 0.0, Generation()))) == []
