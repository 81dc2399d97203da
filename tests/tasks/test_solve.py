"""New questions of the built-in corpora: each is answered by the true rulebook, and nothing else is one."""

import pytest

from lada.core.seeds import generator
from lada.tasks.builtin import CORPORA, load_builtin
from lada.tasks.options import BuiltinTask


@pytest.mark.parametrize("name", CORPORA)
def test_a_question_is_solved_as_it_was_drawn(name: str):
    corpus = CORPORA[name]
    book = corpus.world(0)
    for domain in corpus.domains:
        for sample in corpus.draw(book, domain, "public", 8, generator("solve", domain), prefix="x"):
            solved = corpus.solve(sample.question, book)
            assert solved is not None
            told = (solved.question, solved.answer, solved.rationale, solved.domain, solved.difficulty)
            assert told == (sample.question, sample.answer, sample.rationale, domain, sample.difficulty)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7 boxes in the warehouse . a) pallet . how many",
        "7 boxes in the warehouse . a) triage . how many boxes ?",  # a verb of another domain
        "7 boxes in the warehouse . b) audit . how many boxes ?",  # labels begin at a
        "7 boxes in the warehouse . a) audit . a) audit . how many boxes ?",
        "99 boxes in the warehouse . a) audit . how many boxes ?",
        "7 boxes in the warehouse . audit . how many boxes ?",
        "7 boxes in the warehouse .  . how many boxes ?",
        "a) pallet : 7 + 4 = 11 . answer 11",
    ],
)
def test_any_other_text_is_no_question(text: str):
    task = load_builtin(BuiltinTask(public=4, private=4, replay=1, test_per_domain=1), {"a": ()}, 0)
    assert task.solve is not None
    assert task.solve(text) is None


def test_verbs_with_and_without_their_words():
    corpus = CORPORA["rulebooks"]
    book = corpus.world(0)
    for verb, rule in book.rules["farm"].items():
        for words in (verb, f"{verb} 2", f"{verb} much"):
            solved = corpus.solve(f"9 sheep in the farm . a) {words} . how many sheep ?", book)
            fits = (rule.kind == "argument") == (words != verb) and "much" not in words
            assert solved is None or fits, words
    assert any(corpus.solve(f"9 sheep in the farm . a) {verb} . how many sheep ?", book) for verb in book.rules["farm"])
