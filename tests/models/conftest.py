"""Tiny random models and tokenizers for tests; nothing here is trained."""

from functools import cache
from typing import Any

import pytest
import torch
import transformers as hf

from lada.models.learner import HuggingFaceLearner
from lada.models.options import ModelOptions
from lada.zoo.tokenizers import make_tokenizer


@cache
def learnt(kind: Any) -> Any:
    return make_tokenizer(kind, (*Tiny.questions, *Tiny.paths), 300)


class Tiny:
    """What the tests of this folder share."""

    context = 96
    questions = (
        "7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?",
        "the train leaves on monday . a) holiday . which day ?",
        "how many boxes ?",
        "",
    )
    paths = (
        "a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5",
        "a) holiday : monday - 2 = saturday . answer saturday",
        "answer 5",
        "a) spoil 6 : 11",
    )

    @staticmethod
    def tokenizer(kind: str = "bpe", **special: Any) -> Any:
        """Return a tokenizer of its own, which a test may change."""
        backend = type(learnt(kind).backend_tokenizer).from_str(learnt(kind).backend_tokenizer.to_str())
        tokens = {"eos_token": "<eos>", "pad_token": "<pad>", **special}
        return hf.PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **tokens)

    @staticmethod
    def model(architecture: str, vocabulary: int, seed: int = 0, layers: int = 2) -> Any:
        torch.manual_seed(seed)
        # Without eos_token_id generate() would warn that it guesses; with it every model would have to agree.
        ids = {"vocab_size": vocabulary, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
        if architecture == "gpt2":
            config = hf.GPT2Config(
                n_embd=16, n_layer=layers, n_head=2, n_positions=Tiny.context, initializer_range=0.3,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ids,
            )  # fmt: skip
            return hf.GPT2LMHeadModel(config).eval()
        config = hf.LlamaConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=Tiny.context, initializer_range=0.3, **ids,
        )  # fmt: skip
        return hf.LlamaForCausalLM(config).eval()

    @staticmethod
    def learner(
        architecture: str = "llama", tokenizer: Any = None, layers: int = 2, **options: Any
    ) -> HuggingFaceLearner:
        tokenizer = tokenizer or Tiny.tokenizer("unigram" if architecture == "gpt2" else "bpe")
        settings = ModelOptions(**{"model": "tiny", "device": "cpu", "max_new_tokens": 24, **options})
        return HuggingFaceLearner(Tiny.model(architecture, len(tokenizer), layers=layers), tokenizer, settings)

    @staticmethod
    def weights(learner: HuggingFaceLearner) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in learner.model.state_dict().items()}


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture(params=["llama", "gpt2"])
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param
