"""Federated averaging: who is sent what, ranks that differ, all weights, and what cannot be averaged."""

from pathlib import Path as FilePath
from typing import Any, cast

import numpy as np
import pytest
from actors import DISTIL, PRIVATE, Federation, federation, make, make_party, small
from test_run import builtin

import lada
from lada.allocators.base import ALLOCATORS
from lada.codecs import adapters
from lada.config import make_config
from lada.core.errors import FederationError, InputError
from lada.core.results import Results
from lada.federation import party_cache
from lada.hosts.base import HOSTS
from lada.models.options import LoraOptions, ModelOptions
from lada.rounds.averaging import ADAPTER, Aggregated, aggregate_updates
from lada.rounds.party import Party

A, B = "m.q.lora_A.default.weight", "m.q.lora_B.default.weight"


class Factors:
    """What a scripted learner trains: after each study, A and B as they are told in advance."""

    def __init__(self, learner: Any, a: Any, b: Any, scaling: float) -> None:
        self.learner, self.after = learner, {A: np.array(a, np.float32), B: np.array(b, np.float32)}
        self.weights = {name: np.zeros_like(array) for name, array in self.after.items()}
        self.taken: list[dict[str, np.ndarray]] = []
        learner.scaling = scaling
        learner.adapter = lambda: self.weights
        learner.load_adapter = self.take
        study = learner.study

        def studying(*args: Any, **options: Any) -> Any:
            self.weights = self.after
            return study(*args, **options)

        learner.study = studying

    def take(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = dict(weights)
        self.taken.append(self.weights)

    @property
    def change(self) -> np.ndarray:
        """What it adds to the layer's weights."""
        return self.learner.scaling * (self.weights[B] @ self.weights[A])


def two(
    folder: FilePath, form: str, other: tuple[Any, Any, float], **options: Any
) -> tuple[Federation, Factors, Factors]:
    both = federation(folder, "fedavg", {"llm": {0}, "a": {1}, "b": {2}}, {"form": form, **options})
    both.clients["b"].private = both.clients["b"].private * 3  # 12 samples against a's 4
    a = Factors(both.clients["a"].learner, [[1, 0]], [[4], [0]], 1.0)
    return both, a, Factors(both.clients["b"].learner, *other)


@pytest.mark.parametrize("options", [{}, {"malicious": 0, "clip": None}])
def test_factors_are_averaged_by_samples_and_everybody_goes_on_with_them(tmp_path: FilePath, options: dict[str, Any]):
    both, a, b = two(tmp_path, "average", ([[0, 1]], [[0], [2]], 1.0), **options)
    both.run(0, 1, 2)
    for client in (a, b):
        assert client.weights[A].tolist() == [[0.25, 0.75]]
        assert client.change.tolist() == [[0.25, 0.75], [0.375, 1.125]]  # not the average, [[1, 0], [0, 1.5]]
        assert len(client.taken) == 3  # the common start and two averages
        assert np.array_equal(client.taken[0][A], a.taken[0][A])
        assert not client.taken[0][B].any()
    for name in ("a", "b"):
        assert [study.options for study in both.studies(name)] == [PRIVATE, DISTIL] * 2
    assert not both.studies("llm")
    crossed = [(m.phase, m.sender, sorted(m.payload)) for m in both.exchange.sent if m.round == 2 and m.sender != "b"]
    assert crossed == [
        ("study", "llm", []),
        ("study", "llm", []),
        ("study", "a", ["adapter", "metrics", "times"]),
        ("average", "llm", ["adapter"]),
        ("average", "llm", ["adapter"]),
        ("average", "a", ["metrics", "times"]),
    ]
    report = both.server.report
    assert {(e.round, e.party) for e in report.evaluations} == {(0, "llm"), *((r, c) for r in range(3) for c in "ab")}


def test_products_are_averaged_with_each_clients_own_scaling_and_cut_to_its_rank(tmp_path: FilePath):
    # b's change is 0.5 · [[0, 0], [0, 4]]; the average is diag(1, 1.5).
    both, a, b = two(tmp_path, "flexlora", ([[0, 1], [0, 0]], [[0, 0], [4, 0]], 0.5))
    both.run(0, 1)
    assert b.change == pytest.approx(np.diag([1.0, 1.5]), abs=1e-6)
    assert a.change == pytest.approx(np.diag([0.0, 1.5]), abs=1e-6)
    assert a.weights[A].shape == (1, 2)


def test_padded_factors_are_averaged_by_norm_and_cut_to_its_rank(tmp_path: FilePath):
    # Changes have norms 4 and 2, so shares are 2/3 and 1/3; what is averaged is s·B.
    both, a, b = two(tmp_path, "hetlora", ([[0, 1], [3, 3]], [[0, 0], [4, 0]], 0.5))
    both.run(0, 1)
    assert a.weights[A] == pytest.approx(np.array([[2 / 3, 1 / 3]]))
    assert a.weights[B] == pytest.approx(np.array([[8 / 3], [2 / 3]]))
    assert b.weights[A] == pytest.approx(np.array([[2 / 3, 1 / 3], [1, 1]]))
    assert 0.5 * b.weights[B] == pytest.approx(np.array([[8 / 3, 0], [2 / 3, 0]]))


@pytest.mark.parametrize("form", ["average", "flexlora", "hetlora"])
def test_a_client_that_was_away_is_sent_the_newest_before_it_studies(tmp_path: FilePath, form: str):
    both, _, b = two(tmp_path, form, ([[0, 1]], [[0], [2]], 1.0))
    both.exchange.clients = ("a",)
    both.run(1)
    both.exchange.clients = ("a", "b")
    both.run(2)
    asked = {m.receiver: sorted(m.payload) for m in both.exchange.sent if m.phase == "study" and m.round == 2}
    assert asked["a"] == []
    assert asked["b"] == ["adapter"]
    assert b.taken[0][B] @ b.taken[0][A] == pytest.approx(np.array([[4.0, 0.0], [0.0, 0.0]]), abs=1e-6)
    assert len(b.taken) == 2  # no start of its own


def told(samples: int, **weights: Any) -> dict[str, bytes]:
    names = {"A": A, "B": B}
    return {ADAPTER: adapters.encode({names.get(n, n): np.array(w, np.float32) for n, w in weights.items()}, samples)}


SOUND = told(1, A=[[1, 0]], B=[[1], [1]])


@pytest.mark.parametrize(
    "odd",
    [
        told(9, A=[[1, 0, 0]], B=[[1], [1]]),
        told(9, A=[[1, 0]], B=[[1, 1], [1, 1]]),
        told(9, A=[[1, 0]]),
        told(9, C=[1]),
    ],
)
def test_who_has_other_layers_is_left_out_and_on_record(tmp_path: FilePath, odd: dict[str, bytes]):
    party = make_party("llm", set(), tmp_path)
    wide = told(1, A=[[1, 0], [0, 1]], B=[[1, 0], [1, 0]])
    host: Any = make(HOSTS, "fedavg", form="flexlora")
    pooled = aggregate_updates(party, {"a": SOUND, "b": odd, "c": wide}, 4, host.options)
    assert list(pooled.found.by_client) == ["a", "c"]
    assert [(gone.party, gone.round) for gone in party.report.missing] == [("b", 4)]
    assert list(aggregate_updates(party, {"a": SOUND, "b": odd}, 5, host.options).found.by_client) == [
        "a"
    ]  # as the first time


@pytest.mark.parametrize("odd", [{A: [1.0, 2.0], B: [[1.0]]}, {A: [[1.0, 2.0]]}])
def test_weights_that_only_look_like_factors_have_no_common_start(tmp_path: FilePath, odd: dict[str, Any]):
    both = federation(tmp_path, "fedavg", {"llm": set(), "a": set()}, {}, allocator="all")
    start = cast(Any, both.host)._start(both.server)
    assert start({name: np.array(values, np.float32) for name, values in odd.items()}) is None


def test_of_two_that_differ_the_first_time_nobody_can_say_which_is_right(tmp_path: FilePath):
    party, host = make_party("llm", set(), tmp_path), cast(Any, make(HOSTS, "fedavg", form="flexlora"))
    odd = told(9, A=[[1, 0, 0]], B=[[1], [1]])
    with pytest.raises(FederationError, match="those of 'b' and 'a' differ in names or shapes"):
        aggregate_updates(party, {"a": SOUND, "b": odd}, 1, host.options)


def test_weights_that_are_no_adapter_cannot_be_multiplied(tmp_path: FilePath):
    party, host = make_party("llm", set(), tmp_path), HOSTS.get("fedavg")
    made: Any = host.make(host.options.model_validate({"form": "hetlora"}))
    full = {"a": told(1, C=[1.0]), "b": told(1, C=[3.0])}
    with pytest.raises(FederationError, match="no client's adapter consists of pairs of LoRA factors"):
        aggregate_updates(party, full, 1, made.options)
    plain: Any = make(HOSTS, "fedavg")
    assert aggregate_updates(party, full, 1, plain.options).found.weights["C"].tolist() == [2.0]


def test_a_client_refuses_an_adapter_of_other_layers(tmp_path: FilePath):
    both, _, _ = two(tmp_path, "flexlora", ([[0, 1]], [[0], [2]], 1.0))
    with pytest.raises(FederationError, match="its layers differ from those of the client's own"):
        both.host.reply("average", both.clients["a"], 1, told(1, A=[[1, 0, 0]], B=[[1], [1]]))


LORA = ModelOptions(model="m", tune="lora")
WIDE = ModelOptions(model="m", tune="lora", lora=LoraOptions(rank=16, alpha=64, dropout=0.1))


def check(form: str, *models: ModelOptions, **options: Any) -> None:
    host = make(HOSTS, "fedavg", form=form, **options)
    host.check(make(ALLOCATORS, "all"), dict(zip("abcdefg", models, strict=False)))


@pytest.mark.parametrize(
    ("form", "models", "why"),
    [
        ("average", (LORA, WIDE), "form 'average': clients 'a' and 'b' differ in model.lora"),
        ("average", (LORA, ModelOptions(model="m")), "differ in model.tune: 'lora' and 'full'"),
        ("average", (LORA, ModelOptions(model="n", tune="lora")), "differ in model.model: 'm' and 'n'"),
        ("flexlora", (ModelOptions(model="m"),), "client 'a' has model.tune 'full'; expected 'lora'"),
        (
            "hetlora",
            (LORA, ModelOptions(model="m", tune="lora", lora=LoraOptions(targets=("q_proj",)))),
            r"differ in model.lora.targets: None and \('q_proj',\)",
        ),
    ],
)
def test_clients_that_cannot_be_averaged_are_refused_beforehand(form: str, models: Any, why: str):
    with pytest.raises(InputError, match=why):
        check(form, *models)


def test_clients_that_can_be_averaged_are_taken():
    check("average", LORA, LORA)
    check("average", *[ModelOptions(model="m")] * 2)
    check("flexlora", LORA, WIDE)
    check("hetlora", WIDE, LORA)
    check("average")  # a deployment, whose clients bring their models
    check("average", LORA, LORA, LORA, aggregation="trimmed_mean", malicious=1)
    with pytest.raises(InputError, match="'krum' needs 5 clients"):
        check("average", LORA, LORA, aggregation="krum", malicious=1)


def config(form: str, **model: Any) -> dict[str, Any]:
    changed = builtin(host={"name": "fedavg", "options": {"form": form}}, plugin="none", allocator=None)
    changed["task"] = dict(changed["task"])
    for client in changed["clients"]:
        client["model"] = {"model": "zoo:slm-llama-small", **model}
    changed["server"]["model"] = {"model": "zoo:slm-gpt2"}
    return small(changed)


def test_robust_rules_are_for_factors_alone():
    wrong = config("flexlora", tune="lora")
    wrong["host"]["options"]["aggregation"] = "median"
    with pytest.raises(InputError, match="aggregation is 'median' with form 'flexlora'"):
        make_config(wrong)


@pytest.mark.parametrize(
    ("form", "model"),
    [pytest.param("average", {"tune": "full"}, marks=pytest.mark.slow), ("hetlora", {"tune": "lora"})],
)
def test_a_whole_run_ends_with_one_model(tmp_path: FilePath, form: str, model: dict[str, Any]):
    whole = config(form, **model)
    if form == "hetlora":
        whole["clients"][0]["model"]["lora"] = {"rank": 2}
    results = lada.run(whole, runs=tmp_path)
    one, other = (party.weights for party in results.parties if party.role == "client")
    assert (one == other) == (form == "average")
    assert {(s.party, s.phase) for s in results.studies} == {
        (client, phase) for client in ("warehouse", "clinic") for phase in ("private", "private-more")
    }
    sent = {(row.sender, row.round): row.bytes for row in results.traffic if row.kind == ADAPTER}
    assert len(sent) == 3
    if form == "hetlora":
        assert sent["warehouse", 1] < sent["clinic", 1] / 3


class Crash(BaseException):
    """Ends a run like a power cut."""


def test_a_run_that_broke_goes_on_to_the_same_bits(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch):
    def outcome(results: Results) -> dict[str, Any]:
        return results.model_dump(mode="json", exclude={"wall_clock", "traffic"})

    rounds = []

    def crash(party: Party, replies: Any, round: int, *how: Any) -> Aggregated:
        rounds.append(round)
        if round == 2:
            raise Crash
        return aggregate_updates(party, replies, round, *how)

    twice = config("flexlora", tune="lora", lora={"rank": 4}) | {"rounds": 2}
    whole = lada.run(twice, runs=tmp_path / "whole")
    party_cache.forget()
    with monkeypatch.context() as patch:
        patch.setattr("lada.hosts.fedavg.aggregate_updates", crash)
        with pytest.raises(Crash):
            lada.run(twice, runs=tmp_path / "broken")
    assert rounds == [1, 2]
    party_cache.forget()
    assert outcome(lada.run(twice, runs=tmp_path / "broken", resume=True)) == outcome(whole)
