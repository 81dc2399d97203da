"""Every method and every option of it has its line where people look for it."""

import re
from functools import cache
from pathlib import Path

import pytest
from blocks.methods import methods as options_page
from methods import Case, each

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
