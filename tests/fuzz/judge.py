"""Send a message the whole way and say whether what came of it is right: refused, or sound by a second look.

The second look is slow, obvious and shares no code with the checks that it looks after.
"""

import json
import math
import struct
from functools import partial
from typing import Any

import numpy as np
from actors import PUBLIC, TEST
from seeds import CLIENT, LIMITS, K, Seed

from lada.codecs import adapters, likelihoods, masked, named, paths, soft_targets, vocabulary
from lada.core.errors import FederationError
from lada.federation.admission import admit, read_reply
from lada.federation.failures import Failure
from lada.federation.grid import read_message
from lada.rounds.knowledge import receive_knowledge

COUNTS = {"round", "steps", "lessons", "pairs", "soft", "replayed", "tokens", "candidates", "chosen", "from_teacher"}
IDS = {sample.id for sample in PUBLIC}


class Wrong(AssertionError):
    """A message was accepted that must not be, or a check broke."""


def send(seed: Seed, data: bytes) -> str:
    """Return `refused`, `announced` or `accepted`; raises whatever is not as it should be."""
    try:
        message = read_message(data)
    except FederationError:
        return "refused"
    reply = read_reply(message, seed.expected)
    if isinstance(reply, Failure):
        _reason(reply)
        return "refused"
    outcome = admit(seed.guard, CLIENT, reply, LIMITS.reply_bytes)
    if isinstance(outcome, Failure):
        _reason(outcome)
        return "refused"
    if outcome is not None:
        _expect(0 <= sum(outcome.values()) <= LIMITS.reply_bytes, "sizes")
        return "announced"
    _sound(seed, dict(reply[1]))
    return "accepted"


def _reason(failure: Failure) -> None:
    """A reason is short, has nothing to render or execute, and is not that a check broke."""
    told = str(failure)
    _expect(len(told) < 1000 and told.isprintable() and "<" not in told, f"reason {told[:200]!r}")
    _expect("checking it failed" not in told, told)


def _expect(sound: bool, what: str) -> None:
    if not sound:
        raise Wrong(what)


def _sound(seed: Seed, payload: dict[str, bytes]) -> None:
    looks = {
        "paths": _paths,
        "likelihoods": _likelihoods,
        "soft_targets": _soft_targets,
        "vocabulary": _vocabulary,
        "adapter": _adapter,
        "keys": partial(_named, "keys", 64),
        "key_shares": partial(_named, "key_shares", 132),
        "opened_shares": partial(_named, "opened_shares", 52),
        "masked_adapter": _masked,
        "metrics": _metrics,
        "times": _times,
    }
    for kind, data in payload.items():
        looks[kind](data)
    if "paths" in payload or "likelihoods" in payload:
        kind = "paths" if "paths" in payload else "labels"
        received = receive_knowledge(seed.guard.party, payload, CLIENT, 1, kind)
        gold = {sample.id: sample.answer for sample in PUBLIC}
        for path in received.knowledge.paths:
            said = path.text.partition("answer ")[2] or None
            _expect(path.answer == said, "the answer is not the text's")
            _expect(path.right == (said is not None and said.lower() == str(gold[path.sample_id]).lower()), "verdict")
        for scores in received.scores.values():
            _scores(scores)


def _likelihood(total: float, minimum: float) -> None:
    _expect(math.isfinite(total) and math.isfinite(minimum) and max(total, minimum) <= 0, "likelihood")
    _expect(minimum >= -1e4 and total <= minimum + 0.02, "likelihood")


def _paths(data: bytes) -> None:
    told = paths.decode(data, known_ids=None)
    _expect(paths.decode(paths.encode(told), known_ids=None) == told, "paths differ after a second writing")
    ids = [path.sample_id for path in told.paths]
    _expect((told.party, told.round) == (CLIENT, 1) and len(set(ids)) == len(ids) and set(ids) <= IDS, "paths")
    for path in told.paths:
        _expect(len(path.text) <= LIMITS.path_chars, "a text too long")
        path.text.encode()
        _likelihood(path.likelihood.total, path.likelihood.minimum)


def _likelihoods(data: bytes) -> None:
    told = likelihoods.decode(data, known_ids=None)
    _expect(likelihoods.decode(likelihoods.encode(told), known_ids=None) == told, "likelihoods differ")
    _expect((told.party, told.round) == (CLIENT, 1) and set(told.likelihoods) <= IDS, "likelihoods")
    for each in told.likelihoods.values():
        _likelihood(each.total, each.minimum)


def _soft_targets(data: bytes) -> None:
    told = soft_targets.SoftTargets(data, known_ids=None)
    _expect((told.party, told.round) == (CLIENT, 1) and set(told) <= IDS and told.k <= K, "soft targets")


def _scores(scores: Any) -> None:
    for token, ids, log_probs in zip(scores.tokens, scores.top.ids, scores.top.log_probs, strict=True):
        _expect(sorted(set(ids.tolist())) == ids.tolist() and token in ids, "ids of a row")
        _expect(all(math.isfinite(p) and p <= 1e-4 for p in log_probs), "log-probs of a row")
        _expect(math.fsum(math.exp(p) for p in log_probs) <= 1.001, "mass of a row")


def _vocabulary(data: bytes) -> None:
    tokens, eos = vocabulary.decode(data)
    _expect(vocabulary.decode(vocabulary.encode(tokens, eos)) == (tokens, eos), "vocabulary differs")
    _expect(eos is None or 0 <= eos < len(tokens), "eos")


def _adapter(data: bytes) -> None:
    weights, samples = adapters.decode(data)
    again, count = adapters.decode(adapters.encode(weights, samples))
    _expect(count == samples and list(again) == list(weights), "adapter differs")
    for name, weight in weights.items():
        _expect(weight.dtype == np.float32 and bool((abs(weight) <= 1e4).all()), "adapter")
        _expect(np.array_equal(again[name], weight), "adapter differs")


def _named(kind: str, size: int, data: bytes) -> None:
    values = named.decode(data, kind, size)
    _expect(named.encode(values) == data and all(len(value) == size for value in values.values()), kind)
    _expect(kind != "keys" or set(values) == {CLIENT}, "keys of another client")


def _masked(data: bytes) -> None:
    numbers, shapes = masked.decode(data)
    again, told = masked.decode(masked.encode(numbers, shapes))
    _expect(told == shapes and np.array_equal(again, numbers), "masked adapter differs")
    count = sum(int(np.prod(shape)) for _, shape in shapes)
    _expect(numbers.dtype == np.uint64 and numbers.shape == (count + 1,), "masked adapter")


def _times(data: bytes) -> None:
    for (number,) in struct.iter_unpack("<d", data):
        _expect(math.isfinite(number) and -86_400 <= number <= 2**47, "times")


def _metrics(data: bytes) -> None:
    (report,) = json.loads(data)
    _expect(not report.get("missing"), "missing")
    _expect(not report.get("exchanges"), "exchanges")
    for name, most in (("evaluations", 1), ("studies", 2), ("phases", 50), ("memberships", 2)):
        _expect(len(report.get(name, [])) <= most, name)
        for row in report.get(name, []):
            _expect(row["party"] == CLIENT and row["round"] == 1, name)
    for row in report.get("allocations", []):
        _expect((row["teacher"], row["student"]) == ("llm", CLIENT) and row["round"] == 1, "allocations")
    for row in report.get("parties", []):
        _expect(row["name"] == CLIENT and row["role"] == "client", "parties")
    for row in report.get("evaluations", []):
        groups = [row[name] for name in ("overall", "own", "other", "general")]
        for each in [*groups, *row["domains"].values(), *row["difficulty"].values()]:
            if each is not None:
                numbers = (each["value"], each["low"], each["high"])
                _expect(all(0 <= float(number) <= 100 for number in numbers), "percentages")
                _expect(0 <= int(each["count"]) <= len(TEST), "count")
    _texts(report)


def _texts(node: Any) -> None:
    if isinstance(node, str):
        _expect(len(node) <= 500 and node.isprintable(), "text")
    elif isinstance(node, dict):
        _expect(len(node) <= 10_000, "entries")
        for key, value in node.items():
            _texts(key)
            _texts(value)
            _expect(key not in COUNTS or 0 <= int(value) < 2**53, "count")
    elif isinstance(node, list):
        _expect(len(node) <= 10_000, "entries")
        for value in node:
            _texts(value)
