"""The oracle reads the style of a path off its text."""

from dataclasses import replace
from typing import Any

import pytest
from tables import STUDENT, Row, make
from tables import candidates as unnamed

from lada.core.errors import InputError
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.generated import GeneratedCorpus
from lada.tasks.lineups import LINEUPS
from lada.tasks.rulebooks import RULEBOOKS

STYLES = ("spelled_out", "skips_warehouse", "skips_clinic", "leaps", "other") * 4


def table(corpus: GeneratedCorpus[Any, Any, Any] = RULEBOOKS, world: int = 0, styles=STYLES):
    """Return candidates whose teacher writes mixed questions in these styles, one each."""
    book = corpus.world(world)
    one, other = corpus.client_domains[:2]
    samples = corpus.draw(
        book, f"{one}+{other}", "public", len(styles), generator("oracle"), prefix="q", lengths={4: 1.0}
    )
    told = [
        corpus.retell(s, book, style) or s if style != "other" else s for s, style in zip(samples, styles, strict=True)
    ]
    made = unnamed([Row()] * len(styles))
    paths = [
        replace(path, text="answer 99" if style == "other" else each.rationale or "")
        for path, each, style in zip(made.teacher_paths, told, styles, strict=True)
    ]
    return replace(made, samples=tuple(samples), teacher_paths=tuple(paths))


def picked(offers, **options) -> list[str]:
    rule = make("oracle", **{"world": 0, **options})
    _, allocation, _ = rule.apply(rule.init(0), offers)
    assert {choice.source for choice in allocation.choices} <= {"teacher"}
    places = [int(choice.sample_id.rpartition("-")[2]) for choice in allocation.choices]
    assert [choice.reason for choice in allocation.choices] == [STYLES[place] for place in places]
    return [choice.reason for choice in allocation.choices]


def test_it_takes_all_right_paths_by_default():
    assert sorted(picked(table())) == sorted(style for style in STYLES if style != "other")


def test_it_gives_a_student_what_suits_it_the_best_first():
    suits = {STUDENT: ["skips_warehouse", "leaps", "spelled_out"], "another": ["skips_clinic"]}
    found = picked(table(), suits=suits)
    assert found == ["skips_warehouse"] * 4 + ["leaps"] * 4 + ["spelled_out"] * 4
    assert picked(table(), suits=suits, budget=6) == ["skips_warehouse"] * 4 + ["leaps"] * 2
    assert picked(table(), suits=suits, budget=0.25) == ["skips_warehouse"] * 4 + ["leaps"]
    assert picked(table(), suits={STUDENT: []}) == []
    assert "other" not in picked(table(), suits={"another": ["other"]})
    assert picked(table(), suits={STUDENT: ["other"]}) == ["other"] * 4


def test_who_is_drawn_depends_on_the_seed_alone():
    def draw(seed: int) -> list[str]:
        rule = make("oracle", world=0, budget=6)
        offers = replace(table(), seed=seed)
        return [choice.sample_id for choice in rule.apply({}, offers)[1].choices]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_in_another_world_no_path_is_right():
    assert picked(table(), world=1) == []


def test_of_lineups_it_knows_too():
    styles = ("skips_theatre", "skips_harbour")
    rule = make("oracle", world=0, suits={STUDENT: ["skips_harbour"]})
    choices = rule.apply({}, table(LINEUPS, styles=styles))[1].choices
    assert [choice.sample_id for choice in choices] == ["q-00001"]


def test_a_question_of_no_corpus_is_refused():
    offers = replace(table(), samples=(Sample("x", "what is 1 + 1 ?"),) * len(STYLES))
    with pytest.raises(InputError, match="is not a question of a built-in corpus"):
        picked(offers)
