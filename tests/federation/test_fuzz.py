"""Hostile replies are refused with a reason, or sound by a second look. `make fuzz` sends a million of them."""

import random
import resource
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import send
from mutate import mutate, rewrite
from seeds import CLIENT, LIMITS, Seed, seeds

from lada.codecs import paths
from lada.codecs.table import pack
from lada.core.errors import FederationError
from lada.core.known import Known
from lada.federation.admission import admit
from lada.federation.failures import Failure
from lada.federation.grid import read_message
from lada.federation.messages import Envelope
from lada.rounds.checks import FINISH
from lada.rounds.knowledge import PATHS


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    return seeds(tmp_path_factory.mktemp("fuzz"))


def outcome(seed: Seed, **kinds: bytes) -> str:
    reply = (Envelope("r", seed.phase, 1, CLIENT), Known({**seed.payload, **kinds}))
    return str(admit(seed.guard, CLIENT, reply, LIMITS.reply_bytes))


def of(sound: list[Seed], phase: str, kind: str) -> Seed:
    return next(seed for seed in sound if seed.phase == phase and kind in seed.payload)


def test_every_kind_has_a_sound_message_that_is_accepted(sound: list[Seed]):
    outcomes = {frozenset(seed.payload): send(seed, seed.wire(seed.payload)) for seed in sound}
    assert outcomes == {
        frozenset({"paths", "metrics", "times"}): "accepted",
        frozenset({"metrics", "times"}): "accepted",
        frozenset({"likelihoods", "soft_targets", "vocabulary", "metrics", "times"}): "accepted",
        frozenset({"adapter", "metrics", "times"}): "accepted",
        frozenset({"keys", "metrics", "times"}): "accepted",
        frozenset({"key_shares"}): "accepted",
        frozenset({"masked_adapter"}): "accepted",
        frozenset({"opened_shares"}): "accepted",
        frozenset({"sizes"}): "announced",
    }


@settings(max_examples=500, deadline=None)
@given(number=st.integers(2**40, 2**41))
def test_a_spoilt_message_is_refused_or_sound(sound: list[Seed], number: int):
    send(*mutate(random.Random(number), sound))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_message(data: bytes):
    with suppress(FederationError):  # and nothing else
        read_message(data)


def test_random_tables_are_both_refused_and_accepted(sound: list[Seed]):
    seed = of(sound, "contribute", "paths")
    rng = random.Random(5)
    outcomes = [outcome(seed, paths=rewrite(rng, seed.payload[PATHS])) for _ in range(300)]
    assert 10 < outcomes.count("None") < 280
    assert len(set(outcomes)) > 8


@pytest.mark.parametrize("kind", ["paths", "likelihoods", "vocabulary", "soft_targets"])
def test_a_bomb_is_refused_before_it_grows(sound: list[Seed], kind: str):
    seed = of(sound, "contribute", kind)
    bomb = pa.compress(bytes(1 << 30), codec="zstd", asbytes=True)
    bomb = len(bomb).to_bytes(8, "little") + bomb if kind == "soft_targets" else bomb
    assert len(bomb) < 1 << 20
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    told = outcome(seed, **{kind: bomb})
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"more than {LIMITS.table_bytes} bytes before compression" in told
    assert most + pa.total_allocated_bytes() - before < 8 * LIMITS.table_bytes


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no way to see the memory of a process")
def test_frames_that_break_off_leave_nothing_behind(sound: list[Seed]):
    def mebibytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() / 2**20

    seed = of(sound, "contribute", "paths")
    frame = bytearray(pa.compress(bytes(5000), codec="zstd", asbytes=True))
    frame[6] ^= 0xFF
    assert "paths: not readable: OSError" in outcome(seed, paths=bytes(frame))
    before = mebibytes()
    for _ in range(300):
        outcome(seed, paths=bytes(frame))
    assert mebibytes() - before < 100  # with one buffer of LIMITS.table_bytes kept each time it would be 300


def test_more_rows_than_there_are_samples_are_never_read(sound: list[Seed]):
    columns = {"id": [f"p{i}" for i in range(10_000)], "text": [""] * 10_000}
    columns |= {"answer": [None] * 10_000, "right": [None] * 10_000}
    columns |= {name: [0] * 10_000 for name in ("total", "minimum", "tokens", "size")}
    data = pack(paths.KIND, paths.FIELDS, columns, {"party": "a", "round": "1"})
    assert "10000 rows; expected at most 5" in outcome(of(sound, "contribute", "paths"), paths=data)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[" + b"1" * 100_000 + b"]", b'[{"notices":' + b"[" * 10_000])
def test_json_made_to_break_a_reader(sound: list[Seed], text: bytes):
    assert "PartyReport: not readable" in outcome(of(sound, FINISH, "metrics"), metrics=text)


def test_a_check_that_breaks_costs_the_client_its_reply_and_not_the_run(sound: list[Seed], monkeypatch):
    def broken(*_: object):
        raise ZeroDivisionError

    monkeypatch.setattr("lada.codecs.metrics.Metrics.check", broken)
    told = outcome(of(sound, FINISH, "metrics"))
    assert told == "malformed message (checking it failed with ZeroDivisionError)"


@pytest.mark.slow
def test_guided_by_coverage(root: Path):
    pytest.importorskip("atheris")
    command = [sys.executable, root / "tests" / "fuzz" / "guided.py", "-runs=20000", "-seed=1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 20000 runs" in done.stderr


def test_another_clients_name_is_refused(sound: list[Seed]):
    seed = of(sound, FINISH, "metrics")
    reply = (Envelope("r", seed.phase, 1, "b"), Known(seed.payload))
    assert isinstance(admit(seed.guard, CLIENT, reply, 100), Failure)
    assert isinstance(admit(seed.guard, "b", reply, 100), Failure)  # its report is about a
