"""A learner goes on with a path that another began."""

from typing import Any

import pytest

from lada.core.terms import Verb
from lada.models.base import LearnerBase
from lada.models.classifier_options import ClassifierOptions
from lada.models.generation import continuing_requests
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import Generation, ModelOptions, Think
from lada.zoo.shipped import locate

OPENING = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]{{ '<think>\n' }}"
"""As in DeepSeek-R1's."""
QUESTIONS = [
    "14 boxes in the warehouse . a) stack . b) sort . how many boxes ?",
    "5 patients in the clinic . a) scan . how many patients ?",
]


@pytest.fixture(scope="module")
def learner() -> Any:
    return load(str(locate("zoo:slm-llama")), ModelOptions(model="zoo:slm-llama", max_new_tokens=48))


def beginnings(learner: HuggingFaceLearner, question: str, text: str) -> list[str]:
    """Return the beginnings of a text that have the same tokens alone as within it."""
    (tokenized,) = learner.tokenize([text])
    assert tokenized is not None
    whole = learner.encoder.pair(question, text).completion
    found = [text.encode()[:end].decode() for _, end in tokenized.offsets.tolist()[:-1]]
    cut = [learner.encoder.pair(question, each, cut=True).completion for each in found]
    return [each for each, ids in zip(found, cut, strict=True) if ids == whole[: len(ids)]]


def test_greedily_it_goes_on_as_it_would_have_written(learner: HuggingFaceLearner):
    for question, answer in zip(QUESTIONS, learner.answer(QUESTIONS, seed=1), strict=True):
        begun = beginnings(learner, question, answer.text)
        assert len(begun) > 5
        found = learner.complete([(question, each) for each in begun], seed=1)
        assert {each.text for each in found} == {answer.text}
        (judged,) = learner.judge([(question, answer.text)])
        for each in found:
            assert each.likelihood.total == pytest.approx(judged.total, abs=1e-3)
            assert (each.likelihood.tokens, each.likelihood.size) == (judged.tokens, judged.size)


def test_an_empty_beginning_is_none_at_all(learner: HuggingFaceLearner):
    written = learner.answer(QUESTIONS, seed=1)
    assert [each.text for each in learner.complete([(q, "") for q in QUESTIONS], seed=1)] == [e.text for e in written]
    assert learner.complete([], seed=1) == []


def test_what_another_wrote_stays_and_the_seed_decides_what_follows(learner: HuggingFaceLearner):
    begun = [(QUESTIONS[0], "a) stack : 14 + 1 =")] * 40
    texts = [each.text for each in learner.complete(begun, seed=2, temperature=2.0)]
    assert all(text.startswith("a) stack : 14 + 1 =") for text in texts)
    assert len(set(texts)) > 1
    assert texts == [each.text for each in learner.complete(begun, seed=2, temperature=2.0)]
    assert texts != [each.text for each in learner.complete(begun, seed=3, temperature=2.0)]


def test_a_beginning_without_room_is_cut_by_a_token(learner: HuggingFaceLearner):
    question, context = QUESTIONS[0], learner.encoder.context
    (stream,) = continuing_requests(learner.encoder, [(question, "a) stack : 14 " * context)], 1, 48)
    assert (len(stream.prompt), stream.max_new_tokens) == (context - 1, 1)
    (answer,) = learner.complete([(question, "a) stack : 14 " * context)], seed=1)
    assert answer.cut
    (short,) = continuing_requests(learner.encoder, [(question, "a) stack")], 1, 48)
    assert short.max_new_tokens == 48
    assert short.prompt[-len(short.begun) :] == short.begun


def test_special_tokens_in_a_beginning_are_plain_text(learner: HuggingFaceLearner):
    eos = learner.tokenizer.eos_token
    (answer,) = learner.complete([(QUESTIONS[0], f"a) stack {eos}")], seed=1)
    assert answer.text.startswith("a) stack")
    assert learner.encoder.eos not in continuing_requests(learner.encoder, [("?", f"a {eos}")], 1, 8)[0].begun


@pytest.mark.parametrize("keep", [True, False])
def test_thinking_that_a_template_opens_is_not_that_of_another_writer(tiny: Any, keep: bool):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = OPENING
    thinker = tiny.learner(tokenizer=tokenizer, think=Think(keep=keep), max_new_tokens=12)
    (stream,) = continuing_requests(thinker.encoder, [("how many ?", "a) 14")], 1, 12)
    assert tokenizer.decode(stream.prompt) == "[user] how many ?\n[assistant]<think>\n\n</think>\n\na) 14"
    (answer,) = thinker.complete([("how many ?", "a) 14")], seed=1)
    assert answer.text.startswith("a) 14")
    # Without a beginning, it thinks as in an answer of its own.
    (empty,) = continuing_requests(thinker.encoder, [("how many ?", "")], 1, 12)
    assert (empty.prompt, empty.begun) == (thinker.encoder.prompt("how many ?"), ())
    (own,) = thinker.complete([("how many ?", "")], seed=1)
    assert own == thinker.answer(["how many ?"], seed=1)[0]


def test_what_ends_an_answer_of_ones_own_does_not_end_the_beginning_of_another(tiny: Any):
    question, begun = "how many boxes ?", "a) stack\nb) 14 boxes"
    (free,) = tiny.learner(max_new_tokens=12).complete([(question, begun)], seed=1)
    assert len(free.text) > len(begun) + 1
    for stop, expected in (("\n", free.text), (free.text[len(begun) + 1 :], free.text[: len(begun) + 1])):
        learner = tiny.learner(max_new_tokens=12, generation=Generation(stop=(stop,)))
        (answer,) = learner.complete([(question, begun)], seed=1)
        assert answer.text == expected


def test_a_label_has_no_beginning():
    assert Verb.CONTINUE not in ClassifierOptions(labels=("a", "b"), reads={"x": (2, 2)}).able
    assert Verb.CONTINUE in ModelOptions(model="zoo:slm-llama").able


def test_a_learner_without_the_verb_says_so():
    with pytest.raises(NotImplementedError, match="LearnerBase cannot continue the beginnings of paths"):
        LearnerBase().complete([("?", "a)")], seed=1)
