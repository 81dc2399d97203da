"""Tags: two lists without a common word, checked when a method registers."""

from typing import get_args

import pytest

from lada.core.registry import Registry
from lada.core.taxonomy import ELICITATION, LEARNING, Tag, elicitation, learning


def test_each_tag_has_one_meaning():
    assert [*ELICITATION, *LEARNING] == list(get_args(Tag))
    assert len(set(get_args(Tag))) == len(get_args(Tag))


def test_tags_are_told_by_list_and_in_its_order():
    tags = ("ranking", "feedback", "labels", "supervised")
    assert (elicitation(tags), learning(tags)) == ("labels, feedback", "supervised, ranking")
    assert (elicitation(()), learning(())) == ("", "")


def test_a_method_has_its_own_tags_or_those_of_its_kind():
    registry = Registry("method", "json", tags=("records",))  # any package will do
    registry.register("own", tags=("labels", "supervised"))(lambda options: 1)
    registry.register("plain")(lambda options: 1)
    assert [method.tags for method in registry] == [("labels", "supervised"), ("records",)]


@pytest.mark.parametrize(
    ("tags", "fault"),
    [(("labels", "logits"), "unknown tag 'logits'; expected some of labels"), (("labels",) * 2, "twice")],
)
def test_a_wrong_tag_is_refused(tags, fault: str):
    with pytest.raises(ValueError, match=fault):
        Registry("method", "json").register("one", tags=tags)(lambda options: 1)
