"""Tiny random models and the tokenizers they share; nothing here is trained."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from lada.models.learner import HuggingFaceLearner, ModelOptions
from lada.zoo.tokenizers import make_tokenizer

TEXTS = [
    "7 boxes in the warehouse . a) pallet . b) spoil 6 . how many boxes ?",
    "a) pallet : 7 + 4 = 11 . b) spoil 6 : 11 - 6 = 5 . answer 5",
    "the train leaves on monday . a) holiday . which day ?",
    "a) holiday : monday - 2 = saturday . answer saturday",
]
QUESTIONS = [TEXTS[0], TEXTS[2], "how many boxes ?", ""]
PATHS = [TEXTS[1], TEXTS[3], "answer 5", "a) spoil 6 : 11"]
CONTEXT = 96


@cache
def bare_tokenizer(kind: Any) -> Any:
    return make_tokenizer(kind, TEXTS, 300)


def tiny_tokenizer(kind: str = "bpe") -> Any:
    """Return a fresh tokenizer, which a test may change."""
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=bare_tokenizer(kind).backend_tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def tiny_model(architecture: str, vocabulary: int, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    if architecture == "gpt2":
        config = hf.GPT2Config(
            vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=CONTEXT, initializer_range=0.3
        )
        return hf.GPT2LMHeadModel(config).eval()
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            initializer_range=0.3,
        )
    ).eval()


def tiny_learner(architecture: str = "llama", tokenizer: Any = None, **options: Any) -> HuggingFaceLearner:
    tokenizer = tokenizer or tiny_tokenizer("unigram" if architecture == "gpt2" else "bpe")
    settings = ModelOptions(**{"model": "tiny", "device": "cpu", "max_new_tokens": 24, **options})
    return HuggingFaceLearner(tiny_model(architecture, len(tokenizer)), tokenizer, settings)


def weights(learner: HuggingFaceLearner) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in learner.model.state_dict().items()}


@pytest.fixture(params=["llama", "gpt2"])
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[str], str]:
    """Write a tiny model with its tokenizer and return the folder."""

    def make(architecture: str) -> str:
        learner = tiny_learner(architecture)
        folder = tmp_path / architecture
        learner.save(folder)
        return str(folder)

    return make
