"""Secure aggregation: the exact average, drop-outs in every phase, and what it refuses."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import Direct, Federation, federation, make, small
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from test_run import builtin

import lada
from lada.codecs import adapters, masked, named
from lada.codecs.base import Codecs
from lada.core.errors import CodecError, FederationError, InputError
from lada.core.results import Results
from lada.federation import party_cache
from lada.federation.exchange import GridExchange
from lada.hosts.base import HOSTS
from lada.objectives.base import OBJECTIVES
from lada.planning.traffic import Forecast, Sender
from lada.privacy import masks
from lada.rounds import secure_client
from lada.rounds.averaging import ADAPTER
from lada.rounds.base import Payload
from lada.rounds.checks import Guard, check_parts
from lada.rounds.party import Party
from lada.rounds.secure import KEYS, OPENED, PHASES, SHARES, SURVIVORS
from lada.rounds.secure_client import OWN, PRIVATE, RECEIVED, ROSTER, SEED

SECURE = {"secure_aggregation": True, "malicious": 0, "clip": None}
NAMES = "abcdefghij"


class Leaving(Direct):
    """An exchange whose clients fall silent: in the phase of `gone`, by name, and for the rest of the round.

    As in a federation, each message is checked before it is used.
    """

    gone: Mapping[str, str]
    server: Party

    def answer(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> dict[str, Payload]:
        for name in payloads:
            Guard(self._host, self._parties[name]).check_ask("llm", phase, round, payloads[name])
        replies = super().answer(phase, round, payloads)
        for name, reply in replies.items():
            Guard(self._host, self.server).check_reply(name, phase, round, reply)
        return {name: reply for name, reply in replies.items() if self.gone.get(name) != phase}


def secure(folder: FilePath, clients: int, host: str = "fedavg", gone: Mapping[str, str] | None = None, **more: Any):
    """Return a federation whose clients' adapters are drawn at random, c's samples c + 4."""
    knows: dict[str, set[int]] = {"llm": set(), **{name: set() for name in NAMES[:clients]}}
    options = {**SECURE, **({"average_adapters": True} if host == "fedmkt" else {}), **more}
    both = federation(folder, host, knows, options)
    exchange: Any = Leaving(both.host, both.server, list(both.clients.values()))
    exchange.gone, exchange.server = gone or {}, both.server
    both.exchange = exchange
    rng = np.random.default_rng(0)
    for number, party in enumerate(both.clients.values()):
        trains(party.learner, rng.normal(size=(2, 5)).astype(np.float32))
        party.private = (party.private * 3)[: 4 + number % 8]
    return both


def trains(learner: Any, weights: np.ndarray) -> None:
    """Let every study end with this adapter."""
    study = learner.study

    def studying(*args: Any, **options: Any) -> Any:
        learner.weights = weights
        return study(*args, **options)

    learner.weights = np.zeros_like(weights)
    learner.study, learner.trained = studying, weights


def expected(both: Federation, *clients: str) -> np.ndarray:
    """Return the plain average of the clients' adapters by samples, float64."""
    parties = [both.clients[name] for name in clients]
    samples = np.array([len(party.private) for party in parties])
    trained: Any = [party.learner.trained for party in parties]  # type: ignore[attr-defined]
    return np.tensordot(samples / samples.sum(), np.array(trained, np.float64), 1)


def handed(both: Federation, round: int = 1) -> dict[str, np.ndarray]:
    """Return the averages that the server handed out, by client."""
    sent = [m for m in both.exchange.sent if (m.phase, m.round, m.sender) == ("average", round, "llm")]
    return {m.receiver: adapters.decode(m.payload[ADAPTER])[0]["lora"] for m in sent}


@pytest.mark.parametrize("host", ["fedavg", "fedmkt"])
@pytest.mark.parametrize("clients", [3, 10])
@pytest.mark.parametrize("phase", [None, "first", "share", "mask", "unmask"])
def test_the_average_is_exact_whoever_drops_out(tmp_path: FilePath, host: str, clients: int, phase: str | None):
    first = "study" if host == "fedavg" else "learn"
    gone = {} if phase is None else {"b": first if phase == "first" else phase}
    both = secure(tmp_path, clients, host, gone)
    both.run(1)
    there = [name for name in NAMES[:clients] if name != "b" or phase in (None, "unmask")]
    told = handed(both)
    assert sorted(told) == [name for name in NAMES[:clients] if name != "b" or phase is None]
    for average in told.values():
        assert np.abs(average - expected(both, *there)).max() <= masks.STEP / 2 + 1e-7 * np.abs(average).max()


def test_the_next_round_has_new_keys_and_the_same_average(tmp_path: FilePath):
    both = secure(tmp_path, 3)
    both.run(1, 2)
    one, other = (
        [m.payload[KEYS] for m in both.exchange.sent if m.phase == "study" and m.round == round and m.sender == "a"]
        for round in (1, 2)
    )
    assert one != other
    assert np.array_equal(handed(both, 1)["a"], handed(both, 2)["a"])  # masks differ and cancel to the bit


def test_what_crosses_and_what_is_kept(tmp_path: FilePath):
    both = secure(tmp_path, 3)
    both.run(0, 1)
    crossed = {(m.phase, m.sender): sorted(m.payload) for m in both.exchange.sent if m.round == 1}
    assert crossed["study", "a"] == ["keys", "metrics", "times"]
    assert [crossed[phase, "a"] for phase in PHASES] == [["key_shares"], ["masked_adapter"], ["opened_shares"]]
    assert [crossed[phase, "llm"] for phase in PHASES] == [["keys"], ["key_shares"], ["survivors"]]
    for party in both.clients.values():
        assert not party.memory.keys() & {PRIVATE, SEED, ROSTER, OWN, RECEIVED}


@pytest.mark.parametrize("host", ["fedavg", "fedmkt"])
def test_what_crosses_is_planned(tmp_path: FilePath, host: str):
    made: Any = secure(tmp_path, 3, host).host
    sends = {(step.side, kind) for step in made.plan(1, make(OBJECTIVES, "sft")) for kind in step.sends}
    assert sends - {(side, "paths") for side in ("client", "server")} == {
        ("client", "masked_adapter"),
        ("server", "adapter"),
    }
    forecast = Forecast(Codecs(), 1, 0)
    plan = made.plan(1, make(OBJECTIVES, "sft"))
    traffic = forecast.expect(1, plan, Sender("llm", 1, 1, 0), [Sender("a", 1, 1, 100)])
    large = {row.kind: row.bytes for row in traffic if row.kind != "paths"}
    assert large == {"masked_adapter": 800, "adapter": 400}


def test_a_client_clips_its_own_update(tmp_path: FilePath):
    both = secure(tmp_path, 3, update_norm=0.5)
    both.run(1, 2)
    for name, party in both.clients.items():
        (notice, _) = [each for each in both.server.report.notices if each.startswith("round") and f": {name}:" in each]
        assert "its update exceeded update_norm, 0.5" in notice
        assert party.private
    first, second = handed(both, 1)["a"], handed(both, 2)["a"]
    assert np.linalg.norm(first) <= 0.5  # from zeros
    assert np.linalg.norm(second - first) <= 0.5


def test_too_few_for_a_sum_give_the_average_up(tmp_path: FilePath):
    both = secure(tmp_path, 3, gone={"a": "share", "b": "mask"})
    both.run(1)
    assert all(ADAPTER not in message.payload for message in both.exchange.sent)
    told = "round 1: secure aggregation: 1 client is left, but 2 are needed for a sum that hides each of them; "
    assert told + "no client gets a new adapter in this round" in both.server.report.notices
    assert {e.party for e in both.server.report.evaluations if e.round == 1} >= {"c"}  # it is evaluated as it is


def rewritten(both: Federation, name: str, phase: str, kind: str, size: int, make: Callable[[bytes], bytes]) -> None:
    """Let a client send something else than the protocol's in a phase."""
    usual = both.host.reply

    def reply(at: str, party: Any, round: int, payload: Payload) -> Payload:
        told = usual(at, party, round, payload)
        if (at, party.name) != (phase, name):
            return told
        values = named.decode(told[kind], kind, size)
        return {**told, kind: named.encode({of: make(value) for of, value in values.items()})}

    both.host.reply = reply  # type: ignore[method-assign]


@pytest.mark.parametrize("host", ["fedavg", "fedmkt"])
@pytest.mark.parametrize(
    ("phase", "kind", "size", "why"),
    [("share", SHARES, named.SEALED, "too few shares"), ("unmask", OPENED, named.SHARE, "masks do not cancel")],
)
def test_masks_that_do_not_cancel_give_the_average_up_and_the_run_goes_on(
    tmp_path: FilePath, host: str, phase: str, kind: str, size: int, why: str
):
    both = secure(tmp_path, 3, host)
    both.run(1)
    first = handed(both)["a"]
    usual = both.host.reply
    rewritten(both, "a", phase, kind, size, lambda value: value[:20] + bytes(size - 20))
    both.run(2)
    both.host.reply = usual  # type: ignore[method-assign]
    (notice,) = [each for each in both.server.report.notices if "no client gets a new adapter" in each]
    assert notice.startswith("round 2: secure aggregation: ")
    assert why in notice
    assert [each.tolist() for each in handed(both, 2).values()] == 3 * [first.tolist()]  # they go back to the newest
    both.run(3)
    assert np.array_equal(handed(both, 3)["a"], first)  # all train to the same again


def test_a_share_under_another_number_is_not_used(tmp_path: FilePath):
    both = secure(tmp_path, 3)
    rewritten(both, "a", "unmask", OPENED, named.SHARE, lambda value: bytes([9]) + value[1:])
    both.run(1)
    assert np.abs(handed(both)["b"] - expected(both, "a", "b", "c")).max() <= 1e-6  # the two others are enough


@pytest.mark.parametrize("low", ["seal", "mask"])
def test_a_key_of_low_order_costs_its_sender_alone(tmp_path: FilePath, low: str):
    both = secure(tmp_path, 3)
    _, good = masks.new_key()
    for point in (bytes(32), b"\1" + bytes(31)):
        keys = {KEYS: named.encode({"b": point + good if low == "seal" else good + point})}
        with pytest.raises(FederationError, match="keys: one is not a public key"):
            check_parts(both.server, "b", 1, keys)
    check_parts(both.server, "b", 1, {KEYS: named.encode({"b": good + good})})


def test_keys_that_two_clients_send_are_nobodys(tmp_path: FilePath):
    both = secure(tmp_path, 5)
    pair = masks.new_key()[1] * 2
    usual = both.host.reply

    def reply(phase: str, party: Any, round: int, payload: Payload) -> Payload:
        told = usual(phase, party, round, payload)
        return {**told, KEYS: named.encode({party.name: pair})} if phase == "study" and party.name in "bd" else told

    both.host.reply = reply  # type: ignore[method-assign]
    both.run(1)
    assert sorted(handed(both)) == ["a", "c", "e"]
    assert [(gone.party, gone.phase) for gone in both.server.report.missing] == [("b", "share"), ("d", "share")]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_not_masked(tmp_path: FilePath, wrong: float):
    both = secure(tmp_path, 3)
    both.clients["b"].learner.trained[0, 0] = wrong  # type: ignore[attr-defined]
    with pytest.raises(FederationError, match="a weight is NaN or infinite"):
        both.run(1)


def test_a_client_refuses_what_would_open_its_update(tmp_path: FilePath):
    both = secure(tmp_path, 3)
    keys = {c: named.decode(both.host.reply("study", p, 1, {})[KEYS], KEYS, 64)[c] for c, p in both.clients.items()}
    a = both.clients["a"]

    def asked(phase: str, kind: str, values: dict[str, bytes]) -> Payload:
        return both.host.reply(phase, a, 1, {kind: named.encode(values)})

    with pytest.raises(FederationError, match="this client has none in this round"):
        asked("mask", SHARES, {})
    for roster in (
        {"b": keys["b"], "c": keys["c"]},
        {"a": keys["a"]},
        {**keys, "b": keys["c"]},
        {**keys, "a": keys["b"]},
    ):
        with pytest.raises(FederationError, match="keys: this client's own"):
            asked("share", KEYS, roster)
    with pytest.raises(FederationError, match="keys: one is not a public key"):
        asked("share", KEYS, {**keys, "b": bytes(64)})
    asked("share", KEYS, keys)
    sealed = bytes(named.SEALED)
    for shares in ({}, {"d": sealed, "b": sealed}, {"a": sealed, "b": sealed}):
        with pytest.raises(FederationError, match="key_shares: from clients without keys, or from too few"):
            asked("mask", SHARES, shares)
    asked("mask", SHARES, {"b": sealed, "c": sealed})
    for there in ("bc", "a", "abcd"):
        with pytest.raises(FederationError, match="survivors: this client is missing"):
            asked("unmask", SURVIVORS, dict.fromkeys(there, b""))
    told = asked("unmask", SURVIVORS, {"a": b"", "b": b""})
    assert set(named.decode(told[OPENED], OPENED, named.SHARE)) == {"a"}  # the others' seals do not open
    with pytest.raises(FederationError, match="this client has none in this round"):
        asked("unmask", SURVIVORS, {"a": b"", "c": b""})


@pytest.mark.parametrize(
    ("host", "options", "why"),
    [
        ("fedavg", {"malicious": 1}, "malicious is 1, which requires the server to see single updates"),
        ("fedavg", {"clip": 3.0}, "clip is 3.0"),
        *(
            (host, {"aggregation": rule}, f"aggregation is '{rule}'")
            for host in ("fedavg", "fedmkt")
            for rule in ("median", "trimmed_mean", "krum", "multi_krum", "bulyan")
        ),
        ("fedavg", {"form": "flexlora"}, "form 'flexlora', which does not sum adapters"),
        ("fedavg", {"form": "hetlora"}, "form 'hetlora', which does not sum adapters"),
        ("feddf", {}, "secure_aggregation"),
        ("fedcollm", {}, "secure_aggregation"),
    ],
)
def test_what_needs_single_updates_is_refused_beforehand(host: str, options: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        HOSTS.get(host).options.model_validate({**SECURE, **options})


def test_too_few_clients_are_refused_beforehand(tmp_path: FilePath):
    with pytest.raises(InputError, match="2 clients in a round; expected 3 to 2048"):
        secure(tmp_path, 2).run(0)
    host: Any = secure(tmp_path, 3, "fedmkt", average_adapters=False).host
    with pytest.raises(InputError, match="without average_adapters there is nothing to aggregate"):
        host.check(None, {})


@settings(deadline=None)
@given(st.data(), st.integers(1, 5))
def test_numbers_survive_the_ring_to_half_a_step(data: Any, clients: int):
    values = data.draw(hnp.arrays(np.float32, (clients, 4), elements=st.floats(-256, 256, width=32)))
    samples = data.draw(st.lists(st.integers(1, masks.MOST_SAMPLES), min_size=clients, max_size=clients))
    told = [{"b": row[:1], "a": row[1:].reshape(3, 1)} for row in values]
    total = np.zeros(5, np.uint64)
    for each, count in zip(told, samples, strict=True):
        total += masks.to_ring(each, count)
    weights, count = masks.from_ring(total, masked.shapes_of(told[0]), clients)
    assert count == sum(samples)
    exact = np.average(values.astype(np.float64), axis=0, weights=samples)
    found = np.concatenate([weights["b"], weights["a"].ravel()])
    assert np.abs(found - exact).max() <= masks.STEP / 2 + 2.0**-24 * np.abs(exact).max() + 1e-12


def test_masks_by_hand():
    assert masks.to_ring({"w": np.array([0.5, -300.0])}, 3).view(np.int64).tolist() == [3 << 23, -3 << 32, 3]
    seed = bytes(range(32))
    one, other = masks.pair_mask("a", "b", seed, 9), masks.pair_mask("b", "a", seed, 9)
    assert not (one + other).any()
    assert np.array_equal(masks.mask(seed, 9)[:4], masks.mask(seed, 4))
    # RFC 7539's key stream for key and nonce of zeros begins 76 b8 e0 ad a0 f1 3d 90.
    assert masks.mask(bytes(32), 1)[0] == int.from_bytes(bytes.fromhex("76b8e0ada0f13d90"), "little")
    with pytest.raises(ValueError, match="samples out of range"):
        masks.from_ring(np.array([0, 0], np.uint64), (("w", (1,)),), 1)
    with pytest.raises(ValueError, match="weights out of range"):
        masks.from_ring(np.array([2**62, 1], np.uint64), (("w", (1,)),), 1)


@pytest.mark.parametrize(("clients", "least"), [(2, 2), (3, 2), (4, 3), (10, 6)])
def test_secrets_need_more_than_half(clients: int, least: int):
    secret, _ = masks.new_key()
    shares = masks.split(secret, clients)
    assert {len(share) for share in shares} == {named.SHARE}
    assert masks.threshold(clients) == least
    assert masks.join(shares[-least:]) == secret
    assert _joined(shares[: least - 1]) != secret


def _joined(shares: list[bytes]) -> bytes | None:
    try:
        return masks.join(shares)
    except ValueError:
        return None


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_break_the_codecs(data: bytes):
    with pytest.raises(CodecError):
        masked.decode(data)
    with suppress(CodecError):
        assert named.encode(named.decode(data, KEYS, 64)) == data


def test_codecs_refuse_what_they_would_not_write():
    numbers, shapes = np.arange(7, dtype=np.uint64), (("a", (2, 2)), ("b", (2,)))
    data = masked.encode(numbers, shapes)
    again, told = masked.decode(data)
    assert (again.tolist(), told) == (list(range(7)), shapes)
    with pytest.raises(CodecError, match="expected at most 10"):
        masked.decode(data, limit=10)
    for wrong in ((("a", (2, 2)),), (("b", (2,)), ("a", (2, 2))), (("a", (-2, -2)), ("b", (2,)))):
        with pytest.raises(CodecError):
            masked.decode(masked.encode(numbers, wrong))
    with pytest.raises(CodecError, match="another size"):
        named.decode(named.encode({"a": b"123"}), KEYS, 64)
    with pytest.raises(CodecError, match="not in the form"):
        named.decode(b" " + named.encode({"a": bytes(64)}), KEYS, 64)


class Crash(BaseException):
    """Ends a run like a power cut."""


def whole(folder: FilePath, *, resume: bool = False, **more: Any) -> Results:
    """Run three clients with one model, two rounds."""
    config = builtin(host={"name": "fedavg", "options": SECURE}, plugin="none", allocator=None) | {"rounds": 2, **more}
    config["task"] = dict(config["task"])
    config["clients"].append({**config["clients"][0], "name": "kitchen", "domains": ["kitchen"]})
    for client in config["clients"]:
        client["model"] = {"model": "zoo:slm-llama", "tune": "lora", "lora": {"rank": 2}}
    party_cache.forget()
    return lada.run(small(config), runs=folder, resume=resume)


@pytest.mark.slow
def test_a_run_that_broke_anywhere_in_the_protocol_goes_on_to_the_same_bits(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
):
    def outcome(results: Results) -> dict[str, Any]:
        return results.model_dump(mode="json", exclude={"wall_clock", "traffic"})

    unbroken = outcome(whole(tmp_path / "unbroken"))
    weights = {party["weights"] for party in unbroken["parties"] if party["role"] == "client"}
    assert len(weights) == 1
    ask, answer = GridExchange.ask, secure_client.masked_reply
    for number, phase in enumerate(("share", "mask", "unmask", "average")):

        def server_breaks(self: Any, name: str, round: int, payloads: Any, at: str = phase) -> Any:
            if (name, round) == (at, 2):
                raise Crash
            return ask(self, name, round, payloads)

        def client_breaks(name: str, party: Any, round: int, *how: Any, at: str = phase) -> Payload:
            told = answer(name, party, round, *how)
            if (name, party.name, round) == (at, "clinic", 2):
                raise Crash
            return told

        folder = tmp_path / str(number)
        monkeypatch.setattr(GridExchange, "ask", server_breaks)
        with pytest.raises(Crash):
            whole(folder)
        monkeypatch.setattr(GridExchange, "ask", ask)
        monkeypatch.setattr("lada.rounds.secure_rounds.masked_reply", client_breaks)
        if phase != "average":
            with pytest.raises(Crash):
                whole(folder, resume=True)
        monkeypatch.setattr("lada.rounds.secure_rounds.masked_reply", answer)
        assert outcome(whole(folder, resume=True)) == unbroken


@pytest.mark.slow
def test_it_runs_in_a_simulation_as_it_does_here(tmp_path: FilePath):
    pytest.importorskip("ray")
    one, other = whole(tmp_path / "here"), whole(tmp_path / "simulated", engine="simulation")
    assert [party.weights for party in one.parties] == [party.weights for party in other.parties]


@pytest.mark.slow
def test_a_hostile_client_costs_a_place_or_a_round_and_not_the_run(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch):
    advertise, answer = secure_client.advertise, secure_client.masked_reply
    studied: list[str] = []

    def low_order(party: Party) -> Payload:
        studied.append(party.name)
        hostile = party.name == "clinic" and studied.count("clinic") == 2
        return {KEYS: named.encode({party.name: bytes(64)})} if hostile else advertise(party)

    def wrong(phase: str, party: Party, round: int, *how: Any) -> Payload:
        told = answer(phase, party, round, *how)
        if (phase, party.name, round) != ("unmask", "clinic", 1):
            return told
        shares = named.decode(told[OPENED], OPENED, named.SHARE)
        return {OPENED: named.encode({of: share[:4] + bytes(48) for of, share in shares.items()})}

    monkeypatch.setattr("lada.rounds.secure_rounds.advertise", low_order)
    monkeypatch.setattr("lada.rounds.secure_rounds.masked_reply", wrong)
    results = whole(tmp_path, quorum=0.5)
    assert [(gone.party, gone.round, gone.phase) for gone in results.missing] == [("clinic", 2, "study")]
    assert [n for n in results.notices if n.startswith("round 1") and "no client gets a new adapter" in n]
    others = {party.weights for party in results.parties if party.role == "client" and party.name != "clinic"}
    assert len(others) == 1
