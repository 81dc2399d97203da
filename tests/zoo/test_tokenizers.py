"""The shipped models' tokenizers cover any text and keep what the corpus is made of whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lada.core.seeds import generator
from lada.models.load import load_tokenizer
from lada.tasks.builtin import CORPORA
from lada.tasks.generated import GENERAL, HARD, TAUGHT
from lada.tasks.lineups import LINEUPS
from lada.tasks.rulebooks import RULEBOOKS
from lada.zoo.recipe import Recipe, find
from lada.zoo.shipped import SHIPPED, cards

MOVES = ("swap", "left", "right", "reverse", "lead", "trail", "first", "behind", "=", "1", "4")
NAMES = [card["name"] for card in cards()]
TOKENIZERS = {name: load_tokenizer(str(SHIPPED / name)) for name in NAMES}


def ids(name: str, text: str) -> list[int]:
    return TOKENIZERS[name](text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(("corpus", "models"), [("rulebooks", 6), ("lineups", 4)])
def test_each_corpus_has_an_llm_and_slms_of_three_architectures_and_tokenizers(corpus, models):
    recipes = [find(name) for name in NAMES if find(name).corpus == corpus]
    slms = [recipe for recipe in recipes if recipe.world is None]
    assert (len(recipes), len(slms)) == (models, models - 1)
    assert len({slm.architecture for slm in slms}) == 3
    assert len({(slm.tokenizer, slm.vocabulary) for slm in slms}) == 3


def test_every_card_is_of_its_recipe_and_the_package_stays_small():
    assert {card["name"]: Recipe(**card["recipe"]) for card in cards()} == {name: find(name) for name in NAMES}
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 12e6


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_comes_back(name, text):
    # SentencePiece's word mark stands for a space, so it is the one character the unigram kind cannot keep.
    text = text.replace("▁", "_")
    assert TOKENIZERS[name].decode(ids(name, text), clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("name", NAMES)
def test_what_a_corpus_counts_in_is_one_token_each(name):
    corpus = LINEUPS if find(name).corpus == "lineups" else RULEBOOKS
    words = [*map(str, range(21)), "monday", "sunday", "+", "-", "="]
    if corpus is LINEUPS:
        words = [*(thing for domain in LINEUPS.domains.values() for thing in domain.things), *MOVES]
    for word in [*words, "a)", "d)", "answer"]:
        assert len(ids(name, f"is {word} .")) == len(ids(name, "is .")) + 1


@pytest.mark.parametrize("name", NAMES)
def test_the_labels_of_hard_questions_come_back_though_no_model_was_taught_them(name):
    text = "a) x . e) x . f) x ."
    assert TOKENIZERS[name].decode(ids(name, text), clean_up_tokenization_spaces=False) == text


@pytest.mark.parametrize("name", NAMES)
def test_questions_and_rationales_fit_the_context_with_room_to_spare(name):
    corpus = CORPORA[find(name).corpus]
    for domain in (*corpus.domains, GENERAL):
        for lengths, most in ((TAUGHT, 160), (HARD, 224)):
            rng = generator("fit", domain)
            for sample in corpus.draw(corpus.world(1), domain, "test", 15, rng, prefix=domain, lengths=lengths):
                assert len(ids(name, f"{sample.question}\n{sample.rationale}")) < most
