"""FedMKT's homogeneous setting: adapters are averaged by private samples, and all clients continue with the average."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import federation, make_party

from lada.codecs import adapters
from lada.core.errors import CodecError, FederationError, InputError
from lada.models.options import LoraOptions, ModelOptions
from lada.rounds.averaging import ADAPTER, aggregate_updates, check_alike
from lada.rounds.options import AveragingOptions


def told(samples: int, **weights: list[float]) -> dict[str, bytes]:
    return {ADAPTER: adapters.encode({name: np.array(w, np.float32) for name, w in weights.items()}, samples)}


def averaged(replies: dict[str, dict[str, bytes]]) -> bytes:
    server = make_party("llm", set(), FilePath("unused"))
    return aggregate_updates(server, replies, 1, AveragingOptions()).newest(server)


def test_by_hand():
    # Shares are 1/4 and 3/4.
    data = averaged({"a": told(100, A=[4.0, 0.0], B=[1.0]), "b": told(300, A=[0.0, 8.0], B=[-1.0])})
    weights, samples = adapters.decode(data)
    assert {name: array.tolist() for name, array in weights.items()} == {"A": [1.0, 6.0], "B": [-0.5]}
    assert samples == 400


def test_clients_without_private_samples_count_alike():
    weights, samples = adapters.decode(averaged({"a": told(0, A=[4.0]), "b": told(0, A=[0.0])}))
    assert (weights["A"].tolist(), samples) == ([2.0], 0)


def test_one_client_keeps_its_adapter_to_the_bit():
    mine = np.random.default_rng(0).normal(size=50).astype(np.float32)
    weights, _ = adapters.decode(averaged({"a": {ADAPTER: adapters.encode({"A": mine}, 7)}}))
    assert np.array_equal(weights["A"], mine)


@pytest.mark.parametrize("other", [told(1, A=[1.0, 2.0]), told(1, C=[1.0]), told(1, A=[1.0], B=[1.0])])
def test_adapters_that_do_not_fit_are_refused(other: dict[str, bytes]):
    with pytest.raises(FederationError, match="those of 'b' and 'a' differ in names or shapes"):
        averaged({"a": told(1, A=[1.0]), "b": other})
    with pytest.raises(CodecError):
        averaged({"a": {ADAPTER: b"nothing"}})


def test_who_does_not_fit_most_others_is_left_out_and_on_record():
    party = make_party("llm", set(), FilePath("unused"))
    replies = {"a": told(1, A=[1.0]), "b": told(9, A=[1.0, 2.0]), "c": told(1, A=[3.0])}
    pooled = aggregate_updates(party, replies, 4, AveragingOptions())
    newest = pooled.newest(party)
    assert (adapters.decode(newest)[0]["A"].tolist(), list(pooled.shared(party, newest))) == ([2.0], ["a", "c"])
    (missing,) = party.report.missing
    assert (missing.party, missing.round, missing.phase) == ("b", 4, "average")
    assert "other names or shapes" in missing.why


def test_what_fitted_in_the_first_round_fits_in_the_next_however_many_say_otherwise():
    party = make_party("llm", set(), FilePath("unused"))
    aggregate_updates(party, {"a": told(1, A=[1.0]), "b": told(1, A=[3.0])}, 1, AveragingOptions())
    pooled = aggregate_updates(party, {"a": told(1, A=[5.0]), "b": told(1, A=[1.0, 2.0])}, 2, AveragingOptions())
    newest = pooled.newest(party)
    assert (adapters.decode(newest)[0]["A"].tolist(), list(pooled.shared(party, newest))) == ([5.0], ["a"])
    assert [(gone.party, gone.round) for gone in party.report.missing] == [("b", 2)]
    with pytest.raises(FederationError, match="those of 'b', 'c' have other names or shapes than in earlier"):
        aggregate_updates(party, {"b": told(1, A=[1.0, 2.0]), "c": told(1, A=[1.0, 2.0])}, 3, AveragingOptions())


def test_samples_that_clients_invent_do_not_break_the_average():
    most = 10**9 - 1
    assert adapters.decode(averaged({"a": told(most, A=[1.0]), "b": told(most, A=[3.0])}))[1] == most


def test_after_a_round_all_have_the_average_and_are_evaluated_with_it(tmp_path: FilePath):
    knows = {"llm": {0, 1}, "a": {1, 2}, "b": {2, 3}}
    both = federation(tmp_path, "fedmkt", knows, {"average_adapters": True})
    learners: dict[str, Any] = {name: party.learner for name, party in both.clients.items()}
    learners["a"].weights, learners["b"].weights = np.array([1, 2], np.float32), np.array([3, 6], np.float32)
    both.clients["b"].private = both.clients["b"].private * 3  # 12 samples against a's 4
    both.run(1)
    for learner in learners.values():
        assert learner.weights.tolist() == [2.5, 5.0]
    crossed = [(m.phase, m.sender, sorted(m.payload)) for m in both.exchange.sent if m.phase in ("learn", "average")]
    assert crossed == [
        ("learn", "llm", ["paths"]),
        ("learn", "llm", ["paths"]),
        ("learn", "a", ["adapter", "metrics", "times"]),
        ("learn", "b", ["adapter", "metrics", "times"]),
        ("average", "llm", ["adapter"]),
        ("average", "llm", ["adapter"]),
        ("average", "a", ["metrics", "times"]),
        ("average", "b", ["metrics", "times"]),
    ]
    assert [(e.party, e.round) for e in both.server.report.evaluations] == [("llm", 1), ("a", 1), ("b", 1)]


LORA = ModelOptions(model="m", tune="lora")


@pytest.mark.parametrize(
    ("clients", "told"),
    [
        ({"a": ModelOptions(model="m")}, "client 'a' has model.tune 'full'; expected 'lora'"),
        ({"a": LORA, "b": ModelOptions(model="n", tune="lora")}, "'a' and 'b' differ in model.model: 'm' and 'n'"),
        ({"a": LORA, "b": ModelOptions(model="m")}, "differ in model.tune"),
        ({"a": LORA, "b": ModelOptions(model="m", tune="lora", lora=LoraOptions(rank=4))}, "differ in model.lora"),
    ],
)
def test_clients_that_cannot_be_averaged_are_refused_beforehand(clients: dict[str, ModelOptions], told: str):
    with pytest.raises(InputError, match=told):
        check_alike(clients, "key")
    check_alike({"a": LORA, "b": LORA}, "key")
