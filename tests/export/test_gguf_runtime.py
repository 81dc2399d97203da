"""How it is counted which questions llama.cpp turns into a party's own ids; what it really does is a slow test."""

from types import SimpleNamespace
from typing import Any

import pytest
import tiny_runs

from lada.export.gguf_runtime import tokenised
from lada.models.encoding import Encoder

QUESTIONS = ("how many?", "how many boxes are in the warehouse? " * 9)


@pytest.mark.parametrize(("spoilt", "same"), [("", 2), ("warehouse", 1), ("how", 0)])
def test_questions_count_whole_where_the_party_sees_less_of_them(spoilt: str, same: int) -> None:
    """The second is longer than half of the context, so that the party sees `<s>` and its end."""
    tokenizer = tiny_runs.sentencepiece()

    def tokenize(text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        assert special
        ids: list[int] = tokenizer(text.decode(), add_special_tokens=add_bos)["input_ids"]
        return ids[:1] + ids[2:] if spoilt and spoilt in text.decode() else ids

    llama: Any = SimpleNamespace(tokenize=tokenize)
    encoder = Encoder(tokenizer, prompt="{question}\n", context=64)
    prompts = [encoder.prompt(question) for question in QUESTIONS]
    assert [len(ids) for ids in prompts] == [len(encoder.whole(QUESTIONS[0])), 32]
    assert prompts[1] == (encoder.whole("")[0], *encoder.whole(QUESTIONS[1])[-31:])
    parcel: Any = SimpleNamespace(encode=lambda _: encoder, tokenizer=tokenizer)
    trial: Any = SimpleNamespace(questions=QUESTIONS, prompts=tuple(prompts))
    assert tokenised(llama, parcel, trial) == same
