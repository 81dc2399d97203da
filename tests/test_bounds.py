"""Absurd numbers are refused when a configuration is read: one line each, that names key and value."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from lada.allocators.base import ALLOCATORS
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.engines.client_file import ClientFile
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.objectives.blended import Blended
from lada.validation import validate

RATE = "private.optimisation.learning_rate"
ABSURD: list[tuple[str, Any]] = [
    *((RATE, value) for value in (-1e-3, 1.5, 1e308, math.nan, math.inf, -math.inf)),
    *(("private.optimisation.weight_decay", value) for value in (-0.1, 2.0, math.nan)),
    *(("private.optimisation.warm_up", value) for value in (-0.1, 1.5)),
    *(("private.optimisation.floor", value) for value in (-0.1, 1.5)),
    *(("private.optimisation.clip", value) for value in (0.0, -1.0, math.inf)),
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
    one_line(run(client=changes), f"clients.0.{key}")
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
        *(("allocator", "lada", "learning_rate", value) for value in (0.0, -1.0, 2.0, math.nan)),
        *(("allocator", "lada", "hidden", value) for value in (0, 10**9)),
        *(("allocator", "lada", "epochs", value) for value in (0, 10**9)),
        *(("allocator", "lada", "threshold", value) for value in (math.nan, math.inf)),
        *(("allocator", "lada", "explore_weight", value) for value in (-1.0, math.nan)),
        *(("allocator", "lada", "budget", value) for value in (0, 1.5, math.nan)),
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


def options() -> Iterator[type[Options]]:
    for registry in (HOSTS, ALLOCATORS, OBJECTIVES):
        for method in registry:
            yield method.options


def below(model: type[Options]) -> Iterator[type[Options]]:
    for each in model.__subclasses__():
        yield each
        yield from below(each)


def test_no_option_of_any_kind_takes_what_is_not_finite():
    assert list(options())
    tried = 0
    for model in dict.fromkeys(each for each in below(Options) if each.__module__.startswith("lada.")):
        if model is Blended:  # whose subclasses are tried
            continue
        for name, field in model.model_fields.items():
            if "float" not in str(field.annotation) or "Literal" in str(field.annotation):
                continue
            for value in (math.nan, math.inf, -math.inf):
                given = (value, value) if "tuple" in str(field.annotation) else value
                with pytest.raises(ValidationError) as caught:
                    model.model_validate({name: given})
                assert any(name in map(str, fault["loc"]) or name in fault["msg"] for fault in caught.value.errors())
                tried += 1
    assert tried > 90
