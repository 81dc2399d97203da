import copy
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lada.allocators.base import ALLOCATORS
from lada.config import LEDGER_NAME, RunConfig, full_schema, make_config
from lada.config_source import read_config
from lada.core.errors import InputError
from lada.federation.messages import SERVER
from lada.fusers.base import FUSERS
from lada.hosts.base import HOSTS
from lada.models.options import ModelOptions
from lada.objectives.base import OBJECTIVES
from lada.points import POINTS

PLAIN = {
    "server": {"model": {"model": "zoo:llm"}},
    "clients": [
        {"name": "clinic", "domains": ["clinic"], "model": {"model": "zoo:a"}},
        {"name": "kitchen", "model": {"model": "zoo:b"}},
    ],
}
MODEL = {"model": "zoo:a"}
SHARES = {"private": 0.1, "paths": 0.1, "general": 0.1}


def plain(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(PLAIN) | changes


def refusal(data: Any, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        make_config(data, overrides)
    assert error.value.exit_code == 2
    return str(error.value)


def client(**changes: Any) -> dict[str, Any]:
    return {"clients": [{"name": "clinic", "model": MODEL, **changes}]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"ronds": 3},
            "ronds: unknown key (its value is 3); expected one of allocator, augmenter, clients, codecs, engine, "
            "fuser, hooks, host, keep_messages, limits, membership_audit, name, objective, participants, plugin, "
            "policies, quorum, rounds, seed, server, task, timeout, trackers, workers; did you mean 'rounds'?",
        ),
        (
            {"server": {"model": MODEL, "modle": 1}},
            "server.modle: unknown key (its value is 1); expected one of distil, hooks, model, name, objective, "
            "temperature; did you mean 'model'?",
        ),
        (
            {"server": {"model": {**MODEL, "lora": {"rnk": 4}}}},
            "server.model.lora.rnk: unknown key (its value is 4); expected one of alpha, dropout, rank, targets; "
            "did you mean 'rank'?",
        ),
        (
            client(private={"step": 9}),
            "clients.clinic.private.step: unknown key (its value is 9); expected one of batch_size, dp, epochs, "
            "micro_batch_size, optimisation, steps, tokens; did you mean 'steps'?",
        ),
        (
            client(distil={"optimisation": {"clipp": 1}}),
            "clients.clinic.distil.optimisation.clipp: unknown key (its value is 1); expected one of betas, clip, "
            "floor, learning_rate, warm_up, weight_decay; did you mean 'clip'?",
        ),
        (
            {"task": {"kind": "rulebooks", "publik": 3}},
            "task.publik: unknown key (its value is 3); expected one of gold, hard, kind, known, mixed, "
            "mixed_share, mixed_test, noise, private, public, public_domains, replay, shorthand, styles, "
            "test_per_domain, world; did you mean 'public'?",
        ),
        (
            {"task": {"kind": "files", "train": "x", "public": "y", "columns": {"questoin": "q"}}},
            "task.columns.questoin: unknown key (its value is 'q'); expected one of answer, client, difficulty, "
            "domain, entry, id, messages, question, rationale; did you mean 'question'?",
        ),
        (
            {"allocator": {"name": "lada", "option": {}}},
            "allocator.option: unknown key (its value is {}); expected one of name, options; did you mean 'options'?",
        ),
        (
            {"allocator": {"name": "random", "options": {"bugdet": 3}}},
            "allocator.options.bugdet: unknown key (its value is 3); expected one of budget, gold; did you mean "
            "'budget'?",
        ),
        (
            {"host": {"name": "fedmkt", "options": {"client_replay": {**SHARES, "genral": 0.1}}}},
            "host.options.client_replay.genral: unknown key (its value is 0.1); expected one of alone, general, least, "
            "paths, private; did you mean 'general'?",
        ),
        (
            {"allocator": {"name": "all", "options": {"budget": 3}}},
            "allocator.options.budget: unknown key (its value is 3); expected one of gold",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_value_and_the_nearest(changes: dict[str, Any], expected: str):
    assert refusal(plain(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rounds": "three"}, "rounds: 'three' is not valid; expected a whole number"),
        ({"rounds": "3"}, "rounds: '3' is not valid; expected a whole number; write it without quotes"),
        ({"rounds": -1}, "rounds: -1 is not valid; expected a number of at least 0"),
        ({"seed": True}, "seed: True is not valid; expected a whole number"),
        ({"timeout": float("inf")}, "timeout: inf is not valid; expected a finite number"),
        ({"plugin": "ladda"}, "plugin: 'ladda' is not valid; expected 'lada' or 'none'; did you mean 'lada'?"),
        ({"name": "A/b"}, "name: 'A/b' is not valid; expected text that matches ^[A-Za-z0-9][A-Za-z0-9_-]*$"),
        ({"clients": 3}, "clients: 3 is not valid; expected a list"),
        ({"server": {"model": "zoo:a"}}, "server.model: 'zoo:a' is not valid; expected a mapping of keys to values"),
        (client(domains="clinic"), "clients.clinic.domains: 'clinic' is not valid; expected a list"),
        (
            client(model={**MODEL, "tune": "loar"}),
            "clients.clinic.model.tune: 'loar' is not valid; expected 'full' or 'lora'; did you mean 'lora'?",
        ),
        (
            client(private={"optimisation": {"learning_rate": "1e-4"}}),
            "clients.clinic.private.optimisation.learning_rate: '1e-4' is not valid; expected a number; YAML reads "
            "this as text, so write 1.0e-4",
        ),
        (
            client(private={"steps": 0}),
            "clients.clinic.private.steps: 0 is not valid; expected a number of at least 1",
        ),
        (
            {"task": {"kind": "rulebooks", "world": -1}},
            "task.world: -1 is not valid; expected a number of at least 0",
        ),
        (
            {"task": {"kind": "rulebook"}},
            "task.kind: 'rulebook' is not valid; expected one of corpus, digits, families, files, lineups, "
            "reasoning_gym, rulebooks; did you mean 'rulebooks'?",
        ),
        (
            {"task": {"kind": "files", "train": 3, "public": "x"}},
            "task.train: 3 is not valid; expected text or a list",
        ),
        ({"allocator": 3}, "allocator: 3 is not valid; expected a mapping of keys to values"),
        (
            {"allocator": {"name": "lada", "options": {"budget": 0}}},
            "allocator.options.budget: budget is 0; expected at least 1 sample, a share between 0 and 1, or null "
            "for no limit",
        ),
        (
            {"host": {"name": "fedmkt", "options": {"directions": "llm_to_slms"}}},
            "host.options.directions: 'llm_to_slms' is not valid; expected 'both', 'llm_to_slm' or 'slm_to_llm'; "
            "did you mean 'llm_to_slm'?",
        ),
        (
            {"host": {"name": "fedmkt", "options": {"server_replay": SHARES | {"paths": 0.9}}}},
            "host.options.server_replay: private, paths, general are (0.1, 0.9, 0.1): expected shares of at "
            "least 0 with a sum below 1",
        ),
        ({"seed": datetime.date(2026, 1, 2)}, "seed: '2026-01-02' is not valid; expected a whole number"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(changes: dict[str, Any], expected: str):
    assert refusal(plain(**changes)) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"clients": PLAIN["clients"]}, "server: missing; it has no default, so set it"),
        (plain(server={"model": {}}), "server.model.model: missing; it has no default, so set it"),
        (plain(task={"kind": "files", "train": "x"}), "task.public: missing; it has no default, so set it"),
        (
            plain(task={"public": 3}),
            "task.kind: missing; expected one of corpus, digits, families, files, lineups, reasoning_gym, rulebooks",
        ),
        (plain(allocator={"options": {"budget": 3}}), "allocator.name: missing; it has no default, so set it"),
        (
            plain(host={"name": "fedmkt", "options": {"client_replay": {"private": 0.1, "paths": 0.1}}}),
            "host.options.client_replay.general: missing; it has no default, so set it",
        ),
    ],
)
def test_a_missing_key_is_named(data: dict[str, Any], expected: str):
    assert refusal(data) == expected


def test_every_fault_is_told_at_once():
    data = plain(ronds=3, seed="x", clients=[{"model": MODEL}])
    keys = [line.partition(":")[0] for line in refusal(data).splitlines()]
    assert sorted(keys) == ["clients.0.name", "ronds", "seed"]


@pytest.mark.parametrize(
    ("kind", "value", "nearest"),
    [
        ("host", "fedmtk", "fedmkt"),
        ("allocator", "randm", "random"),
        ("allocator", {"name": "ladaa", "options": {"budget": 3}}, "lada"),
        ("objective", "contrastiv", "contrastive"),
    ],
)
def test_a_misspelt_method_is_answered_with_the_nearest(kind: str, value: Any, nearest: str):
    registry = {"host": HOSTS, "allocator": ALLOCATORS, "objective": OBJECTIVES}[kind]
    name = value if isinstance(value, str) else value["name"]
    known = ", ".join(registry.names())
    expected = f"{kind}: unknown name {name!r}; expected one of {known}; did you mean {nearest!r}?"
    assert refusal(plain(**{kind: value})) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clients": []}, "clients: there is no client; expected at least one"),
        ({"clients": [PLAIN["clients"][0]] * 2}, "clients: two share the name 'clinic'; give each its own"),
        (client(name="llm"), "server.name: 'llm' is a client's name too; give each party its own"),
        (
            {"server": {"name": "clinic", "model": MODEL}},
            "server.name: 'clinic' is a client's name too; give each party its own",
        ),
        (client(name="server"), "clients: one is named 'server', as the ledger calls the server; choose another name"),
    ],
)
def test_each_party_has_a_name_of_its_own(changes: dict[str, Any], expected: str):
    assert refusal(plain(**changes)) == expected
    assert LEDGER_NAME == SERVER


@pytest.mark.parametrize("data", [None, 3, "text", ["clients"]])
def test_a_configuration_is_a_mapping(data: Any):
    assert refusal(data) == f"configuration: it is {data!r}; expected a mapping of keys to values"


def test_keys_that_no_file_could_hold_are_refused():
    assert "expected plain YAML or JSON values" in refusal(plain(task={("a", "b"): 3}))


def test_overrides_reach_every_depth():
    config = make_config(
        plain(allocator="lada"),
        (
            "rounds=5",
            "server.distil.optimisation.learning_rate=0.5",
            "clients.kitchen.model.tune=lora",
            "clients.0.private.steps=7",
            "clients.clinic.domains.0=sums",
            "clients.kitchen.domains=[a, b]",
            "allocator.options.budget=40",
            "objective=sft",
            "task={kind: rulebooks, world: 2}",
            "task.public=60",
            "workers=",
        ),
    )
    clinic, kitchen = config.clients
    assert (config.rounds, config.workers) == (5, None)
    assert config.server.distil.optimisation.learning_rate == 0.5
    assert isinstance(clinic.model, ModelOptions)
    assert isinstance(kitchen.model, ModelOptions)
    assert (clinic.model.tune, kitchen.model.tune) == ("full", "lora")
    assert (clinic.private.steps, clinic.domains, kitchen.domains) == (7, ("sums",), ("a", "b"))
    assert config.task.model_dump(include={"world", "public"}) == {"world": 2, "public": 60}
    assert (config.choice(ALLOCATORS).name, config.choice(ALLOCATORS).options["budget"]) == ("lada", 40)
    assert config.choice(OBJECTIVES).name == "sft"


def test_an_override_of_an_option_makes_the_short_form_long():
    config = make_config(
        plain(host="fedmkt", allocator=None), ("host.options.private_rounds=1", "allocator.name=random")
    )
    assert config.choice(HOSTS).options["private_rounds"] == 1
    assert config.choice(ALLOCATORS).name == "random"


def test_the_last_override_wins_and_the_data_stays_as_it_was():
    data = plain()
    before = copy.deepcopy(data)
    assert make_config(data, ("rounds=5", "rounds=6", "clients.0.name=x")).rounds == 6
    assert data == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rounds", "expected key=value, such as rounds=3 or allocator.name=random"),
        ("=3", "expected key=value"),
        ("server..name=x", "expected key=value"),
        ("rounds=[", "'[' is not valid YAML"),
        ("seed.x=3", "'seed' is 4 and has no keys below it"),
        ("clients.kitchn.name=x", "no entry 'kitchn'; expected one of clinic, kitchen; did you mean 'kitchen'?"),
        ("clients.2.name=x", "no entry '2'; expected one of clinic, kitchen"),
        ("clients.²=x", "no entry '²'; expected one of clinic, kitchen"),
        ("clients.clinic.domains.1=x", "no entry '1'; expected one of 0"),
        ("clients.clinic.domains.0.x=1", "'0' is 'clinic' and has no keys below it"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(override: str, expected: str):
    message = refusal(plain(seed=4), override)
    assert message.startswith(f"--set {override!r}: ")
    assert expected in message


def test_an_override_is_checked_like_the_file():
    assert refusal(plain(), "ronds=3").startswith("ronds: unknown key (its value is 3)")
    assert refusal(plain(), "seed=2026-01-02").startswith("seed: '2026-01-02' is not valid")
    assert "the list is empty" in refusal(plain(clients=[]), "clients.a.name=x")


@pytest.mark.parametrize(
    ("changes", "knowledge"),
    [
        ({}, "paths"),
        ({"plugin": "none"}, "labels"),
        ({"plugin": "none", "allocator": "random"}, "labels"),
        ({"plugin": "none", "host": {"name": "fedmkt", "options": {"knowledge": "paths"}}}, "paths"),
        ({"host": {"name": "fedmkt", "options": {"knowledge": "labels"}}, "allocator": "random"}, "labels"),
    ],
)
def test_the_bare_host_comes_with_options_of_its_own(changes: dict[str, Any], knowledge: str):
    config = make_config(plain(**changes))
    assert config.choice(HOSTS).options["knowledge"] == knowledge
    assert make_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"plugin": "none", "allocator": "winner"}, "the allocator compares paths that the parties wrote themselves"),
        (
            {"host": {"name": "fedmkt", "options": {"average_adapters": True}}},
            "has model.tune 'full'; expected 'lora'",
        ),
    ],
)
def test_what_a_host_cannot_work_with_is_refused(changes: dict[str, Any], told: str):
    assert told in refusal(plain(**changes))


@pytest.mark.parametrize(
    ("changes", "allocator", "objective"),
    [
        ({}, "lada", "contrastive"),
        ({"plugin": "lada"}, "lada", "contrastive"),
        ({"plugin": "none"}, "dual_min_ce", "soft_targets"),
        ({"plugin": "none", "host": "standalone"}, "all", "sft"),
        ({"plugin": "lada", "allocator": "random"}, "random", "contrastive"),
        ({"plugin": "none", "objective": "contrastive"}, "dual_min_ce", "contrastive"),
    ],
)
def test_plugin_is_short_for_allocator_and_objective(changes: dict[str, Any], allocator: str, objective: str):
    config = make_config(plain(**changes))
    assert (config.choice(ALLOCATORS).name, config.choice(OBJECTIVES).name) == (allocator, objective)
    # The shorthand learns the verified path without contrast; who names the objective gets its contrast too.
    assert config.make(OBJECTIVES).needs.rejected == ("objective" in changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"plugin": "none"}, {"host": "standalone", "task": {"kind": "files", "train": ["a", "b"], "public": "p"}}],
)
def test_a_resolved_configuration_spells_everything_out_and_says_the_same(changes: dict[str, Any]):
    config = make_config(plain(**changes))
    spelt = config.model_dump(mode="json")
    for kind, registry in (("host", HOSTS), ("allocator", ALLOCATORS), ("objective", OBJECTIVES)):
        options = registry.get(spelt[kind]["name"]).options
        told = {key for key, field in options.model_fields.items() if field.exclude_if is None}
        assert spelt[kind]["options"].keys() == told  # all but controls that are off
    assert spelt["clients"][0]["distil"]["optimisation"]["betas"] == [0.9, 0.98]
    assert make_config(spelt) == config
    assert make_config(yaml.safe_load(yaml.safe_dump(spelt))) == config
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_a_resolved_configuration_makes_its_methods():
    config = make_config(plain(allocator={"name": "lada", "options": {"budget": 7}}, objective="sft"))
    allocator: Any = config.make(ALLOCATORS)
    host: Any = config.make(HOSTS)
    assert allocator.options.budget == 7
    assert host.options.client_replay.general == 0.1
    assert not config.make(OBJECTIVES).needs.rejected


def only(*verbs: str) -> dict[str, Any]:
    return {"model": {**MODEL, "verbs": list(verbs)}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"server": only("answer")}, ("host 'fedmkt'", "judge, study", "'llm'")),
        (
            {"server": only("answer"), "host": {"name": "fedmkt", "options": {"directions": "llm_to_slm"}}},
            ("allocator 'lada'", "confidence", "'llm'"),
        ),
        (
            {"clients": [{"name": "c", **only("answer", "judge", "embed", "study")}], "allocator": "winner"},
            ("allocator 'winner'", "confidence", "'c'"),
        ),
        (
            {"clients": [{"name": "c", **only("answer", "judge", "embed")}], "allocator": "all"},
            ("host 'fedmkt'", "study", "'c'"),
        ),
    ],
)
def test_a_method_that_needs_what_a_learner_lacks_is_refused(changes: dict[str, Any], expected: tuple[str, str, str]):
    method, verbs, party = expected
    start = f"{method} needs a learner that can {verbs}, but that of {party} cannot"
    assert refusal(plain(**changes)).startswith(start)


def test_an_llm_that_can_only_answer_may_teach():
    host = {"name": "fedmkt", "options": {"directions": "llm_to_slm"}}
    config = make_config(plain(server=only("answer"), host=host, allocator="verified"))
    assert config.server.model.able == {"answer"}
    assert config.choice(HOSTS).options["directions"] == "llm_to_slm"


def test_a_file_is_read_as_yaml_or_json(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain(name="run-1")))
    (tmp_path / "c.json").write_text(json.dumps(plain(name="run-1")))
    assert read_config(tmp_path / "c.yaml", ("rounds=1",)) == read_config(tmp_path / "c.json", ("rounds=1",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"clients: [", "is not valid YAML: "),
        (b"a: \xff", "is not valid YAML: "),
        (b"a: 2001-99-99", "is not valid YAML: "),
        (b"&a {x: *a}", "expected plain YAML or JSON values"),
        (b"2001-01-01: 1", "expected plain YAML or JSON values"),
        (b"", "is empty; `lada examples show demo` prints a valid one"),
        (b"- a", "configuration: it is ['a']; expected a mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes, expected: str):
    file = tmp_path / "c.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_config(file)
    assert expected in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    for place, what in ((tmp_path / "none.yaml", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=f"{what}; give the path of a YAML file"):
            read_config(place)


def test_the_schema_knows_every_methods_options():
    schema = full_schema()
    assert schema["properties"]["rounds"]["minimum"] == 0
    methods = schema["x-methods"]
    assert {kind: sorted(rows) for kind, rows in methods.items()} == {
        kind: point.registry.names() for kind, point in POINTS.items()
    }
    assert methods["allocator"]["race"]["properties"]["laps"]["default"] == 10
    assert json.loads(json.dumps(schema)) == schema


def test_only_a_deployment_leaves_models_and_data_to_the_clients():
    alone = plain(clients=[{"name": "one"}])
    assert refusal(alone).startswith("clients.one.model: missing; only engine: deployment")
    files = plain(task={"kind": "files", "public": "p.jsonl", "test": "t.jsonl"})
    assert refusal(files).startswith("task.train: missing; only engine: deployment")
    assert make_config({**alone, "task": files["task"], "engine": "deployment"}).clients[0].model is None


def test_a_count_stands_for_so_many_clients_and_some_are_drawn_for_each_round():
    config = make_config(
        plain(
            clients=[{**PLAIN["clients"][1], "name": "phone", "count": 12}, PLAIN["clients"][1]],
            participants=5,
            rounds=3,
        )
    )
    names = [client.name for client in config.clients]
    assert names == [f"phone-{number:02}" for number in range(1, 13)] + ["kitchen"]
    rounds = [config.drawn(round) for round in (1, 2, 3)]
    assert all(len(set(drawn)) == 5 and list(drawn) == sorted(drawn) and set(drawn) <= set(names) for drawn in rounds)
    assert len(set(rounds)) == 3
    assert config.drawn(0) == tuple(sorted({name for drawn in rounds for name in drawn}))
    assert config.drawn(1) == make_config(config.model_dump(mode="json")).drawn(1)
    everybody = make_config(plain(clients=[{**PLAIN["clients"][1], "name": "phone", "count": 3}]))
    assert everybody.drawn(0) == everybody.drawn(7) == ("phone-1", "phone-2", "phone-3")


def test_a_fuser_is_chosen_by_name_with_options():
    config = make_config(plain(fuser={"name": "least_loss", "options": {"below_own": True}}))
    assert config.choice(FUSERS).options == {"below_own": True}
    assert make_config(plain()).make(FUSERS).pairwise
    with pytest.raises(InputError, match=r"fuser: unknown name 'leest_loss'.*did you mean 'least_loss'"):
        make_config(plain(fuser="leest_loss"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"clients": [{**PLAIN["clients"][0], "objective": "stf"}]}, "clients.clinic.objective: objective"),
        ({"hooks": ["stf"]}, "hooks: hook"),
    ],
)
def test_an_unknown_name_is_answered_with_its_key(changes: dict[str, Any], key: str):
    assert refusal(plain(**changes)).startswith(f"{key}: unknown name 'stf'; expected one of")
