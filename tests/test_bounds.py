"""Absurd numbers are refused when a configuration is read: one line each, that names key and value."""

import json
import math
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import lada
from lada.config import RunConfig, make_config
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.validation import validate
from lada.engines.client_file import ClientFile
from lada.objectives.blended import Blended

RATE = "private.optimisation.learning_rate"
ABSURD: list[tuple[str, Any]] = [
    *((RATE, value) for value in (-1e-3, 1.5, 1e308, math.nan, math.inf, -math.inf)),
    *(("private.optimisation.weight_decay", value) for value in (-0.1, 2.0, math.nan)),
    *(("private.optimisation.warm_up", value) for value in (-0.1, 1.5)),
    *(("private.optimisation.floor", value) for value in (-0.1, 1.5)),
    *(("private.optimisation.clip", value) for value in (0.0, -1.0, math.inf, 1e308, 1e-320)),
    *((f"blur.{key}", value) for key in ("round_to", "noise") for value in (1e-320, 1e-7, -0.1, 10.1, 1e308, math.nan)),
    *((f"withhold.{key}", value) for key in ("words", "samples") for value in (0, 1001, 10**20, 10**400)),
    *(("private.optimisation.betas", value) for value in ([1.0, 0.9], [0.9, -0.1], [math.nan, 0.9])),
    *(("private.steps", value) for value in (0, -3, 10**9)),
    *(("private.tokens", value) for value in (0, -3)),
    *(("private.epochs", value) for value in (0.0, -1.0, math.nan, math.inf, 1e9)),
    *(("private.batch_size", value) for value in (0, -1, 10**6)),
    *(("distil.micro_batch_size", value) for value in (0, -1, 10**6)),
    *(("private.dp", {"noise_multiplier": value}) for value in (0.0, -1.0, math.nan, 1e300)),
    *(("private.dp", {"noise_multiplier": 1.0, "clip": value}) for value in (0.0, math.inf, 1e300)),
    *(("model.max_new_tokens", value) for value in (0, -1, 100_000)),
    *(("model.batch_size", value) for value in (0, -1, 10**6)),
    *(("model.lora.rank", value) for value in (0, -1, 10**6)),
    *(("model.lora.alpha", value) for value in (0, 10**6)),
    *(("model.lora.dropout", value) for value in (-0.1, 1.0, math.nan)),
    *(("model.generation.top_p", value) for value in (0.0, 1.1, math.nan)),
    *(("model.generation.top_k", value) for value in (0, 10**9)),
    *(("timeout", value) for value in (0.0, -1.0, math.nan, math.inf, 1e300)),
    *(("withhold.tries", value) for value in (-1, 10**6)),
]


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def run(**changes: Any) -> dict[str, Any]:
    client = {"name": "a", "model": {"model": "zoo:slm-llama"}} | changes.pop("client", {})
    return {"server": {"model": {"model": "zoo:llm-world-0"}}, "clients": [client]} | changes


def one_line(data: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as caught:
        make_config(data)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(key)


@pytest.mark.parametrize(("key", "value"), ABSURD)
def test_a_client_s_absurd_number_is_refused(key: str, value: Any):
    changes = nested(key, value)
    if key.startswith("model"):
        changes["model"] = {"model": "zoo:slm-llama", "tune": "lora", **changes["model"]}
    one_line(run(client=changes), f"clients.a.{key}")
    file = {"name": "a", "superlink": "x:1", "model": {"model": "zoo:slm-llama"}, "task": {"kind": "rulebooks"}}
    if key != "timeout":
        with pytest.raises(InputError, match=key.partition(".")[0]):
            validate(ClientFile, {**file, **changes})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.distil.optimisation.learning_rate", -1.0),
        ("server.distil.optimisation.learning_rate", math.nan),
        ("server.distil.batch_size", 0),
        ("server.model.max_new_tokens", 100_000),
        *(("rounds", value) for value in (-1, 10**9)),
        *(("timeout", value) for value in (-1.0, 1e300)),
        *(("limits.check_seconds", value) for value in (0.0, 1e300)),
        *(("workers", value) for value in (-1, 10**9)),
        *(("participants", value) for value in (0, 10**30, 10**400)),
        *(("seed", value) for value in (-1, 2**63, 10**400, -(10**30))),
        *(("task.world", value) for value in (-1, 2**63, 10**400, -(10**30))),
        *(("task.public", value) for value in (0, 10**12)),
    ],
)
def test_the_run_s_and_the_server_s_too(key: str, value: Any):
    head, _, rest = key.partition(".")
    changes = nested(rest, value) if rest else value
    if key.startswith("server"):
        changes["model"] = {"model": "zoo:llm-world-0"} | changes.get("model", {})
    if key.startswith("task"):
        changes["kind"] = "rulebooks"
    one_line(run(**{head: changes}), key)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("temperature", value) for value in (-1.0, 3.0, math.nan, math.inf)),
        *(("max_new_tokens", value) for value in (0, 100_000)),
        *(("concurrency", value) for value in (0, 10**6)),
        *(("timeout", value) for value in (0.0, math.nan, 1e300)),
        *(("retries", value) for value in (-1, 10**6)),
    ],
)
def test_an_api_s_too(option: str, value: Any):
    api = {"base_url": "http://localhost/v1", "model": "m", option: value}
    one_line(run(server={"model": {"api": api}}), f"server.model.api.{option}")


SHARES = {"private": 0.1, "paths": 0.1, "general": 0.1}


@pytest.mark.parametrize(
    ("kind", "name", "option", "value"),
    [
        *(("objective", "soft_targets", "temperature", value) for value in (0.0, -1.0, math.nan, math.inf, 1e300)),
        *(("objective", "soft_targets", "label_weight", value) for value in (-0.1, 1.1, math.nan)),
        *(("objective", "soft_targets", "k", value) for value in (0, -1, 10**9)),
        *(("objective", "alm", "temperature", value) for value in (0.0, math.nan, 1e300)),
        *(("objective", "contrastive", "weight", value) for value in (-0.1, math.nan, 1e300)),
        *(("allocator", "lada_paper", "learning_rate", value) for value in (0.0, -1.0, 2.0, math.nan)),
        *(("allocator", "lada_paper", "hidden", value) for value in (0, 10**9)),
        *(("allocator", "lada_paper", "epochs", value) for value in (0, 10**9)),
        *(("allocator", "lada_paper", "threshold", value) for value in (math.nan, math.inf)),
        *(("allocator", "lada_paper", "explore_weight", value) for value in (-1.0, math.nan)),
        *(("allocator", name, "vouch", value) for name in ("lada", "race") for value in (-0.1, 1.1, math.nan)),
        *(("allocator", "race", "laps", value) for value in (-1, 10**9, 100)),  # 100 of them take six budgets
        *(("allocator", "race", "warm_up", value) for value in (-0.1, 0.6, math.nan)),
        *(("allocator", "race", "lap", value) for value in (0.0, 0.1, 0.6, math.nan)),
        *(("allocator", "race", "ends", value) for value in (0.0, 0.6, math.nan)),
        *(("allocator", "race", "probes", value) for value in (0, 10**9)),
        *(("allocator", "race", "keep", value) for value in (0.0, 1.1, math.nan)),
        *(("allocator", name, "budget", value) for name in ("lada", "race") for value in (0, 1.5, math.nan)),
        *(("host", "fedmkt", "trust_steps", value) for value in (0, 10**9)),
        *(("host", "fedmkt", "tries", value) for value in (0, 10**9)),
        *(("host", "fedmkt", "private_rounds", value) for value in (-1,)),
        *(("host", "fedmkt", "client_replay", {**SHARES, "paths": value}) for value in (-0.1, 1.0, math.nan)),
        *(("host", "fedmd", "temperature", value) for value in (0.0, math.nan, 1e300)),
        *(("host", "fedavg", "clip", value) for value in (0.5, math.nan, math.inf)),
    ],
)
def test_a_method_s_too(kind: str, name: str, option: str, value: Any):
    one_line(run(**{kind: {"name": name, "options": {option: value}}}), f"{kind}.options")


def test_what_is_at_the_edge_is_taken():
    rates = {"learning_rate": 1.0, "weight_decay": 0.0, "warm_up": 1.0, "floor": 0.0, "betas": [0.0, 0.999]}
    study = {"steps": 10_000_000, "batch_size": 65_536, "optimisation": rates}
    made = make_config(run(client={"private": study, "timeout": 31_622_400.0}, rounds=0))
    assert made.clients[0].private.batch_size == 65_536
    none = {"private": {"optimisation": {"learning_rate": 0.0}}}
    assert make_config(run(client=none)).clients[0].private.optimisation.learning_rate == 0.0


def below(model: type[Options]) -> Iterator[type[Options]]:
    for each in model.__subclasses__():
        yield each
        yield from below(each)


def kinds() -> Iterator[tuple[type[Options], str, str]]:
    """Yield every option of LaDa that takes numbers: its class, its name and its type as written."""
    source = Path(lada.__file__).parent
    for file in source.rglob("*.py"):
        if re.search(r"^class \w+\(.*Options\):", file.read_text(encoding="utf-8"), re.MULTILINE):
            import_module(".".join(("lada", *file.relative_to(source).with_suffix("").parts)))
    for model in dict.fromkeys(each for each in below(Options) if each.__module__.startswith("lada.")):
        if model is not Blended:  # whose subclasses are tried
            for name, field in model.model_fields.items():
                if re.search(r"\b(int|float)\b", str(field.annotation)):
                    yield model, name, str(field.annotation)


def refused(model: type[Options], name: str, kind: str, value: float) -> None:
    given = {2: (value, value), 1: (value,), 0: value}[len(re.findall("int|float", kind)) if "tuple" in kind else 0]
    for read in (model.model_validate, lambda data: model.model_validate_json(json.dumps(data))):
        with pytest.raises(ValidationError) as caught:
            read({name: given})
        assert any(name in map(str, fault["loc"]) or name in fault["msg"] for fault in caught.value.errors())


def test_no_option_of_any_kind_takes_what_is_not_finite():
    tried = [refused(*each, value) for each in kinds() for value in (math.nan, math.inf, -math.inf)]
    assert len(tried) > 300


def test_every_option_of_every_kind_has_a_range():
    tried = [refused(*each, value) for each in kinds() for value in (10**400, -(10**400), 10**30, -(10**30))]
    assert len(tried) > 400
    assert [refused(*each, value) for each in kinds() if "float" in each[2] for value in (1e308, -1e308)]


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_s_range_is_said(seed: int):
    told = f"seed: {seed} is not a valid seed; expected 0 to 2**63 - 1, which is 9223372036854775807"
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        make_config(run(seed=seed))
    assert make_config(run(seed=2**63 - 1)).seed == 2**63 - 1
    assert RunConfig.model_json_schema()["properties"]["seed"]["maximum"] == 2**63 - 1


def test_a_number_of_more_digits_than_python_writes_is_refused():
    for make in (lambda data: validate(RunConfig, data), make_config):
        with pytest.raises(
            InputError, match=r"^configuration: Exceeds the limit .* expected plain YAML or JSON values$"
        ):
            make(run(seed=10**5000))


def test_a_blur_s_range_is_said():
    key = "clients.a.blur.noise"
    with pytest.raises(
        InputError, match=f"^{key}: 1e\\+308 is out of range; expected 0 for none, or 0.000001 to 10 nats"
    ):
        make_config(run(client={"blur": {"noise": 1e308, "round_to": 0.1}}))
    for value in (1e-6, 10.0):
        blur = make_config(run(client={"blur": {"noise": value, "round_to": value}})).clients[0].blur
        assert blur is not None
        means = blur.means(np.array([-1.0, 0.0, -1e4]), np.random.default_rng(0))
        assert np.isfinite(means).all()
        assert ((means >= -1e4) & (means <= 0)).all()
