"""Every method and every option of it has its line where people look for it."""

import re
from functools import cache
from pathlib import Path

import pytest
from blocks.methods import methods as options_page
from blocks.methods import tags as tags_table
from methods import METHODS, Case, each

from lada.core.taxonomy import ELICITATION, LEARNING, elicitation, learning
from lada.points import POINTS

ROOT = Path(__file__).parents[2]


@cache
def pages() -> tuple[str, str]:
    return options_page(), (ROOT / "docs/methods.md").read_text(encoding="utf-8")


@each(*POINTS)
def test_a_method_says_what_it_does_and_what_each_option_means(case: Case):
    method = case.method
    assert method.summary.endswith(".")
    fields = method.options.model_json_schema().get("properties", {})
    assert [name for name, field in fields.items() if not field.get("description")] == []


@each(*POINTS)
def test_a_method_of_the_package_has_its_row_and_each_option_its_line(case: Case):
    method = case.method
    if not method.make.__module__.startswith("lada."):
        pytest.skip("it is described where it comes from")
    options, index = pages()
    section = re.split(r"\n##", index.partition(f"\n### {case.kind}\n")[2])[0]
    assert re.search(rf'^\| <a id="{case.kind}-{method.name}"></a>`{method.name}` \| \S', section, re.MULTILINE)
    own = re.split(r"\n\n### ", options.partition(f"### `{method.name}` {{ #{case.kind}-{method.name} }}")[2])[0]
    assert [name for name in method.options.model_fields if f"\n| `{name}` |" not in own] == []


@each(*POINTS)
def test_a_method_of_the_package_says_what_knowledge_it_works_with_and_how_it_is_learnt(case: Case):
    method = case.method
    if not method.make.__module__.startswith("lada."):
        pytest.skip("a plug-in may leave its tags out")
    assert method.tags
    if case.kind != "host":  # some hosts are controls, in which nothing is asked of a teacher
        assert elicitation(method.tags)
    if case.kind in ("host", "objective", "aggregator"):
        assert learning(method.tags)
    own = re.split(r"\n\n### ", pages()[0].partition(f"### `{method.name}` {{ #{case.kind}-{method.name} }}")[2])[0]
    assert elicitation(method.tags) in own
    assert learning(method.tags) in own


def test_the_table_of_tags_has_every_tag_and_method():
    rows = {cells[1].strip(" `"): cells for line in tags_table().splitlines()[2:] for cells in [line.split("|")]}
    assert list(rows) == [*ELICITATION, *LEARNING]
    for kind, methods in METHODS.items():
        for method in methods:
            if method.make.__module__.startswith("lada."):
                has = {tag for tag, cells in rows.items() if f"(options.md#{kind}-{method.name})" in cells[3]}
                assert has == set(method.tags)
