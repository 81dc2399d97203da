"""The examples of CONTRIBUTING.md and of the page on one's own method, run as they stand there."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import tiny

import lada.allocators
from lada.aggregators.base import Update
from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.plugins import VARIABLE, load_plugins
from lada.core.registry import Registry
from lada.core.terms import Knowledge, Likelihood
from lada.core.terms import Path as Written
from lada.models.objective import Objective, Scored
from lada.points import POINTS
from lada.policies.base import Owner
from lada.rounds.engine import schema

Blocks = Callable[[Path, str], list[str]]
NAME = "unsure"
MODULE = f"lada.allocators.{NAME}"


@pytest.fixture
def example(root: Path, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Put the example's module next to the other allocators, for this test only; return the Python blocks."""
    python = blocks(root / "CONTRIBUTING.md", "python")
    ALLOCATORS.names()
    (tmp_path / f"{NAME}.py").write_text(python[0], encoding="utf-8")
    monkeypatch.setattr(lada.allocators, "__path__", [*lada.allocators.__path__, str(tmp_path)])
    monkeypatch.setattr(ALLOCATORS, "_methods", dict(ALLOCATORS._methods))
    monkeypatch.setattr(ALLOCATORS, "_loaded", False)
    yield python
    sys.modules.pop(MODULE, None)
    lada.allocators.__dict__.pop(NAME, None)


@pytest.mark.usefixtures("example")
def test_the_example_is_found_by_the_registry_and_taken_by_the_configuration() -> None:
    assert NAME in ALLOCATORS.names()
    method = ALLOCATORS.get(NAME)
    assert method.summary == "The samples on whose own path the student has the highest loss per byte."
    config = make_config(
        {
            "server": {"model": {"model": "zoo:llm-world-0"}},
            "clients": [{"name": "one", "model": {"model": "zoo:slm-llama"}}],
            "allocator": {"name": NAME, "options": {"budget": 7}},
        }
    )
    assert config.choice(ALLOCATORS).options == {"budget": 7, "above": 0.0}


def test_the_examples_own_tests_pass(example: list[str]) -> None:
    import_module(MODULE)
    module = ModuleType("test_unsure")
    exec(compile(example[1], "CONTRIBUTING.md", "exec"), module.__dict__)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.usefixtures("example")
def test_the_examples_row_fits_the_method_index(root: Path, blocks: Blocks) -> None:
    row = blocks(root / "CONTRIBUTING.md", "markdown")[0].strip()
    head = next(line for line in (root / "docs/methods.md").read_text().splitlines() if line.startswith("| name |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    method = ALLOCATORS.get(NAME)
    assert row.count("|") == head.count("|")
    assert cells[:4] == [f'<a id="allocator-{NAME}"></a>`{NAME}`', method.summary, method.paper, method.status]


Own = Callable[..., Any]


@pytest.fixture
def own(root: Path, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    """Load the page's examples as plug-in files; give what makes one of their methods by kind, name and options."""
    for point in POINTS.values():
        point.registry.names()
        monkeypatch.setattr(point.registry, "_methods", dict(point.registry._methods))
    files = []
    for number, code in enumerate(blocks(root / "docs/own-method.md", "python")):
        files.append(tmp_path / f"own_{number}.py")
        files[-1].write_text(code, encoding="utf-8")
    monkeypatch.setenv(VARIABLE, os.pathsep.join(map(str, files)))
    load_plugins.cache_clear()
    load_plugins()

    def make(kind: str, name: str, **options: Any) -> Any:
        registry: Registry[Any] = POINTS[kind].registry
        return registry.make(name, options)

    yield make
    for file in files:
        sys.modules.pop(f"lada_plugin_{file.stem}", None)


def written(text: str, *, right: bool | None) -> Written:
    return Written(text, "a", text, None, right, Likelihood(-1.0, -1.0, tokens=1, size=1))


def test_the_page_has_every_point_with_its_contract(root: Path) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w.]+)` \|.*\| (.*) \|$", (root / "docs/own-method.md").read_text(), re.MULTILINE
    )
    assert [kind for kind, *_ in rows] == list(POINTS)
    for kind, contract, chosen in rows:
        module, _, name = contract.rpartition(".")
        assert isinstance(getattr(import_module(module), name), type)
        assert not POINTS[kind].key or re.match(rf"`(clients\.NAME\.)?{POINTS[kind].key}`", chosen), kind


def test_the_examples_are_taken_by_a_configuration(own: Own) -> None:
    config = make_config(
        tiny(
            host={"name": "every_other"},
            objective={"name": "label_smoothing", "options": {"smoothing": 0.2}},
            fuser="in_turn",
            hooks=["half_way"],
            trackers=["printed"],
        )
    )
    assert config.choice(POINTS["objective"].registry).options == {"smoothing": 0.2}
    own_policy = tiny()
    own_policy["clients"][0]["policies"] = ["only_right"]
    averaging = {"name": "fedavg", "options": {"aggregation": {"name": "slow_mean", "options": {"keep": 0.1}}}}
    for client in own_policy["clients"]:
        client["model"] = {"model": "zoo:slm-llama", "tune": "lora"}
    assert [name for name, _ in make_config(own_policy | {"host": averaging}).make_policies("warehouse")] == [
        "only_right"
    ]


def test_the_objective_spreads_its_share(own: Own) -> None:
    objective: Objective = own("objective", "label_smoothing", smoothing=0.25)
    log_probs = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]]).log()  # of one lesson's two tokens, 0 and 1
    scored = Scored(
        log_probs=torch.stack([log_probs[0, 0], log_probs[1, 1]])[None],
        mask=torch.ones(1, 2, dtype=torch.bool),
        weights=torch.ones(1),
        pairs=None,
        batch_tokens=2.0,
        batch_pairs=0.0,
        over_vocabulary=lambda measure: measure(log_probs)[None],
    )
    own_tokens = -(np.log(0.5) + np.log(0.75)) / 2
    spread = -(np.log(0.5) + 2 * np.log(0.25) + 2 * np.log(0.125) + np.log(0.75)) / 3 / 2
    assert float(objective(scored)) == pytest.approx(0.75 * own_tokens + 0.25 * spread)


def test_the_fuser_lets_parties_teach_in_turn(own: Own) -> None:
    fuser, taught = own("fuser", "in_turn"), []
    state = fuser.init(0)
    offers = {"c": written("x", right=None), "b": written("y", right=False), "a": written("z", right=True)}
    for _ in range(3):
        state, party = fuser.fuse(state, "llm", offers)
        taught.append(party)
    assert taught == ["a", "c", "a"]
    assert fuser.fuse(state, "llm", {"b": offers["b"]}) == (state, None)


def test_the_aggregator_keeps_a_share_of_the_round_before(own: Own) -> None:
    rule, found = own("aggregator", "slow_mean", keep=0.25), []
    state = rule.init(0)
    for values in ((1.0, 3.0), (6.0, 10.0)):
        updates = {
            name: Update({"w": np.array([value], np.float32)}, 1) for name, value in zip("ab", values, strict=True)
        }
        state, result = rule.aggregate(state, updates)
        found.append({client: float(weights["w"][0]) for client, weights in result.by_client.items()})
    assert found == [{"a": 2.0, "b": 2.0}, {"a": 6.5, "b": 6.5}]  # 0.25 * 2 + 0.75 * 8


def test_the_policy_lets_only_right_paths_leave(own: Own) -> None:
    notes: list[str] = []
    paths = tuple(written(text, right=right) for text, right in (("x", True), ("y", False), ("z", None)))
    owner = Owner("a", 0, lambda texts: [], lambda id, text: (None, None), notes.append)
    _, released = own("policy", "only_right").release({}, Knowledge("a", 1, paths), owner)
    assert [path.text for path in released.paths] == ["x"]
    assert notes == ["keeps 2 paths to itself"]


def test_the_hook_goes_half_of_the_way(own: Own) -> None:
    before, after = {"w": np.array([1, 2], np.float32)}, {"w": np.array([3, 2], np.float32)}
    _, weights = own("hook", "half_way").after_study({}, before, after)
    assert weights["w"].tolist() == [2.0, 2.0]


def test_the_hosts_clients_study_in_every_other_round(own: Own) -> None:
    host, objective = own("host", "every_other"), own("objective", "label_smoothing")
    assert [[step.phase for step in host.plan(number, objective)] for number in range(4)] == [
        ["evaluate"],
        ["private", "evaluate"],
        ["evaluate"],
        ["private", "evaluate"],
    ]
    assert list(schema(host.round(1, objective))) == ["study"]


def test_the_tracker_prints_accuracies(own: Own, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tracker = own("tracker", "printed")
    tracker.start("mine", {}, tmp_path)
    tracker.log(1, {"accuracy/a/overall": 50.0, "loss/a": 2.0})
    tracker.finish("finished")
    assert capsys.readouterr().out == "mine begins\n1 {'accuracy/a/overall': 50.0}\nfinished\n"
