"""FLASC's round on four numbers, worked out by hand; messages of a hostile server or client; bytes; whole runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actors import make_party
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.audit.audit import audit
from lada.codecs import top_values
from lada.codecs.adapters import Adapter, Change, Update, digest
from lada.codecs.base import CODECS, Codecs, Outlook
from lada.codecs.flasc import Flasc, FlascOptions
from lada.codecs.tensors import read as read_tensors
from lada.codecs.tensors import write as write_tensors
from lada.config import make_config
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.limits import Limits
from lada.federation import party_cache
from lada.rounds.averaging import (
    ADAPTER,
    aggregate_updates,
    catch_up,
    encode_adapter,
    handed_out,
    started_from,
    take_adapter,
    to_clients,
)
from lada.rounds.checks import check_parts
from lada.rounds.options import AveragingOptions
from lada.rounds.wire import part, write


def named(*numbers: float) -> dict[str, np.ndarray]:
    """Return four numbers as two weights, which one mask spans."""
    return {"a": np.array(numbers[:1], np.float32), "b": np.array([numbers[1:]], np.float32)}


def flat(weights: Any) -> list[float]:
    return [*weights["a"].tolist(), *weights["b"].ravel().tolist()]


def party(folder: Path, name: str, **options: Any) -> Any:
    made = make_party(name, set(), folder)
    made.role = "server" if name == "llm" else "client"
    options = {"down": 0.5, "up": 0.25, "values": "float32", **options}
    made.codecs = Codecs({"flasc": Flasc(FlascOptions(**options))})
    return made


class Learner:
    """Has four numbers."""

    def __init__(self, *numbers: float) -> None:
        self.weights = named(*numbers)

    def adapter(self) -> dict[str, np.ndarray]:
        return self.weights

    def load_adapter(self, weights: Any) -> None:
        self.weights = dict(weights)


STUDIED = {"c": (0.6, 0.05, -0.02, -0.1), "d": (0.45, 0.2, 0.01, -0.45)}
SGD = {"name": "fedopt", "options": {"optimiser": "sgd", "learning_rate": 1.0}}


def play(
    folder: Path, aggregation: Any, **options: Any
) -> tuple[Any, list[list[float]], list[list[float]], list[float]]:
    """Return the server after a round, what each client received and sent, and what all continue with."""
    server = party(folder, "llm", **options)
    first = write(server, ADAPTER, Adapter(named(0.5, -0.1, 0.3, -0.4), 0))
    handed_out(server, first, STUDIED)
    replies, received, sent = {}, [], []
    for name, after in STUDIED.items():
        client = party(folder, name, **options)
        client.learner = Learner(*after)
        take_adapter(client, to_clients(server, first, [name])[name])
        received.append(flat(client.learner.weights))
        client.learner = Learner(*after)
        replies[name] = {ADAPTER: encode_adapter(client)}
        sent.append(flat(part(server, replies[name], ADAPTER).weights))
    averaging = AveragingOptions.model_validate({"aggregation": aggregation, "malicious": 0, "clip": None})
    pooled = aggregate_updates(server, replies, 1, averaging)
    return server, received, sent, flat(pooled.found.weights)


@pytest.mark.parametrize("aggregation", ["mean", SGD])
def test_a_round_by_hand(tmp_path: Path, aggregation: Any):
    server, received, sent, found = play(tmp_path, aggregation)
    assert received == [pytest.approx([0.5, 0.0, 0.0, -0.4], abs=1e-5)] * 2
    assert sent[0] == pytest.approx([0.0, 0.0, 0.0, 0.3], abs=1e-5)
    assert sent[1] == pytest.approx([0.0, 0.2, 0.0, 0.0], abs=1e-5)
    kept = server.states["codec/flasc/llm"]["residual"]
    assert kept == pytest.approx([0.0, -0.1, 0.3, 0.0], abs=1e-5)
    assert np.array(found) + kept == pytest.approx([0.5, 0.0, 0.3, -0.25], abs=1e-5)
    # The next message is of all that the server has, not of what it sent before: the mask moves.
    told = part(server, {ADAPTER: write(server, ADAPTER, Adapter(named(*found), 2))}, ADAPTER)
    assert flat(told.weights) == pytest.approx([0.5, 0.0, 0.3, 0.0], abs=1e-5)


def test_all_of_it_is_federated_averaging(tmp_path: Path):
    *_, found = play(tmp_path, "mean", down=1.0, up=1.0)
    assert found == pytest.approx(np.mean(list(STUDIED.values()), axis=0), abs=1e-5)


def test_what_a_client_leaves_out_it_sends_later(tmp_path: Path):
    client, sum_sent = party(tmp_path, "c"), np.zeros(4)
    server, start = party(tmp_path, "llm"), named(0.5, 0.0, 0.0, -0.4)
    for time in range(1, 9):
        started_from(client, start)
        client.learner = Learner(0.6, 0.05, -0.02, -0.1)  # the change is (0.1, 0.05, -0.02, 0.3) each time
        sum_sent += flat(part(server, {ADAPTER: encode_adapter(client)}, ADAPTER).weights)
        left = client.states["codec/flasc/c"]["residual"]
        assert sum_sent + left == pytest.approx(time * np.array([0.1, 0.05, -0.02, 0.3]), abs=1e-5)
    assert (sum_sent != 0).sum() >= 3  # without the residual only the last number would ever arrive
    client = party(tmp_path, "c", error_feedback=False)
    started_from(client, start)
    client.learner = Learner(0.6, 0.05, -0.02, -0.1)
    encode_adapter(client)
    assert "codec/flasc/c" not in client.states


def test_half_precision_is_left_over_too(tmp_path: Path):
    client = party(tmp_path, "c", up=1.0, values="float16")
    started_from(client, named(0, 0, 0, 0))
    client.learner = Learner(1 / 3, 0.1, 1e-9, -2.0)
    data = encode_adapter(client)
    sent = part(party(tmp_path, "llm", up=1.0, values="float16"), {ADAPTER: data}, ADAPTER)
    assert np.array(flat(sent.weights)) + client.states["codec/flasc/c"]["residual"] == pytest.approx(
        [1 / 3, 0.1, 1e-9, -2.0], abs=1e-7
    )


def test_a_client_whose_start_nobody_knows_sends_all(tmp_path: Path):
    client, server = party(tmp_path, "c"), party(tmp_path, "llm")
    client.learner = Learner(0.6, 0.05, -0.02, -0.1)
    told = part(server, {ADAPTER: encode_adapter(client)}, ADAPTER)
    assert isinstance(told, Adapter)
    assert flat(told.weights) == pytest.approx([0.6, 0.05, -0.02, -0.1])


# Densities that differ by client, or fall.


def packed(data: bytes) -> int:
    """Return the bytes of a message besides its header."""
    return len(data) - 8 - int.from_bytes(data[:8], "little")


def test_tiers_of_clients_by_hand(tmp_path: Path):
    _, received, sent, found = play(tmp_path, SGD, tiers={"d": 0.75})
    assert received == [pytest.approx([0.5, 0.0, 0.0, -0.4])] * 2  # the same for all
    assert sent[0] == pytest.approx([0.0, 0.0, 0.0, 0.3], abs=1e-6)  # c has `up`, a quarter
    assert sent[1] == pytest.approx([-0.05, 0.2, 0.0, -0.05], abs=1e-6)  # the three largest of d
    assert found == pytest.approx([0.475, 0.1, 0.0, -0.275], abs=1e-6)


def test_the_bytes_of_the_papers_tiers():
    codec = Flasc(FlascOptions(up=1 / 8, tiers={"weak": 1 / 16, "middle": 1 / 4, "strong": 1.0}))
    start, after = ({"a": np.full(64, number, np.float32)} for number in (0, 1))
    sent = {
        client: packed(codec.encode({}, Update(after, 1, start, client))[1])
        for client in ("weak", "middle", "strong", "other")
    }
    # k numbers in float16, and a bit for each of 64: fewer bytes than 4 k here
    assert sent == {"weak": 4 * 2 + 8, "middle": 16 * 2 + 8, "strong": 64 * 2, "other": 8 * 2 + 8}
    for client, count in sent.items():
        assert codec.expected_bytes(Outlook(sender=client, numbers=64, client=True, round=1)) == count


def test_densities_fall_with_each_message():
    codec = Flasc(FlascOptions(down=1.0, up=0.5, decay=0.5, error_feedback=False))
    start, after = ({"a": np.full(16, number, np.float32)} for number in (0, 1))
    state, up = codec.init(0), []
    for _ in range(5):
        state, data = codec.encode(bytes_to_arrays(arrays_to_bytes(state)), Update(after, 1, start, "c"))
        up.append(packed(data))
    assert up == [8 * 2 + 2, 4 * 2 + 2, 2 * 2 + 2, 1 * 2 + 2, 0]  # 8, 4, 2 and 1 of 16 numbers, then none
    assert up == [codec.expected_bytes(Outlook(numbers=16, client=True, round=round)) for round in range(1, 6)]
    assert int(state["sent"]) == 5
    state, down = codec.init(0), []
    for _ in range(3):
        state, data = codec.encode(state, Adapter(after, 1))
        down.append(packed(data))
    assert down == [16 * 2, 8 * 2 + 2, 4 * 2 + 2]
    # All go first, then the first eight ones, then the first four of the eight that were left out and are 2 by now.
    assert state["residual"].tolist() == [1.0] * 8 + [0.0] * 4 + [2.0] * 4
    whole, _ = codec.encode(codec.init(0), Update(after, 1, None, "c"))
    assert int(whole["sent"]) == 0  # a message of all numbers has no density


@pytest.mark.parametrize("aggregation", ["mean", SGD])
def test_tiers_of_what_comes_down_by_hand(tmp_path: Path, aggregation: Any):
    server, received, sent, found = play(tmp_path, aggregation, up=1.0, tiers_down={"d": 0.25})
    assert received == [pytest.approx([0.5, 0.0, 0.0, -0.4]), pytest.approx([0.5, 0.0, 0.0, 0.0])]
    # Each change is relative to what its client received, and the server takes the mean change from P.
    assert sent[0] == pytest.approx([0.1, 0.05, -0.02, 0.3], abs=1e-6)
    assert sent[1] == pytest.approx([-0.05, 0.2, 0.01, -0.45], abs=1e-6)
    everything = np.array(found) + server.states["codec/flasc/llm"]["residual"]
    assert everything == pytest.approx([0.525, 0.025, 0.295, -0.475], abs=1e-6)


def test_a_tier_may_be_denser_than_the_rest(tmp_path: Path):
    _, received, sent, _ = play(tmp_path, SGD, up=1.0, tiers_down={"d": 1.0})
    assert received[1] == pytest.approx([0.5, -0.1, 0.3, -0.4])
    assert sent[1] == pytest.approx([-0.05, 0.3, -0.29, -0.05], abs=1e-6)


def test_a_round_with_tiers_is_that_of_the_authors_code(tmp_path: Path):
    """The reference takes all masks from P, trains, masks again, and steps by the mean (train_sparse_lora_het.py)."""
    rng, n, names = np.random.default_rng(5), 64, ("weak", "middle", "strong")
    tiers = dict(zip(names, (1 / 16, 1 / 4, 1.0), strict=True))
    server = party(tmp_path, "llm", down=1 / 8, tiers=tiers, tiers_down=tiers, error_feedback=False)
    clients = {name: party(tmp_path, name, **server.codecs[ADAPTER].options.model_dump()) for name in names}
    weights = rng.normal(size=n).astype(np.float32)
    averaging = AveragingOptions.model_validate({"aggregation": SGD, "malicious": 0, "clip": None})
    found: Any = {"w": weights}
    for round in range(1, 4):
        newest = write(server, ADAPTER, Adapter(found, 1))
        for name, payload in to_clients(server, newest, names).items():
            client = clients[name]
            client.learner = ofone(np.zeros(n, np.float32))
            take_adapter(client, payload)
            start = np.where(rank(weights) < int(n * tiers[name]), weights, 0)
            assert client.learner.weights["w"] == pytest.approx(start, abs=1e-6)
        handed_out(server, newest, names)
        changes = rng.normal(size=(3, n)).astype(np.float32)
        for client, change in zip(clients.values(), changes, strict=True):
            client.learner.weights = {"w": client.learner.weights["w"] + change}
        replies = {name: {ADAPTER: encode_adapter(client)} for name, client in clients.items()}
        found = aggregate_updates(server, replies, round, averaging).found.weights
        for name, change in zip(names, changes, strict=True):
            weights = weights + np.where(rank(change) < int(n * tiers[name]), change, 0) / 3
        assert found["w"] + server.states["codec/flasc/llm"]["residual"] == pytest.approx(weights, abs=1e-5)


def ofone(numbers: np.ndarray) -> Learner:
    learner = Learner()
    learner.weights = {"w": numbers}
    return learner


def rank(vector: np.ndarray) -> np.ndarray:
    """Return for each number how many have a larger magnitude."""
    return np.argsort(np.argsort(-np.abs(vector)))


def test_the_bytes_of_the_papers_tiers_coming_down():
    tiers = {"weak": 1 / 16, "middle": 1 / 4, "strong": 1.0}
    codec = Flasc(FlascOptions(down=1 / 8, tiers_down=tiers, decay=0.5))
    state, counts = codec.init(0), []
    for round in (1, 2):
        state, data = codec.encode(state, Adapter({"a": np.arange(64, dtype=np.float32)}, 1))
        got = {client: packed(codec.for_client(state, data, client)) for client in (*tiers, "other")}
        counts.append(got)
        for client, count in got.items():
            assert codec.expected_bytes(Outlook(sender="llm", receiver=client, numbers=64, round=round)) == count
        assert codec.for_client(state, data, "other") is data
        assert codec.for_client(state, data, "weak") == codec.for_client(state, data, "weak")
    assert counts[0] == {"weak": 4 * 2 + 8, "middle": 16 * 2 + 8, "strong": 64 * 2, "other": 8 * 2 + 8}
    assert counts[1] == {"weak": 2 * 2 + 8, "middle": 8 * 2 + 8, "strong": 32 * 2 + 8, "other": 4 * 2 + 8}


def test_a_client_that_missed_a_round_gets_its_own_density(tmp_path: Path):
    server = party(tmp_path, "llm", tiers_down={"d": 0.25})
    handed_out(server, write(server, ADAPTER, Adapter(named(0.5, -0.1, 0.3, -0.4), 0)), ["c"])
    missed = catch_up(server, ["c", "d", "e"])
    assert missed["c"] == {}
    assert flat(part(server, missed["d"], ADAPTER).weights) == pytest.approx([0.5, 0, 0, 0])
    assert flat(part(server, missed["e"], ADAPTER).weights) == pytest.approx([0.5, 0, 0, -0.4])


def test_a_client_takes_no_more_than_its_own_density(tmp_path: Path):
    server = party(tmp_path, "llm", tiers_down={"d": 0.25})
    newest = write(server, ADAPTER, Adapter(named(0.5, -0.1, 0.3, -0.4), 0))
    dense = to_clients(server, newest, ["c"])["c"]
    with pytest.raises(CodecError, match="other values than 0 to 1 of type float32"):
        part(party(tmp_path, "d", tiers_down={"d": 0.25}), dense, ADAPTER)
    with pytest.raises(CodecError, match="other values than 0 to 2 of type float32"):
        check_parts(party(tmp_path, "c", tiers_down={"d": 1.0}), "llm", 1, {ADAPTER: forged_adapter(3)})


def forged_adapter(k: int) -> bytes:
    header = {"kind": "flasc", "form": "adapter", "samples": "3", "start": "", "shapes": '[["a", [4]]]'}
    places = top_values.pack(np.arange(k), 4)
    return write_tensors({"places": places, "values": np.ones(k, np.float32)}, header)


def test_a_change_of_anothers_density_is_of_other_weights(tmp_path: Path):
    options = {"up": 1.0, "tiers_down": {"d": 0.25}}
    server, client = party(tmp_path, "llm", **options), party(tmp_path, "e", **options)
    newest = write(server, ADAPTER, Adapter(named(0.5, -0.1, 0.3, -0.4), 0))
    handed_out(server, newest, "de")
    client.learner = Learner(0, 0, 0, 0)
    take_adapter(client, {ADAPTER: newest})
    sent, averaging = {ADAPTER: encode_adapter(client)}, AveragingOptions.model_validate({"malicious": 0, "clip": None})
    pooled = aggregate_updates(server, {"d": sent, "e": sent}, 1, averaging)
    assert list(pooled.found.by_client) == ["e"]
    assert [each.party for each in server.report.missing] == ["d"]


def test_nobody_may_send_more_than_the_highest_tier(tmp_path: Path):
    server = party(tmp_path, "llm", tiers={"c": 0.2})  # below `up`, which is a quarter
    check_parts(server, "c", 1, {ADAPTER: forged()})
    for up, tiers in ((0.2, {}), (0.1, {"d": 0.2})):
        with pytest.raises(CodecError, match="other values than 0 to 8 of type float32"):
            check_parts(party(tmp_path, "llm", up=up, tiers=tiers), "c", 1, {ADAPTER: forged()})


@pytest.mark.parametrize("key", ["tiers", "tiers_down"])
def test_a_tier_of_nobody_is_refused(key: str):
    with pytest.raises(InputError, match=rf"{key}: there is no client 'clinc'; .* did you mean 'clinic'"):
        make_config(config({"name": "flasc", "options": {key: {"clinc": 0.5}}}))


def test_a_run_with_tiers_and_decay_sends_what_the_plan_expects(tmp_path: Path):
    options = {"down": 0.5, "up": 0.25, "decay": 0.5, "tiers": {"strong": 1.0, "weak": 0.0625}}
    options["tiers_down"] = {"strong": 1.0, "weak": 0.125}
    study = {"steps": 2, "batch_size": 8}
    run = {
        "rounds": 3,
        "workers": 0,
        "task": {"kind": "digits", "public": 20, "private": 60, "test_per_domain": 5, "domains": ["plain"]},
        "server": {"model": {"learner": "mlp"}, "distil": study},
        "clients": [
            {"name": name, "model": {"learner": "mlp"}, "private": study, "distil": study}
            for name in ("strong", "usual", "weak")
        ],
        "host": {"name": "fedavg", "options": {"aggregation": "fedopt", "malicious": 0}},
        "plugin": "none",
        "codecs": [{"name": "flasc", "options": options}],
    }
    results, plan, n = lada.run(run, runs=tmp_path), lada.plan(run), 8970

    def formula(density: float) -> int:
        k = int(n * density)
        return 2 * k + (0 if k == n else min(4 * k, -(-n // 8)))

    sent = {(row.sender, row.receiver, row.round): row.bytes for row in results.traffic if row.kind == ADAPTER}
    for (sender, receiver, round), count in sent.items():
        share = {"usual": 0.25, **options["tiers"]}.get(sender) or {"usual": 0.5, **options["tiers_down"]}[receiver]
        first = 1 if sender == "llm" else 2  # the first message of a client is of all its numbers
        expected = formula(1.0 if round < first else share * 0.5 ** (round - first))
        assert expected < count < expected + 1500, (sender, receiver, round)  # names and shapes are beside
    assert {row.round for row in plan.traffic if row.kind == ADAPTER} == {1, 2, 3}


# Hostile messages.

PLACES = np.array([1], "<u4")


def forged(**changes: Any) -> bytes:
    """Return a client's message of one change of 40 numbers, with some of it replaced."""
    header = {"kind": "flasc", "form": "change", "samples": "3", "start": "0" * 16}
    header["shapes"] = json.dumps([["a", [8]], ["b", [4, 8]]])
    arrays = {"places": pack(1), "values": np.ones(10, np.float32)}
    header |= {key: value for key, value in changes.items() if key in header}
    arrays |= {key: value for key, value in changes.items() if key in arrays}
    return write_tensors(arrays, header)


def pack(first: int) -> np.ndarray:
    return top_values.pack(np.arange(first, first + 10), 40)


def test_the_forged_message_is_accepted_as_it_is(tmp_path: Path):
    told = part(party(tmp_path, "llm"), {ADAPTER: forged()}, ADAPTER)
    assert isinstance(told, Change)
    assert (told.samples, told.start, told.weights["b"].shape) == (3, "0" * 16, (4, 8))
    assert flat({"a": told.weights["a"], "b": told.weights["b"]}) == [0.0, *[1.0] * 10, *[0.0] * 29]


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.ones(9, np.float32)},
        {"values": np.ones(11, np.float32)},
        {"values": np.ones((10, 1), np.float32)},
        {"values": np.ones(10, np.float16)},
        {"values": np.ones(10, np.float64)},
        {"values": np.array([np.nan] + [1] * 9, np.float32)},
        {"values": np.array([np.inf] + [1] * 9, np.float32)},
        {"values": np.array([2e4] + [1] * 9, np.float32)},
        {"places": pack(1)[:-1]},
        {"places": np.append(pack(1), np.uint8(0))},
        {"places": pack(1) | 1},  # one place too many
        {"places": np.arange(10, dtype="<u4")},  # in the larger form
        {"places": np.zeros(0, np.uint8)},
        {"form": "adapter"},
        {"form": "whole"},
        {"form": ""},
        {"start": ""},
        {"start": "0" * 15},
        {"start": "0" * 15 + "\n"},
        {"samples": "-1"},
        {"samples": "9" * 30},
        {"kind": "adapters"},
        {"shapes": "[]"},
        {"shapes": "{"},
        {"shapes": "[" * 10_000},
        {"shapes": '[["a", [40]], ["a", [0]]]'},
        {"shapes": '[["b", [8]], ["a", [32]]]'},
        {"shapes": '[["a", [-40]]]'},
        {"shapes": '[["a", [40.0]]]'},
        {"shapes": '[["a", [true, 40]]]'},
        {"shapes": "[[7, [40]]]"},
        {"shapes": '[["a", 40]]'},
        {"shapes": '[["a", [41]]]'},
        {"shapes": f'[["a", [{2**39}]]]'},
        {"shapes": '[["a", [1099511627776, 1099511627776]]]'},
        {"shapes": '[["a", [40]], ["b", [0, 1099511627776, 1099511627776]]]'},
        {"shapes": json.dumps([["a", [40] + [1] * 8]])},
        {"shapes": json.dumps([["a", [2**40] * 100_000]])},
    ],
)
def test_another_message_is_refused(tmp_path: Path, changes: dict[str, Any]):
    server = party(tmp_path, "llm")
    with pytest.raises(CodecError):
        check_parts(server, "c", 1, {ADAPTER: forged(**changes)})


@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 100, forged()[:-1], forged() + b"x"])
def test_other_bytes_are_refused(tmp_path: Path, data: bytes):
    with pytest.raises(CodecError):
        check_parts(party(tmp_path, "llm"), "c", 1, {ADAPTER: data})


def test_a_server_may_send_a_client_neither_a_change_nor_all_of_it(tmp_path: Path):
    for form in (
        {},
        {"form": "whole", "start": "", "places": np.zeros(0, np.uint8), "values": np.ones(40, np.float32)},
    ):
        check_parts(party(tmp_path, "llm"), "c", 1, {ADAPTER: forged(**form)})
        with pytest.raises(CodecError, match="expected"):
            check_parts(party(tmp_path, "c"), "llm", 1, {ADAPTER: forged(**form)})


def test_a_small_message_makes_no_large_adapter(tmp_path: Path):
    server = party(tmp_path, "llm", up=1e-9)
    size = 10**8
    small = forged(shapes=json.dumps([["a", [size]]]), places=np.zeros(0, "<u4"), values=np.zeros(0, np.float32))
    server.limits = Limits(adapter_bytes=4 * size - 1)
    with pytest.raises(CodecError, match="more numbers than 399999999 bytes hold"):
        check_parts(server, "c", 1, {ADAPTER: small})


def test_an_adapter_of_nothing_comes_back(tmp_path: Path):
    for weights in ({}, {"a": np.zeros((0, 3), np.float32)}):
        server = party(tmp_path, "llm")
        told = part(server, {ADAPTER: write(server, ADAPTER, Adapter(weights, 1))}, ADAPTER)
        assert {name: array.shape for name, array in told.weights.items()} == {n: w.shape for n, w in weights.items()}


def test_numbers_that_no_adapter_has_are_not_sent(tmp_path: Path):
    client = party(tmp_path, "c")
    for bad in (np.nan, np.inf, 2e4):
        client.learner = Learner(bad, 0, 0, 0)
        with pytest.raises(CodecError):
            encode_adapter(client)


def test_changes_of_other_weights_cost_their_sender_the_round(tmp_path: Path):
    server = party(tmp_path, "llm")
    handed_out(server, write(server, ADAPTER, Adapter(named(0.5, 0.0, 0.0, -0.4), 0)), "cd")
    options = AveragingOptions.model_validate({"malicious": 0, "clip": None})

    def reply(start: Any) -> dict[str, bytes]:
        return {ADAPTER: write(party(tmp_path, "c"), ADAPTER, Update(named(0.6, 0, 0, -0.4), 2, start))}

    honest, lost = named(0.5, 0.0, 0.0, -0.4), named(0.5, 0.0, 0.0, -0.5)
    pooled = aggregate_updates(server, {"c": reply(honest), "d": reply(lost)}, 1, options)
    assert list(pooled.found.by_client) == ["c"]
    assert [(each.party, each.why) for each in server.report.missing] == [
        ("d", "malformed message (adapter: changes of other weights than the newest)")
    ]
    with pytest.raises(FederationError, match="'d' sent changes of weights that the server does not know"):
        aggregate_updates(server, {"d": reply(lost)}, 1, options)


def test_a_digest_tells_names_shapes_and_values_apart():
    digests = {
        digest(each)
        for each in (named(1, 2, 3, 4), named(1, 2, 3, 5), {"a": np.ones(2)}, {"b": np.ones(2)}, {"a": np.ones((2, 1))})
    }
    assert len(digests) == 5
    assert digest(named(1, 2, 3, 4)) == digest(dict(reversed(named(1, 2, 3, 4).items())))


# Whole runs.


def config(codec: Any = "flasc", **options: Any) -> dict[str, Any]:
    """Return two clients with one model, whose adapters are averaged in two rounds."""
    host = {"name": "fedavg", "options": {"aggregation": "fedopt", "malicious": 0, **options}}
    made = tiny(host=host, plugin="none", rounds=2, codecs=[codec], keep_messages=True)
    del made["allocator"], made["objective"]
    for client in made["clients"]:
        client["model"] |= {"model": "zoo:slm-llama", "tune": "lora"}
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, int]:
    """Give results and folder of a whole run, and how many files of checkpoints and journal it put in place."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        writes = crash_at(10**6, patch)
        return lada.run(config(), runs=folder), folder / "tiny", writes[0]


def test_the_ledger_counts_the_bytes_of_the_formula(run: tuple[Any, Path, int]):
    _, folder, _ = run
    from lada.federation import last_reply
    from lada.federation.ledger import read

    rows = [row for row in read(folder) if row.kind == ADAPTER]
    kept = {
        digest: data
        for client in ("clinic", "warehouse")
        for digest, data in last_reply.read(folder / "clients" / client)
    }
    sent = [row for row in rows if row.digest in kept]
    assert len(sent) == 4  # two clients in two rounds
    for row in sent:
        data = kept[row.digest]
        beside = 8 + int.from_bytes(data[:8], "little")
        shapes = json.loads(json.loads(data[8:beside])["__metadata__"]["shapes"])
        n = sum(int(np.prod(shape)) for _, shape in shapes)
        k = n // 16
        assert row.bytes - beside == min(6 * k, -(-n // 8) + 2 * k)


def test_a_run_sends_what_the_plan_expects(run: tuple[Any, Path, int]):
    results, folder, _ = run
    plan = lada.plan(config())
    for sender in ("llm", "clinic"):
        sent, expected = (
            sum(row.bytes for row in each if row.kind == ADAPTER and row.sender == sender)
            for each in (results.traffic, plan.traffic)
        )
        assert 0 < expected < sent < expected + 40_000  # names and shapes are beside the numbers
    assert all(client.searched is not None and not client.searched.unread for client in audit(folder).clients)
    assert not results.missing


@pytest.mark.parametrize("share", [0.5, pytest.param(0.9, marks=pytest.mark.slow)])
def test_a_run_that_is_broken_off_goes_on_to_the_same_bits(
    run: tuple[Any, Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
):
    results, _, writes = run
    party_cache.forget()
    with monkeypatch.context() as patch:
        crash_at(int(share * writes), patch)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path)
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path, resume=True)) == outcome(results)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"aggregation": "median"}, "'median' compares clients coordinate by coordinate"),
        ({"aggregation": "bulyan", "malicious": 0}, "'bulyan' compares clients"),
        ({"aggregation": "mean", "malicious": 1}, "'mean' compares clients"),
        ({"aggregation": "fedopt", "malicious": 1}, "'fedopt' compares clients"),
        ({"aggregation": "mean", "form": "flexlora"}, "with 'flexlora' clients of other ranks start"),
        ({"aggregation": "mean", "secure_aggregation": True, "clip": None}, "secure_aggregation adds up whole ones"),
    ],
)
def test_aggregation_that_it_would_mislead_is_refused(options: dict[str, Any], why: str):
    with pytest.raises(InputError, match=why):
        make_config(config(**options))


@pytest.mark.parametrize(
    "options", [{"aggregation": "mean", "malicious": 1}, {"aggregation": "mean", "form": "flexlora"}]
)
def test_with_all_changes_any_aggregation_will_do(options: dict[str, Any]):
    assert make_config(config({"name": "flasc", "options": {"up": 1.0}}, **options)).choices(CODECS)[0].name == "flasc"


def test_where_no_adapter_is_sent_it_is_no_obstacle():
    assert make_config(tiny(plugin="none", codecs=["flasc"])).choices(CODECS)[0].name == "flasc"


@pytest.mark.parametrize("wrong", [{"up": 0.0}, {"up": 1.5}, {"down": float("nan")}, {"values": "float8"}])
def test_a_wrong_option_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlascOptions(**wrong)


# The control.


def drawn(folder: Path, codec: Any, times: int, state: Any = None) -> tuple[list[list[int]], list[bytes], Any]:
    """Return the places of a server's messages of 40 numbers, ever the same ones, the messages and the last state."""
    value, reader = Adapter({"a": np.arange(1, 41, dtype=np.float32)}, 3), party(folder, "c", down=0.25, shuffled=True)
    state, places, sent = codec.init(5) if state is None else state, [], []
    for _ in range(times):
        left = state.get("residual", np.zeros(40, np.float32))
        state, data = codec.encode(state, value)
        told = part(reader, {ADAPTER: data}, ADAPTER).weights["a"]
        assert told + state["residual"] == pytest.approx(value.weights["a"] + left, abs=1e-4)  # nothing is lost
        places.append(np.flatnonzero(told).tolist())
        sent.append(data)
    return places, sent, state


def test_shuffled_draws_as_many_places_at_random(tmp_path: Path):
    shuffled, plain = (Flasc(FlascOptions(down=0.25, values="float32", shuffled=each)) for each in (True, False))
    places, sent, _ = drawn(tmp_path, shuffled, 4)
    largest, as_many, _ = drawn(tmp_path, plain, 1)
    assert largest == [list(range(30, 40))]
    assert [len(each) for each in places] == [10] * 4
    assert len(set(map(tuple, places))) == 4
    assert {len(data) for data in sent} == {len(as_many[0])}
    assert drawn(tmp_path, shuffled, 4)[:2] == (places, sent)


def test_shuffled_draws_places_for_each_tier():
    codec = Flasc(FlascOptions(down=0.25, values="float32", tiers_down={"d": 0.5}, shuffled=True))
    vector = np.arange(1, 41, dtype=np.float32)
    state, data = codec.encode(codec.init(5), Adapter({"a": vector}, 1))
    cut = codec.for_client(state, data, "d")
    received = bytes_to_places(cut)
    assert len(received) == 20
    assert received != list(range(20, 40))
    assert cut == codec.for_client(bytes_to_arrays(arrays_to_bytes(state)), data, "d")


def bytes_to_places(data: bytes) -> list[int]:
    arrays, _ = read_tensors(data, "flasc", 10_000)
    places = top_values.unpack(arrays["places"], 40, len(arrays["values"])).tolist()
    assert arrays["values"].tolist() == [place + 1 for place in places]
    return places


def test_shuffled_goes_on_from_a_kept_state(tmp_path: Path):
    codec = Flasc(FlascOptions(down=0.25, values="float32", shuffled=True))
    whole, first = drawn(tmp_path, codec, 4), drawn(tmp_path, codec, 2)
    rest = drawn(tmp_path, codec, 2, bytes_to_arrays(arrays_to_bytes(first[2])))
    assert first[0] + rest[0] == whole[0]
    assert first[1] + rest[1] == whole[1]


def test_shuffled_draws_only_where_something_is_left_out(tmp_path: Path):
    assert play(tmp_path, "mean", down=1.0, up=1.0, shuffled=True)[3] == pytest.approx(
        np.mean(list(STUDIED.values()), axis=0), abs=1e-5
    )
    _, received, sent, _ = play(tmp_path, "mean", down=1.0, up=0.5, shuffled=True)
    assert received == [pytest.approx([0.5, -0.1, 0.3, -0.4])] * 2
    assert [np.count_nonzero(each) for each in sent] == [2, 2]


def test_a_client_without_error_feedback_draws_other_places_each_time(tmp_path: Path):
    codec = Flasc(FlascOptions(up=0.25, error_feedback=False, shuffled=True))
    start = {"a": np.zeros(40, np.float32)}
    state, masks = codec.init(0), set()
    for _ in range(3):
        state, data = codec.encode(state, Update({"a": np.ones(40, np.float32)}, 1, start))
        masks.add(data)
    assert list(state) == ["seed"]
    assert len(masks) == 3


def test_only_the_control_has_its_key_and_its_seed():
    assert not {"shuffled", "tiers_down"} & FlascOptions().model_dump().keys()
    assert FlascOptions(shuffled=True).model_dump()["shuffled"] is True
    assert Flasc(FlascOptions()).init(5) == {}
