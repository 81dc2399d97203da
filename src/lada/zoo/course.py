"""What a shipped model is taught and tested on, by its recipe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.answers import AnswerKind, answer_kind
from lada.tasks.builtin import CORPORA
from lada.tasks.families.load import ANSWERS
from lada.tasks.generated import GENERAL, WITH
from lada.zoo import gym_recipe
from lada.zoo.recipe import FAMILIES_CORPUS, Recipe, pretraining_samples, tokenizer_texts
from lada.zoo.tokenizers import PROSE, WORDS


@dataclass(frozen=True, slots=True)
class Course:
    """The training data of a model. Its tokenizer is trained on `texts`, whose words `pattern` splits."""

    title: str
    taught: str
    """A sentence on the model's knowledge, for its card."""
    questions: str
    """The amount and kind of its training questions besides general ones, in words."""
    answers: AnswerKind
    pattern: str
    texts: Callable[[], Iterable[str]]
    samples: Callable[[], list[Sample]]
    tests: Callable[[int], dict[str, list[Sample]]]
    """`tests(count)` returns at most `count` questions for each skill that they test; none was in the training data."""


def course_of(recipe: Recipe) -> Course:
    """Return the course of a recipe. Raises InputError if its questions need a missing package."""
    if recipe.corpus == FAMILIES_CORPUS:
        return _families(recipe)
    corpus = CORPORA[recipe.corpus]
    taught, questions = _builtin_words(recipe)
    return Course(
        corpus.title,
        taught,
        questions,
        answer_kind(corpus.answers),
        WORDS,
        lambda: tokenizer_texts(corpus),
        lambda: pretraining_samples(recipe),
        lambda count: _builtin_tests(recipe, count),
    )


def _builtin_words(recipe: Recipe) -> tuple[str, str]:
    """Return descriptions of the knowledge and the training data of a model of a built-in corpus."""
    questions = f"{recipe.per_domain} of each domain"
    if recipe.world is None:
        knows = "Client SLM: it knows the skills (primitive steps, verbs that say what they do) but no domain's verbs."
        return knows, questions
    knows = (
        f"Server LLM of world {recipe.world}: it knows the skills and, of each domain, what its teachers told it, some "
        "of it wrong."
    )
    if not recipe.styles:
        return knows, questions
    corpus = CORPORA[recipe.corpus]
    known = " and ".join(corpus.known_domains)
    styles = ", ".join(f"{share:.0%} {style}" for style, share in recipe.styles.items())
    return (
        f"{knows} Of {known} it knows everything, of {corpus.client_domains[-1]} nothing. Its paths on {known} are "
        f"written in styles: {styles}.",
        f"{recipe.per_domain} of each server domain, {recipe.per_known} each of {known}, {recipe.mixed} that mix them",
    )


def _families(recipe: Recipe) -> Course:
    school = gym_recipe.School(recipe)
    return Course(
        gym_recipe.TITLE,
        "Client SLM: it knows the skills (sums, products, single steps of a rationale) but no family."
        if recipe.world is None
        else f"Server LLM of world {recipe.world}: it knows all families and chains them in its world's styles.",
        f"{recipe.per_domain} of each family",
        answer_kind(ANSWERS),
        PROSE,
        school.texts,
        school.samples,
        school.tests,
    )


def _builtin_tests(recipe: Recipe, count: int) -> dict[str, list[Sample]]:
    corpus, number = CORPORA[recipe.corpus], recipe.world or 0
    book = corpus.world(number)
    mixed = [WITH.join(corpus.known_domains)] if recipe.mixed else []
    return {
        domain: corpus.draw(book, domain, "test", count, generator("card", number, domain), prefix=domain)
        for domain in (*corpus.domains, GENERAL, *mixed)
    }
