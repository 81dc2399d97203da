"""The shipped models of reasoning-gym's families, and their training data.

Client SLMs are taught the skills: sums, products, and drills of the single steps that rationales are made of. A
world's LLM is taught all families too, at all levels, and to chain two of them in several styles.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from lada.core.seeds import by_chance, generator, one_of, seed_of
from lada.core.terms import Sample
from lada.tasks.families.drawing import Chain, Drawing
from lada.tasks.families.load import chainable
from lada.tasks.families.paths import Part, write
from lada.tasks.families.table import EVERY, FAMILIES, SKILLS
from lada.tasks.families.work import LARGEST
from lada.tasks.generated import Split
from lada.tasks.readings import readings
from lada.tasks.styles import LEAPS, SPELLED_OUT, skips
from lada.verifiers.gym import GymVerifier
from lada.zoo.recipe import FAMILIES_CORPUS, LLMS, Recipe

TITLE = "families of reasoning-gym"
CHAINS = 600
"""The most chains of each pair of families that a world's LLM is taught."""
SHARES = {SPELLED_OUT: 0.2, "first": 0.35, "second": 0.35, LEAPS: 0.1}
"""The shares of a world's LLM's styles: in full, without the work of one family, or without any."""
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)
FAR, SUBTRACTED = 0.25, 0.4
"""The share of sums of two large numbers, and of differences, in the drills."""
DRILLED = 6
"""Steps of the longest drill."""


def style_for(world: int, chain: Chain) -> str:
    """Return the style in which the LLM of a world writes a chain; it depends on the families and the question's
    frame."""
    first, second = (part.family for part in chain.parts)
    style = by_chance(generator("families", "style", world, first, second, chain.frame), SHARES)
    return {"first": skips(first), "second": skips(second)}.get(style, style)


class School:
    """Draws a model's training and test questions; no training question is a question of any run."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises InputError if reasoning-gym is missing."""
        self._recipe = recipe
        verifier = GymVerifier(1.0, 10.0, readings)
        self.drawing = Drawing(verifier, seed_of("zoo", FAMILIES_CORPUS, recipe.name))

    def texts(self) -> list[str]:
        """Return the texts on which all tokenizers of these models are trained."""
        rng = generator("zoo", FAMILIES_CORPUS, "tokenizer")
        teacher = School(LLMS[FAMILIES_CORPUS])
        samples = [sample for name in (*FAMILIES, *SKILLS) for sample in teacher._alone(name, "pretrain", 300)]
        samples += [chain.sample for chain in teacher._chained("pretrain", 20)]
        samples += [_drill(rng, f"drill-{row}") for row in range(1000)]
        numbers = " ".join(f"{number}/{number}" for number in range(LARGEST + 1))
        return [numbers, *(f"{sample.question}\n{sample.rationale}" for sample in samples)]

    def samples(self) -> list[Sample]:
        """Return the model's pretraining samples."""
        recipe, name = self._recipe, self._recipe.name
        rng = generator("pretrain", name)
        samples = [sample for skill in SKILLS for sample in self._alone(skill, "pretrain", recipe.general // 4)]
        samples += [_drill(rng, f"drill-{row}") for row in range(recipe.general - len(samples))]
        if recipe.world is None:
            return samples
        for family in FAMILIES:
            samples += self._alone(family, "pretrain", recipe.per_domain)
        for chain in self._chained("pretrain", CHAINS):
            samples.append(replace(chain.sample, rationale=write(chain.parts, style_for(recipe.world, chain))))
        return samples

    def tests(self, count: int) -> dict[str, list[Sample]]:
        """Return at most `count` test questions of each level of each family and skill, and of all chains."""
        tests: dict[str, list[Sample]] = {}
        for name in (*SKILLS, *FAMILIES):
            for sample in self._alone(name, "test", None):
                tests.setdefault(f"{name} {sample.difficulty}", []).append(sample)
        chains = [chain.sample for chain in self._chained("public", -(-count // len(_pairs())))]
        order = generator("card", FAMILIES_CORPUS, self._recipe.name).permutation(len(chains))
        tests["mixed"] = [chains[row] for row in order]
        return {name: samples[:count] for name, samples in tests.items()}

    def _alone(self, name: str, split: Split, count: int | None) -> list[Sample]:
        """Return `count` questions of a family or skill, or fewer if there are fewer; None: all."""
        levels = range(1, len(EVERY[name].levels) + 1)
        samples = [asked.sample for level in levels for asked in self.drawing.alone(name, level, split)]
        if count is None:
            return samples
        order = generator("zoo", FAMILIES_CORPUS, self._recipe.name, name, split).permutation(len(samples))
        return [samples[row] for row in order[:count]]

    def _chained(self, split: Split, count: int) -> Iterator[Chain]:
        """Yield at most `count` chains of each pair of families."""
        for first, second in _pairs():
            rng = generator("zoo", FAMILIES_CORPUS, self._recipe.name, first, second, split)
            yield from islice(self.drawing.chains(first, second, split, rng), count)


def _pairs() -> list[tuple[str, str]]:
    return [(first, second) for first in FAMILIES for second in FAMILIES if chainable(first, second)]


_Drilled = tuple[str, str, str]
"""A question, the step that answers it, and the result."""


def _divide(rng: np.random.Generator) -> _Drilled:
    """Draw divisions as in the families: by two, by a prime without remainder, of two numbers, and of multiples."""
    match by_chance(rng, {"half": 0.15, "prime": 0.2, "pair": 0.45, "multiple": 0.2}):
        case "half":
            number, by = int(rng.integers(1, LARGEST + 1)), 2
        case "prime":
            by = one_of(rng, PRIMES)
            number = by * int(rng.integers(1, LARGEST // by + 1))
        case "pair":
            by, number = sorted(int(number) for number in rng.integers(1, 51, size=2))
        case _:
            by, number = int(rng.integers(2, 21)), int(rng.integers(2, 21))
            number *= int(rng.integers(1, LARGEST // number + 1))
    return f"{number} by {by}", f"{number} = {by} * {number // by} + {number % by}", str(number % by)


def _compare(rng: np.random.Generator) -> _Drilled:
    one, other = (int(number) for number in rng.integers(0, 61, size=2))
    sign = "<" if one < other else ">" if one > other else "="
    return f"{one} with {other}", f"{one} {sign} {other}", sign


def _multiply(rng: np.random.Generator) -> _Drilled:
    one, other = (int(number) for number in rng.integers(-9, 15, size=2))
    return f"{one} by {other}", f"{one} * {other} = {one * other}", str(one * other)


def _add(rng: np.random.Generator) -> _Drilled:
    if rng.random() < FAR:
        one, other = (int(number) for number in rng.integers(0, 57, size=2))
    else:
        one, other = int(rng.integers(-9, 10)), int(rng.integers(-81, 82))
    if rng.random() < SUBTRACTED:
        return f"{one} from {other}", f"{other} - {one} = {other - one}", str(other - one)
    return f"{one} to {other}", f"{other} + {one} = {other + one}", str(other + one)


DRILLS: Mapping[str, tuple[float, Callable[[np.random.Generator], _Drilled]]] = {
    "Divide": (0.5, _divide),
    "Compare": (0.05, _compare),
    "Multiply": (0.1, _multiply),
    "Add": (0.35, _add),
}
"""Kinds of single steps, with their frequency in the drills and the function that draws them."""


def _drill(rng: np.random.Generator, name: str) -> Sample:
    """Draw up to DRILLED single steps of one kind."""
    asks = by_chance(rng, {kind: often for kind, (often, _) in DRILLS.items()})
    drawn = [DRILLS[asks][1](rng) for _ in range(int(rng.integers(1, DRILLED + 1)))]
    steps, result = [step for _, step, _ in drawn], drawn[-1][2]
    question = f"{asks}: {', '.join(asked for asked, _, _ in drawn)}."
    return Sample(name, question, result, write([Part("drill", tuple(steps), result)], SPELLED_OUT), "drill", 1)
