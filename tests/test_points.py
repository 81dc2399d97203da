"""The points at which methods plug in: whatever lists kinds of methods follows from them."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lada
from lada.aggregators.base import AGGREGATORS
from lada.allocators.base import ALLOCATORS
from lada.augmenters.base import AUGMENTERS
from lada.bench.layers import merged
from lada.bench.suite import read_suite
from lada.codecs.base import CODECS
from lada.config import ClientConfig, RunConfig, ServerConfig, full_schema, make_config
from lada.core.choice import MethodChoice, listed
from lada.core.errors import InputError
from lada.core.registry import Options, Pluggable
from lada.engines.client_file import ClientFile, ClientLimits
from lada.federation.run_folder import MAY_DIFFER
from lada.federation.terms import ExpectedClient, Own, Terms
from lada.fusers.base import FUSERS
from lada.fusers.least_loss import LeastLoss
from lada.hooks.base import HOOKS
from lada.hosts.base import HOSTS
from lada.learners.base import LEARNERS
from lada.objectives.base import OBJECTIVES
from lada.points import BY_PARTY, POINTS, chosen_points, registries_frozen
from lada.policies.base import POLICIES
from lada.trackers.base import TRACKERS

MODELS: dict[str, Any] = {
    "server": {"model": {"model": "zoo:llm-world-0"}},
    "clients": [{"name": name, "model": {"model": "zoo:slm-llama"}} for name in ("a", "b")],
}
PLUGIN = """
from lada.core.registry import Pluggable
from lada.points import POINTS

for point in POINTS.values():

    @point.registry.register("own")
    class Own(Pluggable):
        "A method of somebody's own."

        def __init__(self, options):
            self.options = options
"""
ASK = """
import json
from lada.config import full_schema
from lada.points import POINTS
made = {kind: point.registry.make("own", {}).options.model_dump() for kind, point in POINTS.items()}
schema = {kind: "own" in methods for kind, methods in full_schema()["x-methods"].items()}
print(json.dumps([made, schema]))
"""
READERS = (
    *("config.py", "choosing.py", "refusals.py", "federation/terms.py", "engines/client_file.py", "engines/setup.py"),
    *("cli/tables.py", "cli/planned.py", "bench/cell.py", "bench/layers.py", "planning/plan.py", "export/card.py"),
    *("federation/run_folder.py", "../../docs/blocks/methods.py"),
)
"""Files that deal with methods whatever kind these are of."""


def test_every_kind_of_method_is_a_point() -> None:
    assert [(kind, point.registry) for kind, point in POINTS.items()] == [
        ("host", HOSTS),
        ("allocator", ALLOCATORS),
        ("augmenter", AUGMENTERS),
        ("objective", OBJECTIVES),
        ("fuser", FUSERS),
        ("policy", POLICIES),
        ("hook", HOOKS),
        ("aggregator", AGGREGATORS),
        ("codec", CODECS),
        ("learner", LEARNERS),
        ("tracker", TRACKERS),
    ]
    for point in POINTS.values():
        assert point.default is None or point.default in point.registry.names()
        assert bool(point.key) == bool(point.about)


def test_a_file_adds_a_method_to_every_point(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLUGIN)
    told = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"LADA_PLUGINS": str(tmp_path / "own.py"), "PYTHONPATH": str(Path(lada.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == [{kind: {} for kind in POINTS}, dict.fromkeys(POINTS, True)]


@pytest.mark.parametrize("file", READERS)
def test_no_kind_of_method_is_listed_by_hand(file: str) -> None:
    code = ast.parse((Path(lada.__file__).parent / file).read_text(encoding="utf-8"))
    kinds = {*POINTS, *(f"{kind}s" for kind in POINTS), *(point.key for point in chosen_points())}
    words = {node.value for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    attributes = {node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)}
    annotated = (each.target for each in ast.walk(code) if isinstance(each, ast.AnnAssign))
    fields = {target.id for target in annotated if isinstance(target, ast.Name)}
    addresses = {"host"} if file == "engines/client_file.py" else set()  # of servers
    assert kinds & (words | attributes | fields) <= addresses


def test_the_models_of_configurations_have_a_field_for_each_point() -> None:
    keys = {point.key for point in chosen_points()}
    assert keys == {"host", "allocator", "augmenter", "objective", "fuser", "policies", "hooks", "codecs", "trackers"}
    assert keys <= RunConfig.model_fields.keys()
    assert keys & Terms.model_fields.keys() == {"host", "allocator", "augmenter", "objective", "hooks", "codecs"}
    assert {point.key for point in BY_PARTY} == {"objective", "policies", "hooks"}
    for model in (ServerConfig, ExpectedClient, Own):
        assert keys & model.model_fields.keys() == {"objective", "hooks"}
    assert keys & ClientConfig.model_fields.keys() == {"objective", "policies", "hooks"}
    assert keys & ClientFile.model_fields.keys() == {"policies"}
    assert ClientLimits.model_fields.keys() >= {"hosts", "methods", "rounds", "seconds"}
    assert full_schema()["properties"]["allocator"]["description"] == POINTS["allocator"].about
    assert full_schema()["x-methods"].keys() == POINTS.keys()
    assert "trackers" in MAY_DIFFER


def test_one_method_none_or_several_are_read_alike() -> None:
    one, other = MethodChoice(name="one"), MethodChoice(name="other")
    assert (listed(None), listed(one), listed((one, other))) == ((), (one,), (one, other))


def test_a_method_that_is_named_twice_is_refused() -> None:
    with pytest.raises(InputError, match="trackers: 'wandb' is named twice; name each tracker once"):
        make_config({**MODELS, "trackers": ["wandb", "tensorboard", "wandb"]})


class TestAPartyOfItsOwn:
    """A point of scope `party` can be chosen for each of them."""

    def test_whoever_says_nothing_has_the_runs(self) -> None:
        data = json.loads(json.dumps(MODELS))
        data["clients"][1]["objective"] = {"name": "contrastive", "options": {"weight": 0.5}}
        config = make_config({**data, "objective": "sft"})
        assert [config.choice(OBJECTIVES, name).name for name in ("", "llm", "a", "b")] == ["sft"] * 3 + ["contrastive"]
        assert config.choice(OBJECTIVES, "b").options["weight"] == 0.5
        assert config.choice(OBJECTIVES, "b").options["form"] == "odds_ratio"  # all are spelled out
        assert make_config(config.model_dump(mode="json")) == config

    def test_faulty_options_are_told_with_their_key(self) -> None:
        data = json.loads(json.dumps(MODELS))
        data["clients"][1]["objective"] = {"name": "contrastive", "options": {"wait": 0.5}}
        with pytest.raises(InputError, match=r"clients\.b\.objective\.options\.wait: unknown key .* 'weight'"):
            make_config(data)
        data["clients"][1]["objective"] = "stf"
        with pytest.raises(InputError, match=r"unknown name 'stf'.*did you mean 'sft'"):
            make_config(data)

    def test_what_it_needs_of_those_who_teach_it_is_refused_by_name(self) -> None:
        data = json.loads(json.dumps(MODELS))
        data["clients"][1]["objective"] = "soft_targets"
        data["server"]["model"]["verbs"] = ["answer", "confidence", "judge", "embed", "read", "study"]
        with pytest.raises(InputError, match=r"^objective 'soft_targets' needs a learner that can log_probs, .* 'llm'"):
            make_config({**data, "objective": "sft"})
        data["server"]["model"]["verbs"].append("log_probs")
        make_config({**data, "objective": "sft"})
        data["clients"][0]["model"]["verbs"] = ["answer", "confidence", "judge", "embed", "read", "study"]
        make_config({**data, "objective": "sft"})  # `a` teaches the server alone, which studies plain texts
        with pytest.raises(InputError, match=r"^objective 'soft_targets' needs a learner that can log_probs, .* 'a'"):
            make_config({**data, "server": {**data["server"], "objective": "soft_targets"}, "objective": "sft"})

    def test_figures_of_a_suite_without_it_are_as_good_as_before(self) -> None:
        cell = next(cell for cell in read_suite("quick").cells() if cell.key.row == "verified")
        assert cell.config.model_dump()["server"]["objective"] is None
        assert cell.digest == "6b7e9523e54ac379"  # a point that comes later, with its default, must not change it


def test_a_layer_with_another_method_replaces_its_options() -> None:
    for point in chosen_points():
        if not point.several:
            below = {point.key: {"name": "one", "options": {"a": 1, "b": 2}}}
            assert merged(below, {point.key: {"options": {"a": 3}}})[point.key]["options"] == {"a": 3, "b": 2}
            assert merged(below, {point.key: {"name": "two"}})[point.key] == {"name": "two"}


class TestFrozen:
    """No method can register during a run."""

    def test_no_method_joins_a_run_under_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for point in POINTS.values():
            before = point.registry.names()
            monkeypatch.setattr(point.registry, "_methods", dict(point.registry._methods))
            told = rf"^{point.kind}: 'late' is registered during a run"
            with registries_frozen(), registries_frozen(), pytest.raises(InputError, match=told):
                point.registry.register("late")(lambda options: Pluggable())
            assert point.registry.names() == before
            point.registry.register("late")(lambda options: Pluggable())
            assert point.registry.names() == sorted([*before, "late"])

    def test_a_run_freezes_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        seen: list[str] = []

        class Late:
            def __init__(self, options: Options) -> None:
                self.options = options

            def start(self, name: str, config: object, folder: object) -> None:
                try:
                    FUSERS.register("late")(LeastLoss)
                except InputError as error:
                    seen.append(str(error))

            def log(self, step: int, metrics: object) -> None: ...

            def finish(self, status: str) -> None: ...

        monkeypatch.setattr(TRACKERS, "_methods", {**TRACKERS._methods})
        TRACKERS.register("late")(Late)
        lada.run(
            {
                **MODELS,
                "rounds": 0,
                "trackers": ["late"],
                "task": {"kind": "rulebooks", "public": 2, "private": 2, "test_per_domain": 1, "replay": 1},
                "workers": 0,
            },
            runs=tmp_path,
        )
        assert seen == [
            "fuser: 'late' is registered during a run, so that not all parties would know it; register it before the "
            "run, in a file named by --plugin or LADA_PLUGINS"
        ]
