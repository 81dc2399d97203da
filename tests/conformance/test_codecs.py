"""What holds of every codec: what is read is what was said, its bytes are about those declared, others are refused."""

from pathlib import Path as FilePath
from typing import Any

import pytest
from actors import make_party
from alike import same
from methods import Case, cases
from said import SENDER, K, knowledge, outlook, part_of, task

from lada.codecs.base import Codecs, Reading
from lada.codecs.judgements import SENT
from lada.codecs.paths import encode
from lada.core.errors import CodecError, FederationError
from lada.core.limits import Limits
from lada.core.seeds import seed_of
from lada.rounds.party import Party
from lada.rounds.wire import reading, write

ROUND = 2
SMALL = 8192
"""Bytes: a few kilobytes, which a plan may leave out; half of it is more than what a table holds besides its rows."""


@pytest.fixture
def server(tmp_path: FilePath) -> Party:
    """Return a party that has sent the texts of `knowledge`, and asks for scores of its own and others' texts."""
    party = make_party("llm", set(), tmp_path, objective="distillm2", data=task())
    party.memory[SENT] = encode(knowledge(ROUND))
    return party


def message(server: Party, case: Case) -> dict[str, bytes]:
    """Return a message of a client's with a part that the codec has written, which the server reads by it as well."""
    codec = case.make()
    server.codecs = Codecs({case.method.name: codec})
    kinds = (codec.kind, *part_of(codec.kind, ROUND).beside)
    return {kind: first(server.codecs[kind], part_of(kind, ROUND).value) for kind in kinds}


def first(codec: Any, value: Any) -> bytes:
    """Return the first message that a sender writes by a codec."""
    return codec.encode(codec.init(0), value)[1]


def read(server: Party, payload: dict[str, bytes]) -> Reading:
    return reading(server, payload, SENDER, ROUND)


@cases("codec")
def test_what_is_read_is_what_was_said(server: Party, case: Case):
    codec, payload = case.make(), message(server, case)
    part = part_of(codec.kind, ROUND)
    received = read(server, payload).part(codec.kind)
    codec.check(received, read(server, payload))
    if codec.lossy:  # what was rounded once is rounded no further
        again = {**payload, codec.kind: first(codec, part.said(received))}
        same(part.said(read(server, again).part(codec.kind)), part.said(received), close=1e-6)
    else:
        same(part.said(received), part.value)
        assert first(codec, part.said(received)) == payload[codec.kind]


@cases("codec")
def test_the_bytes_are_about_those_that_a_plan_expects(server: Party, case: Case):
    codec, written = case.make(), len(message(server, case)[case.make().kind])
    expected = codec.expected_bytes(outlook(ROUND))
    if expected:
        assert expected / 1.5 < written < expected * 1.5
    else:
        assert written <= SMALL


@cases("codec")
def test_a_limit_of_the_declared_size_is_enough_and_a_lower_one_is_not(server: Party, case: Case):
    codec, payload = case.make(), message(server, case)
    size = codec.size(task().public, K)
    if not size.table:
        pytest.skip("it has no table that grows with the public samples")
    assert len(payload[codec.kind]) <= size.message

    def limited(bytes: int) -> Any:
        server.limits = Limits(table_bytes=bytes)
        return read(server, payload).part(codec.kind)

    limited(size.table + SMALL // 2)
    with pytest.raises(CodecError):
        limited(size.table // 2)


@cases("codec")
def test_other_bytes_are_refused_and_not_repeated(server: Party, case: Case):
    codec, payload = case.make(), message(server, case)
    data = payload[codec.kind]
    for wrong in (b"", data[: len(data) // 2], data[:-1], b"canary" + data):
        with pytest.raises((CodecError, FederationError)) as told:
            read(server, {**payload, codec.kind: wrong}).part(codec.kind)
        assert "canary" not in str(told.value)


@cases("codec")
def test_an_audit_finds_the_texts_and_the_ledger_how_many_samples(server: Party, case: Case):
    codec, payload = case.make(), message(server, case)
    part = part_of(codec.kind, ROUND)
    words = tuple(b"%d " % token for token in range(600))
    list(codec.texts(payload[codec.kind], words))  # it raises for what it cannot read
    samples = getattr(part.value, "paths", getattr(part.value, "by_id", None))
    if samples is not None:
        assert codec.describe(payload[codec.kind]) == len(samples)


@cases("codec")
def test_a_party_writes_by_it_and_keeps_what_it_remembers(server: Party, case: Case):
    codec = case.make()
    server.codecs = Codecs({case.method.name: codec})
    value = part_of(codec.kind, ROUND).value
    data = write(server, codec.kind, value)
    key = f"codec/{case.method.name}/llm"
    state, message = codec.encode(codec.init(seed_of(server.seed, "codec", key)), value)
    assert data == message
    same(dict(server.states), {key: dict(state)} if state else {})
