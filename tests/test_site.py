"""The documentation as it is assembled for the site generator: complete, and without dead links."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_site
import pytest
import typer
import yaml
from blocks import schema as tables
from blocks.commands import each, meanings

from lada.cli.main import app
from lada.config import full_schema
from lada.points import POINTS
from lada.tasks.corpus import Corpus


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the text of every assembled page by its place on the site."""
    target = tmp_path_factory.mktemp("pages")
    make_site.assemble(make_site.ROOT, target)
    return {page.relative_to(target).as_posix(): page.read_text(encoding="utf-8") for page in target.rglob("*.md")}


def anchors(text: str) -> set[str]:
    """Return where links into a page may lead: an explicit id, or a heading in lower case with dashes."""
    found = set(re.findall(r'<a id="([\w-]+)">', text))
    for head in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    ):
        explicit = re.search(r"\{ #([\w-]+) \}$", head)
        found.add(explicit[1] if explicit else re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head).lower()))
    return found


def test_every_link_leads_to_a_page_and_an_anchor_of_it(site: dict[str, str]) -> None:
    seen = 0
    for name, text in site.items():
        for file, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", re.sub(r"`[^`]*`", "", text)):
            place = (Path("/", name).parent / file).resolve().relative_to("/").as_posix() if file else name
            seen += 1
            if place.endswith(".md"):
                assert place in site, f"{name}: {file}"
                assert not anchor or anchor in anchors(site[place]), f"{name}: {file}#{anchor}"
    assert seen > 100


def test_a_leaderboard_links_to_the_methods_page_of_the_site(site: dict[str, str], tmp_path: Path) -> None:
    make_site.assemble(make_site.ROOT, tmp_path)
    for suite in ("quick", "skips", "reach"):
        assert f"]({suite}-leaderboard.html)" in site[f"results/{suite}.md"]
        links = re.findall(
            r'href="([^"#]*)#([^"]*-[^"]*)"', (tmp_path / f"results/{suite}-leaderboard.html").read_text()
        )
        assert {page for page, _ in links} == {"../methods.html"}
        assert {anchor for _, anchor in links} <= anchors(site["methods.md"])


def test_the_navigation_names_every_page_once(site: dict[str, str]) -> None:
    def leaves(node: Any) -> Iterator[str]:
        for entry in node:
            (inner,) = entry.values()
            yield from [inner] if isinstance(inner, str) else leaves(inner)

    config = yaml.safe_load((make_site.ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8"))
    assert Counter(leaves(config["nav"])) == Counter(site.keys())


def test_made_blocks_hold_what_the_code_has(site: dict[str, str]) -> None:
    assert not [name for name, text in site.items() if "<!-- made" in text]
    for registry in (point.registry for point in POINTS.values()):
        for method in registry:
            assert f"### `{method.name}` {{ #{registry.kind}-{method.name} }}" in site["options.md"]
    assert "## `lada zoo build` { #lada-zoo-build }" in site["commands.md"]
    assert (
        "| `CONFIG` | *needed* | The configuration, a YAML file, or with --resume the folder of a run. |"
        in site["commands.md"]
    )
    for row in (
        "| `rounds` | whole number, ≥ 0, ≤ 100000 | `2` |",
        "| `task` | [builtin task](#builtin-task) or [files task](#files-task) or [hub task](#hub-task) or "
        "[gym task](#gym-task) or [families task](#families-task) or [digits task](#digits-task) | "
        "`{kind: rulebooks}` |",
        "| `distil` | [study](#study) | `{steps: 300, optimisation: {learning_rate: 0.001}}` |",
        "| `betas` | 2 × number, ≥ 0, < 1 | `[0.9, 0.98]` |",
    ):
        assert row in site["configuration.md"]
    assert (
        "| `llm-world-0` | llama, width 128, 4 layers | 935,424 | 7500 | 707 | 99.5 | 76.9 | 15.2 |"
        in site["corpus.md"]
    )  # 76.9 and 15.2 are the means of 70.5, 81, 72.5, 83.5 and of 18, 8.5, 19


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](../results/alignment/README.md#x)", "[a](results/alignment.md#x)"),
        ("[a](../CONTRIBUTING.md) `](../no.md)`", "[a](contributing.md) `](../no.md)`"),
        ("```\n[a](no.md)\n```\n[b](https://x.org) [c](#here)", "```\n[a](no.md)\n```\n[b](https://x.org) [c](#here)"),
    ],
)
def test_links_between_files_become_links_between_pages(text: str, expected: str) -> None:
    page = make_site.ROOT / "docs/methods.md"
    assert make_site._turn_links(text, page, make_site.published(make_site.ROOT)) == expected


def test_the_search_works_without_a_server() -> None:
    config = yaml.safe_load((make_site.ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8"))
    assert config["plugins"] == ["search", "offline"]
    (worker,) = config["extra"]["polyfills"]
    assert "iframe-worker" in worker, "else the plug-in would load one from elsewhere"
    assert Path(worker) in make_site.published(make_site.ROOT).values()


def test_what_is_not_on_the_site_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "CONTRIBUTING.md").write_text("[x](LICENSE)", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"CONTRIBUTING\.md links to LICENSE, which is no page"):
        make_site.assemble(tmp_path, tmp_path / "out")
    (tmp_path / "CONTRIBUTING.md").write_text("<!-- made: nothing --><!-- /made -->", encoding="utf-8")
    with pytest.raises(ValueError, match="block 'nothing' is unknown; expected one of commands, "):
        make_site.assemble(tmp_path, tmp_path / "out")


def keys(schema: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key of every object of a schema."""
    for name, node in ((where, schema), *schema.get("$defs", {}).items()):
        for key, field in node.get("properties", {}).items():
            yield f"{name}.{key}", field


def test_every_key_says_what_it_means() -> None:
    schemas = {"configuration": full_schema(), "corpus": Corpus.model_json_schema()}
    for registry in (point.registry for point in POINTS.values()):
        schemas |= {f"{registry.kind} {m.name}": m.options.model_json_schema() for m in registry}
    found = [entry for where, schema in schemas.items() for entry in keys(schema, where)]
    assert len(found) > 100
    assert [name for name, field in found if not field.get("description")] == []


def test_every_command_and_option_says_what_it_means() -> None:
    for names, command in each(typer.main.get_command(app), ("lada",)):
        assert command.help, names
        told = meanings(command)
        assert [p.name for p in command.params if p.name != "help" and not told[p.name]] == [], names


def test_a_table_shows_types_bounds_and_defaults_as_one_writes_them() -> None:
    inner = {"properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "string", "default": "x\ny"}}}
    fields = {
        "text": {"type": "string", "description": "One | two;\nNone: three."},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.5},
        "kind": {"enum": ["p", "q"], "type": "string", "default": "p"},
        "many": {"type": "array", "items": {"$ref": "#/$defs/InnerOptions"}, "default": []},
        "one": {"anyOf": [{"$ref": "#/$defs/InnerOptions"}, {"type": "null"}], "default": {"a": 2, "b": "x\ny"}},
    }
    schema = {"$defs": {"InnerOptions": inner}, "properties": fields, "required": ["text"]}
    assert tables.table(schema, schema).splitlines()[2:] == [
        "| `text` | text | *needed* | One \\| two; `null`: three. |",
        "| `share` | number, > 0, ≤ 1 | `0.5` |  |",
        "| `kind` | `p`, `q` | `p` |  |",
        "| `many` | list of [inner options](#inner-options) | `[]` |  |",
        "| `one` | [inner options](#inner-options) or `null` | `{a: 2}` |  |",
    ]
    assert tables.table(schema, inner).splitlines()[3] == '| `b` | text | `"x\\ny"` |  |'
