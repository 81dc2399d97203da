"""What holds of the methods of the suite `neighbours`: tags, a level of their source, one short file each."""

import inspect
import re
from pathlib import Path

import pytest
from test_bad_input import METHODS

from lada.cli.tables import INDENTED, method_told
from lada.points import POINTS

LEVELS = {
    "code read": {"taid", "sinkd", "ofa_kd", "pcoreset", "flasc", "symbolic_kd"},
    "paper read": {"pld"},
    "second-hand": {"bd_kd", "edgefd", "knfu", "fedopt", "pgkd"},
    "abstract": {"swing"},
}
FORMULA = re.compile("[=←⟺Σ∑‖]|min over|hard negatives ")
FOUND = [method for point in POINTS.values() for method in point.registry if method.name in METHODS]


@pytest.mark.parametrize("method", FOUND, ids=lambda method: method.name)
def test_each_has_tags_and_a_level_and_says_so(method):
    assert method.tags
    assert method.name in LEVELS[method.level]
    assert method.paper.startswith("arXiv ")
    told = [str(each) for each in method_told(method.name)]
    assert f"facts: our reading, {method.level}" in told
    assert any(method.paper in each for each in told)
    assert any(INDENTED in each and FORMULA.search(each) for each in told)


ALSO = {
    "taid": "from a teacher, its 32 likeliest tokens along the teacher's texts; batches in their order",
    "sinkd": "batches that are never split, so no dp",
    "ofa_kd": "hidden states of the student at depths 0.25, 0.5, 0.75",
    "edgefd": "embeddings of the client's private questions, which stay there",
    "symbolic_kd": "public samples with gold answers",
    "pgkd": "public samples with gold answers",
}


@pytest.mark.parametrize("name", ALSO)
def test_what_is_needed_besides_verbs_is_told(name):
    assert any(each.startswith("also needs: ") and ALSO[name] in each for each in map(str, method_told(name)))


@pytest.mark.parametrize("method", FOUND, ids=lambda method: method.name)
def test_each_is_one_file_of_at_most_200_lines(method):
    file = Path(inspect.getfile(method.make))
    assert file.stem == method.name
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 200


def test_all_are_registered():
    assert {method.name for method in FOUND} == set(METHODS) == set().union(*LEVELS.values())
