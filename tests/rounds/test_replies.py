"""What one client's content breaks costs that client the round, and nobody else."""

from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import federation, make, make_party
from sharing import learns, sharing, told

from lada.aggregators.base import Aggregate, Aggregator, Update
from lada.codecs import adapters, vocabulary
from lada.core.errors import FederationError, InputError
from lada.objectives.base import OBJECTIVES
from lada.rounds import averaging
from lada.rounds.aggregating import aggregate_in_range
from lada.rounds.base import Turn
from lada.rounds.knowledge import VOCABULARY
from lada.rounds.replies import each


class Sum(Aggregator):
    """All add up, some times over; the state says how many updates there were."""

    def __init__(self, times: float) -> None:
        self.times = times

    def aggregate(self, state: Any, updates: Any) -> tuple[Any, Aggregate]:
        weights = {client: update.weights for client, update in updates.items()}
        total = {"w": np.sum([self.times * own["w"] for own in weights.values()], axis=0)}
        return {"asked": len(updates)}, Aggregate(total, dict.fromkeys(weights, total), weights)


class Added(averaging.AveragingOptions):
    @property
    def aggregator(self) -> tuple[str, Aggregator]:
        return "sum", Sum(1.0)


KNOWS: dict[str, set[int]] = {"llm": {0}, "a": {1, 2}, "b": {3, 4}}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (InputError("no byte in common"), "no byte in common"),
        (MemoryError("what was sent"), "using it failed: MemoryError"),
        (ValueError("what was sent"), "using it failed: ValueError"),
    ],
)
def test_whoever_cannot_be_used_is_left_out(tmp_path: FilePath, error: Exception, why: str):
    both = federation(tmp_path, "fedmkt", KNOWS)

    def use(client: str, told: int) -> int:
        if client == "a":
            raise error
        return told + 1

    turn = Turn(both.server, 3, exchange=both.exchange)
    turn.phase = "learn"
    assert each(turn, {"b": 1, "a": 5}, use) == {"b": 2}
    assert both.exchange.dropped == [("learn", 3, "a", why)]
    assert both.server.report.notices == (f"round 3: a is left out, {why}",)


@pytest.mark.parametrize(("host", "options", "phase"), [
    ("fedmkt", {"knowledge": "labels"}, "learn"), ("fedmd", {}, "digest"),
])  # fmt: skip
def test_a_vocabulary_of_other_bytes_costs_its_sender_the_round(
    tmp_path: FilePath, host: str, options: Any, phase: str
):
    objective = make(OBJECTIVES, "soft_targets", k=3)
    both = federation(tmp_path, host, KNOWS, options, allocator="all", objective=objective)
    honest = both.host.reply

    def strange(asked: str, party: Any, round: int, payload: Any) -> Any:
        reply = dict(honest(asked, party, round, payload))
        if party.name == "a" and VOCABULARY in reply:
            reply[VOCABULARY] = vocabulary.encode(["я".encode()] * 257, 256)
        return reply

    both.host.reply = strange  # type: ignore[method-assign]
    words = tuple(word for word in (bytes([byte]) for byte in range(256)) if word not in "я".encode())
    server: Any = both.server.learner
    server.words = words
    both.run(1)
    ((where, _, client, why),) = both.exchange.dropped
    assert (where, client) == ("contribute", "a")
    assert "no byte in common" in why
    assert [m.receiver for m in both.exchange.sent if m.phase == phase and m.sender == "llm"] == ["b"]


def test_factors_too_large_for_their_product_are_left_out():
    doubled = Sum(2.0)
    weights = {
        name: {"w": np.array([value], np.float32)} for name, value in (("a", 9000.0), ("b", -9500.0), ("c", 1.0))
    }
    weights["d"] = {"w": np.array([9600.0], np.float32)}
    updates = {client: Update(own, 1) for client, own in weights.items()}
    state, merged, out = aggregate_in_range(doubled, {}, updates)
    assert (merged.weights["w"].tolist(), out) == ([2.0 * (9000 - 9500 + 1)], ["d"])  # with d it is 18202
    assert (set(merged.by_client), state) == ({"a", "b", "c"}, {"asked": 3})
    with pytest.raises(FederationError, match="nor any single one has numbers in range"):
        aggregate_in_range(doubled, {}, {"a": updates["a"]})


def test_a_server_that_has_the_model_knows_the_shapes(tmp_path: FilePath):
    """Both clients' adapters have another shape than the SLM of the server, which is not to be outvoted."""
    both, _ = sharing(tmp_path, "feddf", {}, objective=make(OBJECTIVES, "soft_targets", k=3))
    learns(both, "a", [1.0, 1.0, 1.0])
    learns(both, "b", [3.0, 3.0])
    both.run(1)
    assert [m.receiver for m in both.exchange.sent if m.phase == "take" and m.sender == "llm"] == ["b"]
    assert told(both, "take", "b", 1) == [3.0, 3.0]
    learns(both, "b", [3.0])
    with pytest.raises(FederationError, match="other names or shapes"):
        both.run(2)


def test_an_average_stays_within_what_an_adapter_holds(tmp_path: FilePath):
    server = make_party("llm", set(), tmp_path)
    weights = {"w": np.array([9999.0], np.float32)}
    replies = {name: {averaging.ADAPTER: adapters.encode(weights, 4)} for name in ("a", "b")}

    pooled = averaging.aggregate_updates(server, replies, 1, Added())
    assert list(pooled.found.by_client) == ["b"]
    assert [(m.party, m.phase) for m in server.report.missing] == [("a", "average")]
