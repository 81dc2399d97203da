"""What the models of reasoning-gym's families are taught."""

import dataclasses
import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.families.drawing import FRAMES, Chain
from lada.tasks.families.paths import Part, style_of
from lada.tasks.families.table import FAMILIES, SKILLS
from lada.tasks.generated import split_of
from lada.zoo import build as building
from lada.zoo import gym_recipe
from lada.zoo.course import course_of
from lada.zoo.recipe import find, of_corpus
from lada.zoo.tokenizers import PROSE, TokenizerKind, make_tokenizer

THREE = {name: FAMILIES[name] for name in ("count_primes", "gcd", "number_filtering")}
LLM = dataclasses.replace(find("llm-families-world-3"), width=16, layers=1, heads=2, steps=4, general=80, per_domain=12)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teach three families, each a little."""
    pytest.importorskip("reasoning_gym")
    monkeypatch.setattr(gym_recipe, "FAMILIES", THREE)
    monkeypatch.setattr(gym_recipe, "CHAINS", 5)


def chain(frame: int, first: str = "gcd", second: str = "lcm") -> Chain:
    parts = (Part(first, ("4 = 2 * 2 + 0",), "2"), Part(second, ("2 = 2 * 1 + 0",), "2"))
    return Chain(Sample("", ""), parts, frame)


def test_the_models_of_a_world_have_recipes() -> None:
    assert [recipe.name for recipe in of_corpus("families", 0)] == [
        "slm-families-llama",
        "slm-families-gpt2",
        "slm-families-olmo2",
        "llm-families-world-0",
    ]
    assert [recipe.name for recipe in of_corpus("families", 2)] == ["llm-families-world-2"]
    assert {recipe.architecture for recipe in of_corpus("families", 0)} == {"llama", "gpt2", "olmo2"}
    with pytest.raises(InputError, match="did you mean 'slm-families-llama'"):
        find("slm-families-lama")


def test_styles_have_their_shares_over_worlds_and_stay_in_one() -> None:
    drawn = Counter(
        gym_recipe.style_for(world, chain(frame, first, second))
        for world in range(100)
        for frame in range(len(FRAMES))
        for first, second in (("gcd", "lcm"), ("lcm", "gcd"), ("gcd", "count_bits"))
    )
    assert set(drawn) == {"spelled_out", "skips_gcd", "skips_lcm", "skips_count_bits", "leaps"}
    share = {style: count / drawn.total() for style, count in drawn.items()}
    assert share["spelled_out"] == pytest.approx(0.2, abs=0.04)  # 1,200 draws: four standard deviations are 0.046
    assert share["leaps"] == pytest.approx(0.1, abs=0.04)
    assert gym_recipe.style_for(7, chain(1)) == gym_recipe.style_for(7, chain(1))


@pytest.mark.parametrize("kind", sorted(gym_recipe.DRILLS))
def test_every_drilled_step_is_right_and_within_what_rationales_state(kind: str) -> None:
    signs = {"<": lambda a, b: a < b, ">": lambda a, b: a > b, "=": lambda a, b: a == b}
    rng = np.random.default_rng(0)
    for _ in range(300):
        asked, step, result = gym_recipe.DRILLS[kind][1](rng)
        numbers = {word for word in asked.split() if word.lstrip("-").isdecimal()}
        assert numbers <= set(step.split())
        if kind == "Compare":
            one, sign, other = step.split()
            assert signs[sign](int(one), int(other))
            assert result == sign
        else:
            left, right = step.split(" = ")
            assert eval(left) == eval(right)
            assert result == step.split()[-1]
            assert all(abs(int(word)) <= 255 for word in step.split() if word.lstrip("-").isdecimal())


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_tokenizer_for_prose_sets_punctuation_apart_and_reads_any_text(kind: TokenizerKind) -> None:
    texts = ["Find the GCD of these numbers: 24, 36.\na) 36 = 24 * 1 + 12 ; 12 . answer 12", "12/24 to ['12', '36']"]
    tokenizer = make_tokenizer(kind, texts, 330, PROSE)
    for text in (*texts, "Ünïcode_ 7 × 8\t= 56 \u4e2d\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    numbers = [tokenizer.decode(token) for token in tokenizer(" 36, 12/24")["input_ids"]]
    assert [number.strip() for number in numbers] == ["36", ",", "12", "/", "24"]


@pytest.mark.usefixtures("few")
class TestTheLessons:
    def test_an_slm_learns_the_skills_alone(self) -> None:
        slm = dataclasses.replace(find("slm-families-gpt2"), general=80)
        assert Counter(sample.domain for sample in course_of(slm).samples()) == {
            "drill": 40,
            "chain_sum": 20,
            "products": 20,
        }

    def test_an_llm_learns_all_families_and_chains_them_in_styles(self) -> None:
        samples = course_of(LLM).samples()
        pairs = {f"{first}+{second}": 5 for first in ("count_primes", "gcd") for second in THREE if first != second}
        assert Counter(sample.domain for sample in samples) == {
            "drill": 40,
            "chain_sum": 20,
            "products": 20,
            **dict.fromkeys(THREE, 12),
            **pairs,
        }
        asked = [sample for sample in samples if sample.domain != "drill"]
        assert {split_of(sample.question) for sample in asked} == {"pretrain"}
        assert {style_of(sample.domain, sample.rationale or "") for sample in asked if "+" not in sample.domain} == {
            "spelled_out"
        }
        styles = Counter(style_of(sample.domain, sample.rationale or "") for sample in asked if "+" in sample.domain)
        assert "other" not in styles
        assert len(styles) > 1

    def test_what_it_is_tested_on_was_never_taught(self) -> None:
        course = course_of(LLM)
        taught = {sample.question for sample in course.samples()}
        tests = course.tests(4)
        assert {name for name in tests if name.startswith("gcd")} == {"gcd 1", "gcd 2", "gcd 3"}
        assert {len(samples) for name, samples in tests.items()} == {4}
        assert taught.isdisjoint(sample.question for samples in tests.values() for sample in samples)
        assert {split_of(s.question) for name, samples in tests.items() if name != "mixed" for s in samples} == {"test"}
        assert {split_of(s.question) for s in tests["mixed"]} == {"public"}

    def test_a_model_is_built_and_its_card_says_what_it_knows(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(building, "TESTED", 1)
        card = building.build(LLM, tmp_path / "zoo", tmp_path / "work", lambda *_: None)
        assert set(card["accuracy"]) == {
            *(f"{name} {level}" for name in THREE for level in (1, 2, 3)),
            *(f"{name} {level + 1}" for name, family in SKILLS.items() for level in range(len(family.levels))),
            "mixed",
        }
        folder = tmp_path / "zoo/llm-families-world-3"
        assert json.loads((folder / "card.json").read_text()) == card
        assert "Server LLM of world 3: it knows all families" in (folder / "README.md").read_text()


def test_the_same_chains_come_again(few: None) -> None:
    one, two = (gym_recipe.School(LLM) for _ in range(2))
    rng = [generator(5) for _ in range(2)]
    drawn = [
        list(islice(s.drawing.chains("gcd", "count_primes", "public", r), 9))
        for s, r in zip((one, two), rng, strict=True)
    ]
    assert drawn[0] == drawn[1]
