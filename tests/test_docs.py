"""What the pages say is so: methods, links, commands, configurations."""

import json
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from lada.allocators.base import ALLOCATORS
from lada.cli.main import app
from lada.config import make_config
from lada.core.terms import Sample
from lada.federation.parties import read_task
from lada.hosts.base import HOSTS
from lada.models.options import ModelOptions
from lada.objectives.base import OBJECTIVES
from lada.points import POINTS
from lada.privacy.options import Withholding
from lada.tasks.corpus import corpus_names, read_corpus, sample_of

Blocks = Callable[[Path, str], list[str]]
MODELS = {
    "server": {"model": {"model": "zoo:llm-world-0"}},
    "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
}
SOFT = {"plugin": "none", "objective": "soft_targets"}


@pytest.mark.parametrize("registry", [point.registry for point in POINTS.values()], ids=lambda registry: registry.kind)
def test_every_method_has_its_row_in_the_index(registry, root: Path) -> None:
    section = (root / "docs/methods.md").read_text(encoding="utf-8").partition(f"\n### {registry.kind}\n")[2]
    rows = re.findall(
        r'^\| <a id="([\w-]+)"></a>`(\w+)` \|[^|]+\| ([^|]+) \| ([^|]+) \|[^|]+\|$',
        re.split(r"\n##", section)[0],
        re.MULTILINE,
    )
    told = {name: (anchor, paper, status) for anchor, name, paper, status in rows}
    assert told == {
        method.name: (f"{registry.kind}-{method.name}", method.paper or "–", method.status) for method in registry
    }


@pytest.fixture
def pages(root: Path) -> list[Path]:
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md")])


def test_links_lead_somewhere(pages: list[Path]) -> None:
    links = [
        (page, *target.partition("#")[::2])
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 10
    for page, file, anchor in links:
        place = page.parent / file if file else page
        assert place.exists(), f"{page.name}: {file}"
        if anchor and "<!-- made: " not in place.read_text(encoding="utf-8"):  # see test_site for made anchors
            text = place.read_text(encoding="utf-8")
            heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            ids = re.findall(r'<a id="([\w-]+)">', text)
            assert anchor in [*ids, *(re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads)]


def test_commands_are_understood(pages: list[Path], root: Path, blocks: Blocks) -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    inline = [re.findall(r"`((?:lada|make) [^`]+)`", page.read_text(encoding="utf-8")) for page in pages]
    lines = [line for page in pages for block in blocks(page, "sh") for line in block.splitlines()]
    for line in [*lines, *(command for commands in inline for command in commands)]:
        program, *words = shlex.split(line.partition(" > ")[0], comments=True)
        if program == "make":
            assert words[0] in targets, line
            continue
        assert program == "lada", line
        command = typer.main.get_command(app)
        if words == ["--version"]:
            continue
        while isinstance(command, TyperGroup):
            command = command.commands[words.pop(0)]
        command.make_context(line, words)  # parses, and fails on what it does not know


def test_the_example_configuration_takes_its_data(root: Path, blocks: Blocks, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in blocks(root / "docs/data.md", "jsonl")[0].splitlines()]
    for file in ("train", "public", "test"):
        asked = [{**row, "question": f"{row['question']} ({file})"} for row in rows]
        text = "".join(json.dumps(row) + "\n" for row in asked)
        (tmp_path / f"{file}.jsonl").write_text(text, encoding="utf-8")
    task = read_task(make_config(yaml.safe_load(blocks(root / "docs/data.md", "yaml")[0])), tmp_path)
    assert {name: [sample.id for sample in part] for name, part in task.private.items()} == {
        "bakery": ["b1", "b2"],
        "garage": ["g1", "g2"],
    }
    assert sorted(sample.id for sample in task.public) == ["b1", "b2", "g1", "g2"]
    assert task.same(task.extract("6 * 4 = 24. The answer is 24."), "24")


def test_a_configuration_with_own_models_is_accepted(root: Path, blocks: Blocks) -> None:
    config = make_config(yaml.safe_load(blocks(root / "docs/models.md", "yaml")[0]))
    assert isinstance(config.server.model, ModelOptions)
    assert (config.server.model.tune, config.clients[0].private.optimisation.learning_rate) == ("lora", 0.0002)


def test_the_corpora_are_listed_as_their_files_have_them(root: Path) -> None:
    table = (root / "docs/corpora.md").read_text(encoding="utf-8")
    told = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.+\|$", table, re.MULTILINE)]
    expected = []
    for name in corpus_names():
        corpus = read_corpus(name)
        hub = ", ".join(part for part in (corpus.hub, corpus.configuration) if part)
        rationales = "yes" if corpus.rationale else "no"
        domains = f"`{corpus.domain.column}`" if corpus.domain else "–"
        test = corpus.splits.test or "held back"
        expected.append([f"`{name}`", hub, test, corpus.kind, rationales, domains, corpus.licence, corpus.paper])
    assert told == expected


def test_the_corpus_pages_files_are_accepted(root: Path, blocks: Blocks, tmp_path: Path) -> None:
    task, own = blocks(root / "docs/corpora.md", "yaml")
    assert make_config(MODELS | yaml.safe_load(task)).task.kind == "corpus"
    (tmp_path / "own.yaml").write_text(own, encoding="utf-8")
    row = {
        "lang": "en",
        "stem": "Which is hot?",
        "choices": {"text": ["ice", "fire"], "label": ["1", "2"]},
        "answerKey": "2",
        "solution": "Fire burns. #### 2",
        "subject": "physics",
        "image": None,
    }
    sample = sample_of(read_corpus("own.yaml", tmp_path), row, "here", "s1")
    assert sample == Sample("s1", "Which is hot?\n(A) ice\n(B) fire", "B", "Fire burns.", "physics")
    assert sample_of(read_corpus("own.yaml", tmp_path), row | {"lang": "de"}, "here", "s1") is None
    assert sample_of(read_corpus("own.yaml", tmp_path), row | {"image": {"bytes": ""}}, "here", "s1") is None


def test_a_configuration_with_an_api_is_accepted(root: Path, blocks: Blocks) -> None:
    config = make_config(yaml.safe_load(blocks(root / "docs/api.md", "yaml")[0]))
    assert config.server_only_teaches
    assert config.choice(HOSTS).options["directions"] == "llm_to_slm"


def test_the_privacy_pages_options_are_accepted(root: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lada.privacy.conflicts.check_installed", lambda: None)
    keep, withhold, redact, swing, dp, text, judgement, secure = (
        yaml.safe_load(block) for block in blocks(root / "docs/privacy.md", "yaml")
    )
    assert make_config(MODELS | keep).keep_messages
    (client,) = make_config(MODELS | withhold).clients
    assert client.withhold == Withholding()
    (client,) = make_config(MODELS | redact).clients
    assert client.redact is not None
    assert client.redact.apply("Dr. Novak, x@y.org") == "[DOCTOR], [EMAIL]"
    assert client.blur is not None
    assert [name for name, _ in make_config(MODELS | SOFT | swing).make_policies("clinic")] == ["swing"]
    (client,) = make_config(MODELS | dp).clients
    assert client.private.dp is not None
    pair = [make_config(MODELS | each) for each in (text, judgement)]
    assert [(each.membership_audit, each.choice(OBJECTIVES).name) for each in pair] == [
        (True, "sft"),
        (True, "on_policy"),
    ]
    model = {"model": "zoo:slm-llama", "tune": "lora"}
    three = {"clients": [{"name": name, "model": model} for name in ("one", "two", "three")], "plugin": "none"}
    assert make_config(MODELS | three | secure).choice(HOSTS).options["secure_aggregation"]


def test_the_papers_form_is_spelled_out(root: Path, blocks: Blocks) -> None:
    (block,) = (yaml.safe_load(each) for each in blocks(root / "docs/methods.md", "yaml") if "lada_paper" in each)
    config = make_config(MODELS | block)
    allocator = config.choice(ALLOCATORS)
    assert (allocator.name, allocator.options["reward"]) == ("lada_paper", "rounds")
    assert (config.choice(OBJECTIVES).options["form"], config.choice(OBJECTIVES).options["prefer"]) == ("dpo", "role")


PAGE = """# Suite reach

`lada bench --suite reach` regenerates it: 2 of 2 cells, cpu.

## Hypotheses

| hypothesis | verdict |
|---|---|
| mine wins | holds |

## With answers (track answers)

### With answers: here

The clients' difference from `other` by kind of question, points:

| row | new domains |
|---|---|
| mine | +1.0 [+0.5, +1.5] |

| row | worlds |
|---|---|
| mine | 8 |
"""
SHOWN = """**With answers: here.** The clients' difference from `other` by kind of question, points:

| row | new domains |
|---|---|
| mine | +1.0 [+0.5, +1.5] |

So far, 2 of 2 cells have run. A *cell* is one row in one scenario and world. `lada bench --suite reach` runs
the rest. [The suite's page](results/reach/README.md) has hypotheses, costs and versions.
"""


@pytest.fixture
def readme(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What puts tables into README.md, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(root / "benchmarks/readme.py"))


def test_the_readme_gets_a_table_of_differences_a_track(readme: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results/reach").mkdir(parents=True)
    (tmp_path / "results/reach/README.md").write_text(PAGE)
    (tmp_path / "README.md").write_text("a\n<!-- results -->\nold\n<!-- /results -->\nz\n")
    readme["main"]()
    assert (tmp_path / "README.md").read_text() == f"a\n<!-- results -->\n{SHOWN}<!-- /results -->\nz\n"


def test_a_page_without_the_readmes_tables_is_refused(readme: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results/reach").mkdir(parents=True)
    (tmp_path / "results/reach/README.md").write_text(PAGE.replace("by kind of question", "somewhere"))
    with pytest.raises(ValueError, match="no differences by kind of question; run `lada bench --suite reach` first"):
        readme["overview"]()


def test_the_readme_has_the_committed_tables_or_no_figure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    page = runpy.run_path("benchmarks/readme.py")
    shown = Path("README.md").read_text(encoding="utf-8").partition(page["OPENS"])[2].partition(page["CLOSES"])[0]
    if page["SOURCE"].exists():
        assert shown == f"\n{page['overview']()}"
    else:
        assert "|" not in shown
        assert not re.search(r"\d", shown)
