"""Public samples that are held out for validation, and generated ones that join."""

from dataclasses import replace

from actors import PUBLIC, task

from lada.core.terms import Origin, Sample


def test_a_share_of_the_samples_with_gold_answers_is_held_out_the_same_for_everybody():
    whole = task((*PUBLIC, Sample("q", "who knows")))
    held = whole.holding_out(0.4, seed=1)
    assert len(held.validation) == 2
    assert {*held.public, *held.validation} == {*whole.public}
    assert all(sample.answer is not None for sample in held.validation)
    ids = [sample.id for sample in held.public]
    assert ids == [sample.id for sample in whole.public if sample.id in ids]
    assert whole.holding_out(0.4, seed=1) == held
    assert whole.holding_out(0.0, seed=1).public == whole.public


def test_generated_samples_replace_those_of_before():
    one = Sample("generated-1", "new ?", "1", origin=Origin("llm", 1, (), 1.0))
    two = replace(one, id="generated-2", question="newer ?")
    grown = task().with_generated((one,)).with_generated((one, two))
    assert grown.public == (*PUBLIC, one, two)
    assert grown.with_generated(()).public == PUBLIC
