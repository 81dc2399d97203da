"""What holds of the methods of the suite `neighbours`: tags, a level of their source, one short file each."""

import inspect
from pathlib import Path

import pytest
from test_bad_input import METHODS

from lada.cli.tables import method_told
from lada.points import POINTS

LEVELS = {
    "code read": {"taid", "sinkd", "ofa_kd", "pcoreset", "flasc", "symbolic_kd"},
    "paper read": {"pld"},
    "second-hand": {"bd_kd", "edgefd", "knfu", "fedopt", "pgkd"},
    "abstract": {"swing"},
}
FOUND = [method for point in POINTS.values() for method in point.registry if method.name in METHODS]


@pytest.mark.parametrize("method", FOUND, ids=lambda method: method.name)
def test_each_has_tags_and_a_level_and_says_so(method):
    assert method.tags
    assert method.name in LEVELS[method.level]
    assert method.paper.startswith("arXiv ")
    told = [str(each) for each in method_told(method.name)]
    assert f"facts: our reading, {method.level}" in told
    assert any(method.paper in each for each in told)


@pytest.mark.parametrize("method", FOUND, ids=lambda method: method.name)
def test_each_is_one_file_of_at_most_200_lines(method):
    file = Path(inspect.getfile(method.make))
    assert file.stem == method.name
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 200


def test_all_are_registered():
    assert {method.name for method in FOUND} == set(METHODS) == set().union(*LEVELS.values())
