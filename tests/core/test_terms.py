from dataclasses import FrozenInstanceError

import pytest

from lada.core.terms import Allocation, Knowledge, Lesson, Likelihood, Path, Sample, Verb


def test_likelihood_by_hand():
    likelihood = Likelihood(total=-6.0, minimum=-4.0, tokens=3, size=12)
    assert likelihood.mean == -2.0
    assert likelihood.per_byte == 0.5


def test_likelihood_of_an_empty_path():
    empty = Likelihood(total=0.0, minimum=0.0, tokens=0, size=0)
    assert (empty.mean, empty.per_byte) == (0, 0)
    # The end of sequence alone: one token, no byte.
    ended = Likelihood(total=-2.0, minimum=-2.0, tokens=1, size=0)
    assert (ended.mean, ended.per_byte) == (-2, 2)


def test_per_byte_does_not_depend_on_the_tokenizer():
    coarse, fine = Likelihood(-6.0, -6.0, 1, 12), Likelihood(-6.0, -1.0, 12, 12)
    assert coarse.per_byte == fine.per_byte
    assert coarse.mean != fine.mean


def test_knowledge_by_id():
    paths = tuple(Path(name, "llm", name * 2, None, None, Likelihood(0.0, 0.0, 1, 2)) for name in "ba")
    assert Knowledge("llm", 1, paths).by_id() == {"a": paths[1], "b": paths[0]}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (Sample("s", "?"), "answer"),
        (Likelihood(0.0, 0.0, 1, 1), "total"),
        (Lesson("s", "?", "text"), "weight"),
        (Allocation("llm", "c1", 1, ()), "round"),
    ],
)
def test_values_do_not_change(value, field):
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, 1)


def test_what_is_not_said_is_unknown():
    bare = Sample("s", "?")
    assert (bare.answer, bare.rationale, bare.domain, bare.difficulty) == (None, None, "", None)
    assert (Lesson("s", "?", "text").rejected, Lesson("s", "?", "text").weight) == (None, 1.0)
    assert Allocation("llm", "c1", 1, ()).scores == {}


def test_a_verb_reads_as_its_name():
    assert [f"{verb}" for verb in Verb] == [
        "answer",
        "explain",
        "continue",
        "confidence",
        "judge",
        "log_probs",
        "embed",
        "read",
        "study",
    ]
    assert Verb("judge") is Verb.JUDGE
