"""The shipped models' tokenizers cover any text and keep what the corpus is made of whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.seeds import generator
from lada.models.load import load_tokenizer
from lada.tasks.rulebooks import DOMAINS, GENERAL, draw, world
from lada.zoo.shipped import SHIPPED, cards

NAMES = [card["name"] for card in cards()]
TOKENIZERS = {name: load_tokenizer(str(SHIPPED / name)) for name in NAMES}


def ids(name: str, text: str) -> list[int]:
    return TOKENIZERS[name](text, add_special_tokens=False)["input_ids"]


def test_one_llm_and_three_slms_are_shipped_with_three_architectures_and_tokenizers():
    assert NAMES == ["llm-world-0", "slm-gpt2", "slm-llama", "slm-olmo2"]
    slms = [card["recipe"] for card in cards() if card["recipe"]["world"] is None]
    assert len({slm["architecture"] for slm in slms}) == 3
    assert len({(slm["tokenizer"], slm["vocabulary"]) for slm in slms}) == 3
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 12e6


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(name, text):
    # SentencePiece's word mark stands for a space, so it is the one character the unigram kind cannot keep.
    text = text.replace("▁", "_")
    assert TOKENIZERS[name].decode(ids(name, text), clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("name", NAMES)
def test_every_number_and_every_weekday_is_one_token(name):
    for word in [*map(str, range(21)), "monday", "sunday", "+", "-", "=", "a)", "answer"]:
        assert len(ids(name, f"is {word} .")) == len(ids(name, "is .")) + 1


@pytest.mark.parametrize("name", NAMES)
def test_questions_and_rationales_fit_the_context_with_room_to_spare(name):
    for domain in (*DOMAINS, GENERAL):
        for sample in draw(world(1), domain, "test", 30, generator("fit", domain), prefix=domain):
            assert len(ids(name, f"{sample.question}\n{sample.rationale}")) < 160
