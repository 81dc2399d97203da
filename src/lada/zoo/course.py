"""What a shipped model is taught and tested on, by its recipe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import AnswerKind, answer_kind
from lada.tasks.builtin import CORPORA
from lada.tasks.families.load import ANSWERS
from lada.tasks.generated import GENERAL
from lada.zoo import gym_recipe
from lada.zoo.recipe import FAMILIES_CORPUS, Recipe, pretraining_samples, tokenizer_texts
from lada.zoo.tokenizers import PROSE, WORDS


@dataclass(frozen=True, slots=True)
class Course:
    """What a model learns from. `texts` are what its tokenizer is learnt from, whose words `pattern` splits."""

    title: str
    taught: str
    """What the model knows, in a sentence for its card."""
    answers: AnswerKind
    pattern: str
    texts: Callable[[], Iterable[str]]
    samples: Callable[[], list[Sample]]
    tests: Callable[[int], dict[str, list[Sample]]]
    """`tests(count)`: at most so many questions by what they test, none of which the model was taught."""


def course_of(recipe: Recipe) -> Course:
    """Return the course of a recipe. Raises InputError for one whose questions need a package that is missing."""
    if recipe.corpus == FAMILIES_CORPUS:
        return _families(recipe)
    corpus = CORPORA[recipe.corpus]
    return Course(
        corpus.title,
        "Client SLM: it knows the skills (primitive steps, verbs that say what they do) but no domain's verbs."
        if recipe.world is None
        else f"Server LLM of world {recipe.world}: it knows the skills and, of each domain, what its teachers told it, "
        "some of it wrong.",
        answer_kind(corpus.answers),
        WORDS,
        lambda: tokenizer_texts(corpus),
        lambda: pretraining_samples(recipe),
        lambda count: _builtin_tests(recipe, count),
    )


def _families(recipe: Recipe) -> Course:
    school = gym_recipe.School(recipe)
    return Course(
        gym_recipe.TITLE,
        "Client SLM: it knows the skills (sums, products, single steps of a rationale) but no family."
        if recipe.world is None
        else f"Server LLM of world {recipe.world}: it knows all families and chains them in its world's styles.",
        answer_kind(ANSWERS),
        PROSE,
        school.texts,
        school.samples,
        school.tests,
    )


def _builtin_tests(recipe: Recipe, count: int) -> dict[str, list[Sample]]:
    corpus, number = CORPORA[recipe.corpus], recipe.world or 0
    book = corpus.world(number)
    return {
        domain: corpus.draw(book, domain, "test", count, generator("card", number, domain), prefix=domain)
        for domain in (*corpus.domains, GENERAL)
    }
